"""`graphops passes`: what passes there are."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graphops.cli.common import Json, emit
from graphops.options import Option, options, summary
from passes.base import Pass, registry


def list_passes(json: Json = False) -> None:
    """List the passes with their options; each is a verb of its own."""
    payload = {"passes": [_described(cls) for cls in registry.values()]}

    def show(screen: Console) -> None:
        for entry in payload["passes"]:
            name = Text(entry["name"], "bold")
            screen.print(name.append(" (exact)" if entry["exact"] else " (not exact)", "not bold"))
            screen.print(Padding(Text(entry["summary"]), (0, 0, 0, 2)))
            table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
            for option in entry["options"]:
                choices = f" Choices: {', '.join(option['choices'])}." if option["choices"] else ""
                table.add_row(Text(f"--{option['name'].replace('_', '-')}", "cyan"), Text(option["help"] + choices))
            screen.print(Padding(table, (0, 0, 1, 4)) if entry["options"] else "")

    emit(payload, show, json)


def _described(cls: type[Pass]) -> dict[str, Any]:
    return {
        "name": cls.name,
        "exact": cls.exact,
        "reads_weights": cls.reads_weights,
        "summary": summary(cls),
        "options": [_option(option) for option in options(cls)],
    }


def _option(option: Option) -> dict[str, Any]:
    default = None if option.default is dataclasses.MISSING else option.default
    return {
        "name": option.name,
        "type": f"{option.type.__name__}s" if option.many else option.type.__name__,
        "choices": list(option.choices),
        "default": list(default) if isinstance(default, tuple) else default,
        "help": option.help,
    }
