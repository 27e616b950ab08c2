"""`graphops compare`: builds beside each other, as in the table of a paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from graphops.cli.common import Force, Json, Report, ScreenWatch, check_report, emit
from graphops.cli.synth import FamilyName, Jobs, Place
from graphops.files import atomic, check_output
from graphops.hardware import Progress
from graphops.hardware import compare as side_by_side
from graphops.report.hardware import bars, comparison, purposes
from graphops.report.text import plain
from passes.errors import UserError

Builds = Annotated[
    list[Path], typer.Argument(metavar="BUILD...", help="Folders that export-hls made.", show_default=False)
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the comparison there.")]


def compare(
    builds: Builds,
    family: FamilyName = None,
    place: Place = None,
    plot: Plot = None,
    jobs: Jobs = 2,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Compare what builds take and how fast they are, in numbers and in per cent of the first."""
    check_report(report, force, plot)
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise UserError(f"{plot} should end in .png, for that is what is drawn; give it this ending.")
        check_output(plot, force)
    if len(builds) < 2:
        raise UserError("A comparison takes two builds or more; name another one.")
    if place not in (None, "ecp5"):
        raise UserError(f"There is no place-and-route for {place!r}; --place takes ecp5.")
    with ScreenWatch("synthesis") as watch:

        def told(name: str) -> Progress:
            watch.restart(f"synthesis of {name}")
            return watch.progress

        names = _names(builds)
        payload = side_by_side(list(zip(names, builds, strict=True)), family, place is not None, jobs, told)
    if plot is not None:
        _draw(payload, plot)

    def show(screen: Console) -> None:
        screen.print(comparison(payload).table())
        sentence = f"Counted by Yosys for {payload['family']}, not by Vivado; per cent of {plain(names[0])}."
        screen.print(sentence, soft_wrap=True)
        screen.print(purposes(payload).table())
        if plot is not None:
            screen.print(f"Drawn: {plot}", soft_wrap=True)

    emit(payload, show, json, report)


def _names(builds: list[Path]) -> list[str]:
    """What to call each: the folder's name, with as many of the folders around it as make the names differ."""
    parts = [Path(os.path.abspath(build)).parts for build in builds]
    count = 1
    while len({path[-count:] for path in parts}) < len(set(parts)):
        count += 1
    return [str(Path(*path[-count:])) for path in parts]


def _draw(payload: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(12, 4), layout="constrained")
    bars(picture.add_subplot(), payload)
    with atomic(path) as stream:
        picture.savefig(stream, format="png", dpi=150)
