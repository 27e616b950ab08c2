"""`graphops simulate`: a build's RTL, cycle by cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from graphops.bench import Bench
from graphops.cli.common import DataDir, Force, Json, Normalisation, Report, ScreenWatch, check_data, check_report, emit
from graphops.cli.execution import BuildFolder
from graphops.hardware import RTL, SIMULATION, check_simulation, classified, simulation_figures, stored
from graphops.modelfile import load_model
from graphops.report.text import number, plain

if TYPE_CHECKING:
    from hls_backend.design import Design
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
    from hls_backend.build import MODEL, load
    from hls_backend.simulate import simulate as run

    check_report(report, force)
    check_data(data, data_dir, normalisation)
    design = load(build)
    with ScreenWatch("simulating") as watch:
        if data is None:
            vectors, classes = stored(design, count), None
        else:
            dataset = Bench(data_dir=data_dir).data(data)
            vectors, classes = classified(load_model(build / MODEL), design.dataflow, dataset, count, normalisation)
        found = run(design, vectors, build / RTL, build / SIMULATION, watch.progress)
    payload = {"build": str(build), **simulation_figures(found, design, vectors.origin, classes)}
    emit(payload, lambda screen: _show(screen, payload, found, design), json, report)
    check_simulation(found, build)


def _show(screen: Console, payload: dict[str, Any], found: Simulation, design: Design) -> None:
    same = "as the integer dataflow computes them" if not found.errors else f"{found.errors:,} of them wrong"
    screen.print(
        f"{found.frames:,} frames, {found.words:,} words out, {same}. Data: {payload['data']}.", soft_wrap=True
    )
    if classes := payload["classes"]:
        screen.print(
            f"Classes equal to the quantised model's: {classes['equal']:,} of {classes['count']:,}; right: "
            f"{classes['correct']:,}.",
            soft_wrap=True,
        )
    screen.print(f"The first frame was through after {found.latency:,} cycles.", soft_wrap=True)
    if found.interval is not None:
        screen.print(
            f"{found.interval:,} cycles a frame (the slowest layer takes {design.dataflow.cycles:,}): "
            f"{payload['fps']:,.0f} images/s at {design.clock_mhz:g} MHz.",
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
