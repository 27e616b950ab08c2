"""`graphops doctor`: whether this installation works."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from graphops.cli.common import Json, emit
from graphops.doctor import examine


def doctor(json: Json = False) -> None:
    """Say what is installed, what is broken and how to mend it; exit code 1 where something is broken."""
    findings = examine(Path.cwd())
    broken = [finding for finding in findings if finding.remedy]

    def show(screen: Console) -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in findings:
            style = "red" if finding.remedy else None
            table.add_row(finding.subject, finding.state, style=style)
            if finding.remedy:
                table.add_row("", finding.remedy, style=style)
        screen.print(table)
        screen.print("All is well." if not broken else f"{len(broken)} broken: see how to mend it above.")

    emit({"ok": not broken, "findings": [asdict(finding) for finding in findings]}, show, json)
    if broken:
        raise typer.Exit(1)
