"""`graphops demo`: the whole job on a data set that needs no download."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from graphops.cli.common import Force, Json, Report, check_report, emit
from graphops.cli.run import Out, follow, payload_of, show_run
from passes.errors import UserError

FLOAT, HARDWARE = "digits", "digits-to-rtl"
"""The recipes of its two halves."""


def demo(out: Out = None, json: Json = False, report: Report = None, force: Force = False) -> None:
    """Take the skip connections out of a ResNet20 on handwritten digits in two ways (recipe `digits`); then compare a
    ResNet8 with and without them as RTL (recipe `digits-to-rtl`)."""
    from graphops import recipe as recipes

    check_report(report, force)
    folder = out or Path("runs") / FLOAT
    first, second = (recipes.read(recipes.find(name)) for name in (FLOAT, HARDWARE))
    done = follow(first, folder, force=force)
    try:
        second.check_tools()
        missing = None
    except UserError as error:
        missing = str(error)
    beside = folder if folder.name else folder.absolute()
    built = None if missing else follow(second, beside.with_name(f"{beside.name}-to-rtl"), force=force)
    payload = payload_of(done, first) | {"hardware": payload_of(built, second) if built else None, "missing": missing}

    def show(screen: Console) -> None:
        show_run(screen, done, first)
        screen.print()
        if built:
            show_run(screen, built, second)
        else:
            screen.print(f"{missing} Then `graphops demo` goes on to RTL.", soft_wrap=True)

    emit(payload, show, json, report)
