"""`graphops passes`: what passes there are."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table

from graphops.cli.common import Json, emit
from graphops.options import Option, options, summary
from passes.base import Pass, registry


def list_passes(json: Json = False) -> None:
    """List the passes with their options; each is a verb of its own."""
    payload = {"passes": [_described(cls) for cls in registry.values()]}

    def show(screen: Console) -> None:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("pass", no_wrap=True)
        table.add_column("exact")
        table.add_column("does; options", overflow="fold")
        for entry in payload["passes"]:
            table.add_row(entry["name"], "yes" if entry["exact"] else "no", entry["summary"])
            for option in entry["options"]:
                choices = f" ({'|'.join(option['choices'])})" if option["choices"] else ""
                flag = f"--{option['name'].replace('_', '-')}"
                table.add_row("", "", f"  [cyan]{flag}[/cyan]{choices} {option['help']}")
        screen.print(table)

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
