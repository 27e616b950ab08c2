"""`graphops compare`: builds beside each other, as in the table of a paper."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from graphops.cli.common import Force, Json, Report, ScreenWatch, check_report, emit
from graphops.cli.synth import FamilyName, Jobs, Place
from graphops.files import atomic, check_output
from graphops.report.text import plain
from passes.errors import UserError

if TYPE_CHECKING:
    from hls_backend.comparison import Compared

Builds = Annotated[
    list[Path], typer.Argument(metavar="BUILD...", help="Folders that export-hls made.", show_default=False)
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the comparison there.")]


def compare(
    builds: Builds,
    family: FamilyName = "xc7",
    place: Place = None,
    plot: Plot = None,
    jobs: Jobs = 2,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Compare what builds take and how fast they are, in numbers and in per cent of the first."""
    from hls_backend.build import load
    from hls_backend.comparison import summarise
    from hls_backend.synthesize import place_ecp5, synthesize

    check_report(report, force, plot)
    if plot is not None:
        check_output(plot, force)
    if len(builds) < 2:
        raise UserError("A comparison takes two builds or more; name another one.")
    if place not in (None, "ecp5"):
        raise UserError(f"There is no place-and-route for {place!r}; --place takes ecp5.")
    designs = [load(build) for build in builds]
    found = []
    with ScreenWatch("synthesis") as watch:
        for build, design in zip(builds, designs, strict=True):
            watch.restart(f"synthesis of {build.name}")
            cells = synthesize(design, family, build / "synthesis", jobs, watch.progress)
            placed = place_ecp5(build / "rtl", build / "synthesis", watch.progress) if place else None
            found.append(summarise(build.name, design, cells, placed.mhz if placed else None))
    if plot is not None:
        _draw(found, plot)
    payload: dict[str, Any] = {
        "family": family,
        "tool": "Yosys",
        "builds": [{**asdict(one), "figures": one.figures} for one in found],
    }

    def show(screen: Console) -> None:
        screen.print(_table(found))
        screen.print(f"Counted by Yosys for {family}, not by Vivado; per cent of {plain(found[0].name)}.")
        screen.print(_purposes(found))
        if plot is not None:
            screen.print(f"Drawn: {plot}", soft_wrap=True)

    emit(payload, show, json, report)


def _table(found: list[Compared]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for one in found:
        table.add_column(plain(one.name), justify="right", overflow="fold")
    first = found[0].figures
    for figure, base in first.items():
        row = []
        for one in found:
            value = one.figures.get(figure, 0)
            change = f" {value / base - 1:+.1%}" if one is not found[0] and base else ""
            row.append(f"{value:,.10g}{change}" if value == int(value) else f"{value:,.1f}{change}")
        table.add_row(figure, *row)
    return table


def _purposes(found: list[Compared]) -> Table:
    """LUTs (those for memory included) and flip-flops, by what they are for."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("LUT / FF / BRAM18 for")
    for one in found:
        table.add_column(plain(one.name), justify="right", overflow="fold")
    for purpose in found[0].purposes:
        cells = [one.purposes[purpose] for one in found]
        table.add_row(purpose, *(f"{c.all_luts:,} / {c.ffs:,} / {c.all_bram18:,}" for c in cells))
    return table


def _draw(found: list[Compared], path: Path) -> None:
    """A group of bars a figure, each in per cent of the first build."""
    from matplotlib.figure import Figure

    shown = [name for name, value in found[0].figures.items() if value and name != "LUTRAM"]
    picture = Figure(figsize=(1.5 + 1.4 * len(shown), 4), layout="constrained")
    axes = picture.add_subplot()
    width = 0.8 / len(found)
    for place, one in enumerate(found):
        heights = [100 * one.figures[name] / found[0].figures[name] for name in shown]
        axes.bar([i + place * width for i in range(len(shown))], heights, width, label=one.name)
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(shown))], shown, rotation=15)
    axes.set_ylabel(f"per cent of {found[0].name}")
    axes.legend()
    with atomic(path) as stream:
        picture.savefig(stream, format="png", dpi=150)
