"""`graphops finn`: FINN+ in an environment of its own, and what it makes of a build."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from graphops.bench import Bench
from graphops.cli.common import DataDir, Force, Json, Normalisation, Report, ScreenWatch, check_data, check_report, emit
from graphops.cli.execution import BuildFolder
from graphops.modelfile import load_model
from graphops.report.text import number, plain

if TYPE_CHECKING:
    import numpy as np

    from hls_backend.design import Design
    from hls_backend.finn.check import Judgement

VARIABLE = "GRAPHOPS_FINN"
"""Names FINN+'s environment."""

finn = typer.Typer(
    help="FINN+ in an environment of its own, and what it makes of a build.", no_args_is_help=True, name="finn"
)

_WHERE = f"default: ${VARIABLE}, else one in the user's cache."
At = Annotated[Path | None, typer.Option("--at", metavar="FOLDER", help=f"Where to make it; {_WHERE}")]
Env = Annotated[Path | None, typer.Option("--env", metavar="FOLDER", help=f"FINN+'s environment; {_WHERE}")]
Torch = Annotated[str | None, typer.Option("--torch", help="The torch to install; default: 2.13.0 without CUDA.")]
TorchIndex = Annotated[
    str, typer.Option("--torch-index", metavar="URL", help="The package index to get torch from; default: pip's own.")
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="Images to execute; default: the build's own test data.")
]
Count = Annotated[
    int | None, typer.Option("--count", min=1, help="Only the first so many images; default: all, 100 of a data set.")
]


@finn.command()
def setup(at: At = None, torch: Torch = None, torch_index: TorchIndex = "", json: Json = False) -> None:
    """Make FINN+'s environment (1.6 GB), or find that it is there."""
    from hls_backend.finn.environment import TORCH, Environment, make

    folder = _folder(at)
    was_there = not Environment(folder).missing()
    with ScreenWatch("FINN+'s environment") as watch:
        environment = make(folder, torch or TORCH, torch_index, watch.progress)
    payload = {"folder": str(environment.folder), "python": str(environment.python), "was_there": was_there}
    did = "is there already" if was_there else "is made"
    emit(payload, lambda screen: screen.print(f"FINN+'s environment {did}: {folder}", soft_wrap=True), json)


@finn.command()
def check(
    build: BuildFolder,
    env: Env = None,
    data: Data = None,
    count: Count = None,
    data_dir: DataDir = None,
    normalisation: Normalisation = None,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Run a build through FINN+ as far as that goes without Vivado; exit code 1 where it disagrees."""
    from hls_backend.build import load
    from hls_backend.finn.check import check as judge
    from hls_backend.finn.environment import find

    check_report(report, force)
    check_data(data, data_dir, normalisation)
    design = load(build)
    environment = find(_folder(env))
    with ScreenWatch("checking") as watch:
        inputs, origin = _inputs(build, design, data, count, data_dir, normalisation)
        found = judge(design, build / "finn", environment, inputs, watch.progress)
    complaints = found.complaints
    payload: dict[str, Any] = {
        "build": str(build),
        "environment": str(environment.folder),
        "finn": found.version,
        "equal": not complaints,
        "complaints": complaints,
        "images": {"count": found.images, "origin": origin},
        "nodes": [asdict(row) for row in found.rows],
        "joints": [asdict(row) for row in found.joints],
        "verified": found.verified,
        "fifos": {"wanted": found.wanted, "found": found.found},
    }
    emit(payload, lambda screen: _show(screen, found, origin), json, report)
    if complaints:
        raise typer.Exit(1)


def _folder(given: Path | None) -> Path:
    """Where FINN+'s environment is, or goes."""
    import pooch

    chosen = given or os.environ.get(VARIABLE) or Path(pooch.os_cache("graphops")) / "finn-plus"
    return Path(os.path.expanduser(chosen)).absolute()


def _inputs(
    build: Path, design: Design, data: str | None, count: int | None, data_dir: Path | None, normalisation: str | None
) -> tuple[np.ndarray, str]:
    """Integers of the input stream, and where they are from."""
    if data is None:
        return design.vectors.inputs[:count], design.vectors.origin
    from graphops.data.feed import Feed
    from hls_backend.build import MODEL
    from hls_backend.host import prepare

    dataset = Bench(data_dir=data_dir).data(data)
    images = dataset.test.first(count or 100).images
    feed = Feed(load_model(build / MODEL), dataset, normalisation)
    return prepare(design.dataflow, feed(images)), f"test images of {dataset.name}"


def _show(screen: Console, found: Judgement, origin: str) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("node", overflow="fold")
    table.add_column("layer", overflow="fold")
    for column in ("images\nequal", "cycles", "by\nFINN+", "files of\ncode"):
        table.add_column(column, justify="right")
    for row in found.rows:
        wrong = row.equal < found.images or row.cycles != row.finn_cycles or not row.files
        figures = (row.equal, row.cycles, row.finn_cycles, row.files)
        table.add_row(row.node, plain(row.layer), *map(number, figures), style="red" if wrong else None)
    screen.print(table)
    made = sum(bool(row.files) for row in found.joints)
    deep = sorted((depth for depth in found.found if depth > 2), reverse=True)
    screen.print(
        f"FINN+ {found.version}: {len(found.rows)} nodes; {found.images} images executed ({plain(origin)}); {made} "
        f"of {len(found.joints)} width converters and FIFOs generated, {len(deep)} of the FIFOs deeper than 2"
        + (f" ({', '.join(map(str, deep))})." if deep else "."),
        soft_wrap=True,
    )
    for complaint in found.complaints:
        screen.print(complaint, style="red", soft_wrap=True)
    if not found.complaints:
        screen.print("All as it must be: integers, cycles, code, FIFOs.")
