"""`graphops synth`: what a build's RTL takes, by Yosys."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from graphops.cli.common import Force, Json, Report, ScreenWatch, check_report, emit
from graphops.cli.execution import BuildFolder
from graphops.hardware import synth as synthesise
from graphops.hardware import synthesis_figures
from graphops.report.hardware import CELLS
from graphops.report.text import number, plain
from passes.errors import UserError

if TYPE_CHECKING:
    from hls_backend.parts import Part
    from hls_backend.synthesize import Cells, Synthesis

FamilyName = Annotated[
    str | None,
    typer.Option("--family", metavar="xc7|xcu|xcup", help="Of the part to synthesise for; default: the build's own."),
]
Place = Annotated[
    str | None,
    typer.Option("--place", metavar="ecp5", help="Place and route the whole design there as well; for a frequency."),
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes at once; each takes up to 4 GiB.")]


def synth(
    build: BuildFolder,
    family: FamilyName = None,
    place: Place = None,
    jobs: Jobs = 2,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Synthesise a build's RTL with Yosys and print what each layer takes, beside what the part has."""
    from hls_backend.build import load

    check_report(report, force)
    if place not in (None, "ecp5"):
        raise UserError(f"There is no place-and-route for {place!r}; --place takes ecp5.")
    design = load(build)
    with ScreenWatch("synthesis") as watch:
        found, placed = synthesise(build, family, place is not None, jobs, watch.progress)
    payload = {"build": str(build), **synthesis_figures(found, design, placed)}

    def show(screen: Console) -> None:
        screen.print(_table(found, design.part))
        screen.print(
            f"Counted by Yosys for {found.family}, layer by layer, no multiplier in a DSP slice; "
            "Vivado counts otherwise.",
            soft_wrap=True,
        )
        if placed:
            speeds = ", ".join(f"{mhz:.1f}" for mhz in placed.all_mhz)
            screen.print(
                f"Lattice ECP5 {placed.size}, speed 6, placed and routed: {placed.mhz:.1f} MHz, median of {speeds}.",
                soft_wrap=True,
            )

    emit(payload, show, json, report)


def _table(found: Synthesis, part: Part) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("kind", overflow="fold")
    for column in CELLS.values():
        table.add_column(column, justify="right")
    for layer in found.layers:
        table.add_row(plain(layer.name), layer.op, *_counts(layer.cells))
    table.add_row("in all", "", *_counts(found.total), style="bold")
    total = found.total
    table.add_row(
        "",
        f"of {part.name}",
        _share(total.all_luts, part.luts),
        "",
        _share(total.ffs, part.ffs),
        _share(total.all_bram18, part.bram18),
        "",
        _share(total.dsps, part.dsps),
    )
    return table


def _counts(cells: Cells) -> list[str]:
    return [number(n) if n else "-" for n in asdict(cells).values()]


def _share(count: int, capacity: int) -> str:
    return f"{count / capacity:.2%}"
