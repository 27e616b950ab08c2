"""`graphops simulate`: a build's RTL, cycle by cycle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from graphops.bench import Bench
from graphops.cli.common import DataDir, Force, Json, Normalisation, Report, ScreenWatch, check_report, emit
from graphops.cli.execution import BuildFolder, classes_of
from graphops.modelfile import load_model
from graphops.report.text import number, plain
from passes.errors import UserError

if TYPE_CHECKING:
    from hls_backend.design import Design, Vectors
    from hls_backend.simulate import Simulation

Data = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="Images to simulate; default: the build's own test data.")
]
Count = Annotated[int, typer.Option("--count", min=1, help="Only the first so many images.")]


def simulate(
    build: BuildFolder,
    data: Data = None,
    count: Count = 4,
    data_dir: DataDir = None,
    normalisation: Normalisation = None,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Simulate a build's RTL with Verilator and compare every output with the integer dataflow."""
    from hls_backend.build import load
    from hls_backend.simulate import simulate as run

    check_report(report, force)
    design = load(build)
    with ScreenWatch("simulating") as watch:
        vectors, classes = _vectors(design, build, data, count, data_dir, normalisation)
        found = run(design, vectors, build / "rtl", build / "simulation", watch.progress)
    origin = vectors.origin
    cycles = design.dataflow.cycles
    fps = None if found.interval is None else design.clock_mhz * 1e6 / found.interval
    payload: dict[str, Any] = {
        "build": str(build),
        "data": origin,
        "clock_mhz": design.clock_mhz,
        "slowest_layer_cycles": cycles,
        "fps": fps,
        "classes": asdict(classes) if classes and not found.errors else None,
        **asdict(found),
    }
    emit(payload, lambda screen: _show(screen, found, design, origin, classes), json, report)
    if found.errors:
        raise UserError(
            f"{found.errors:,} of {found.words:,} words of the simulation are wrong ({found.difference}); "
            f"report this with the build folder {str(build)!r}."
        )


@dataclass(frozen=True)
class _Classes:
    """What images were taken for.

    Attributes:
        count: images.
        equal: of them, those that the integers and the quantised model take for the same.
        correct: of them, those that the integers take for what they are.
    """

    count: int
    equal: int
    correct: int


def _vectors(
    design: Design, build: Path, data: str | None, count: int, data_dir: Path | None, normalisation: str | None
) -> tuple[Vectors, _Classes | None]:
    """What goes in and must come out; and the classes that this means, where the network has any."""
    from hls_backend import vectors
    from hls_backend.build import MODEL
    from hls_backend.design import Vectors

    if data is None:
        stored = design.vectors
        chosen = Vectors(stored.inputs[:count], stored.outputs[:count])
        return replace(chosen, origin=f"{len(chosen.inputs)} of {stored.origin}"), None
    from graphops.data.feed import Feed
    from graphops.evaluate import evaluate

    dataset = Bench(data_dir=data_dir).data(data)
    model = load_model(build / MODEL)
    images = dataset.test.first(count)
    values = Feed(model, dataset, normalisation)(images.images)
    given = vectors.from_images(design.dataflow, values, f"the first {len(images)} test images of {dataset.name}")
    found = classes_of(design.dataflow, given.outputs)
    if found is None:
        return given, None
    theirs = evaluate(model, dataset, limit=len(images), normalisation=normalisation).predictions
    return given, _Classes(len(images), int((found == theirs).sum()), int((found == images.labels).sum()))


def _show(screen: Console, found: Simulation, design: Design, origin: str, classes: _Classes | None) -> None:
    same = "as the integer dataflow computes them" if not found.errors else f"{found.errors:,} of them wrong"
    screen.print(f"{found.frames:,} frames, {found.words:,} words out, {same}. Data: {origin}.", soft_wrap=True)
    if classes and not found.errors:
        screen.print(
            f"Classes equal to the quantised model's: {classes.equal:,} of {classes.count:,}; right: "
            f"{classes.correct:,}.",
            soft_wrap=True,
        )
    screen.print(f"The first frame was through after {found.latency:,} cycles.", soft_wrap=True)
    if found.interval is not None:
        fps = design.clock_mhz * 1e6 / found.interval
        screen.print(
            f"{found.interval:,} cycles a frame (the slowest layer takes {design.dataflow.cycles:,}): "
            f"{fps:,.0f} images/s at {design.clock_mhz:g} MHz.",
            soft_wrap=True,
        )
    if found.fifos:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("FIFO", overflow="fold")
        table.add_column("most used", justify="right")
        table.add_column("depth", justify="right")
        for fifo in found.fifos:
            table.add_row(plain(fifo.name), number(fifo.used), number(fifo.depth))
        screen.print(table)
