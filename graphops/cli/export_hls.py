"""`graphops export-hls`: a quantised network as a build folder for FINN, Vitis HLS and RTL tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.console import Console
from rich.table import Table

from graphops.bench import Bench
from graphops.cli.common import (
    DataDir,
    Force,
    Json,
    ModelFile,
    Normalisation,
    ScreenWatch,
    check_data,
    emit,
    print_notes,
)
from graphops.cli.fifo import Fifo, check_fifo, show_fifos
from graphops.hardware import export
from graphops.modelfile import load_model
from graphops.report.text import number, plain
from passes.errors import UserError

if TYPE_CHECKING:
    from hls_backend.report import Report

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FOLDER", help="The build folder to make.", show_default=False)
]
Target = Annotated[
    float | None,
    typer.Option("--target-fps", min=1e-3, help="Images a second; default: the smallest design.", show_default=False),
]
Clock = Annotated[float, typer.Option("--clock-mhz", min=1, max=2000, help="The clock in MHz.")]
PartName = Annotated[str, typer.Option("--part", help="The part to fit into, e.g. xc7z020 or xczu7ev.")]
For = Annotated[
    str, typer.Option("--for", metavar="finn-plus|finn-main", help="Which FINN's names of nodes and attributes.")
]
TestData = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="Where test images come from; default: random integers."),
]
Count = Annotated[int, typer.Option("--count", min=1, help="Test images.")]


def export_hls(
    model: ModelFile,
    output: Output,
    target_fps: Target = None,
    clock_mhz: Clock = 100,
    part: PartName = "xc7z020",
    flavour: For = "finn-plus",
    data: TestData = None,
    data_dir: DataDir = None,
    count: Count = 10,
    normalisation: Normalisation = None,
    fifo: Fifo = "computed",
    force: Force = False,
    json: Json = False,
) -> None:
    """Map a quantised model to FINN layers, fold it to a frame rate, and write a build folder."""
    from hls_backend import build
    from hls_backend.dataflow import Flavour
    from hls_backend.lowering.builder import identifier
    from hls_backend.parts import part as part_called

    if flavour not in get_args(Flavour):
        raise UserError(f"There is no FINN {flavour!r}; --for takes {' or '.join(get_args(Flavour))}.")
    check_fifo(fifo)
    check_data(data, data_dir, normalisation)
    part_called(part)
    build.check(output, force)
    loaded = load_model(model)
    with ScreenWatch("reading") as watch:
        made = export(
            loaded,
            output,
            name=identifier(model.stem) or "network",
            target_fps=target_fps,
            clock_mhz=clock_mhz,
            part=part,
            flavour=cast(Any, flavour),
            dataset=None if data is None else Bench(data_dir=data_dir).data(data),
            count=count,
            normalisation=normalisation,
            fifo=cast(Any, fifo),
            force=force,
            say=watch.restart,
            progress=watch.progress,
        )
    payload = {"model": str(model), "output": str(output), **made.figures}

    def show(screen: Console) -> None:
        print_notes(screen, made.notes)
        screen.print(_table(made.report))
        show_fifos(screen, made.design)
        for line in _summary(made.report):
            screen.print(line, soft_wrap=True)
        screen.print(f"Test data: {made.design.vectors.origin}.", soft_wrap=True)
        folders = ", ".join(f"{name}/" for name in made.emitters)
        screen.print(f"Written: {output}" + (f" with {folders}" if folders else ""), soft_wrap=True)

    emit(payload, show, json)


def _table(found: Report) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", overflow="fold")
    for column in ("PE", "SIMD", "cycles", "FINN's", "weight\nbits", "steps", "thresh.\nbits", "FIFO", "LUT", "BRAM"):
        table.add_column(column, justify="right")
    for layer in found.layers:
        sizes = (layer.weight_bits, layer.steps, layer.threshold_bits, layer.fifo_depth, layer.luts, layer.bram18)
        table.add_row(
            plain(layer.name),
            str(layer.pe),
            str(layer.simd),
            number(layer.cycles),
            number(layer.finn_cycles),
            *(number(size) if size else "-" for size in sizes),
            style="bold" if layer.name == found.bottleneck else None,
        )
    return table


def _summary(found: Report) -> list[str]:
    wanted = "" if found.target_fps is None else f" (asked for: {found.target_fps:,.10g})"
    return [
        f"{found.fps:,.0f} images/s at {found.clock_mhz:g} MHz{wanted}; by FINN's estimate {found.finn_fps:,.0f}. "
        f"The bottleneck is {plain(found.bottleneck)!r} with {found.cycles:,} cycles.",
        f"Estimated: {found.luts:,} of the {found.part_luts:,} LUTs and {found.bram18:,} of the "
        f"{found.part_bram18:,} BRAM18 of {found.part}. Synthesis will say what it really takes.",
    ]
