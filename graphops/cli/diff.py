"""`graphops diff`: what changed between two models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from graphops.cli.common import Force, Json, Report, check_report, emit
from graphops.modelfile import load_model
from graphops.report.text import plain

RANDOM = "random"

MOST = 40
"""Rows of one kind that people are shown; --json shows all."""

Before = Annotated[Path, typer.Argument(metavar="A.onnx", help="The model before.", show_default=False)]
After = Annotated[Path, typer.Argument(metavar="B.onnx", help="The model after.", show_default=False)]
Data = Annotated[
    str,
    typer.Option("--data", metavar="FILE.npz|random", help="The inputs to run both on: an array for each, by name."),
]

Row = tuple[str, str, str, str]


def diff(
    before: Before, after: After, data: Data = RANDOM, json: Json = False, report: Report = None, force: Force = False
) -> None:
    """Say what changed: nodes, tensors, weights, metadata, and how far the outputs lie apart."""
    from graphops import diff as differ
    from graphops.data.npz import arrays

    check_report(report, force, models=[before, after])
    feeds = None if data == RANDOM else arrays(Path(data))
    models = [load_model(path, weights=False) for path in (before, after)]
    found = differ.with_outputs(
        differ.diff(models[0], models[1], before.parent, after.parent),
        models[0],
        models[1],
        (before.parent, after.parent),
        feeds,
    )
    payload: dict[str, Any] = {"before": str(before), "after": str(after), "data": data, "equal": found.is_empty}
    payload |= dataclasses.asdict(found)

    def show(screen: Console) -> None:
        if found.is_empty:
            screen.print("The two models say the same.")
        else:
            screen.print(_table(found))
        if found.outputs is not None:
            screen.print(
                f"Largest difference of the outputs on {data} inputs: {found.outputs.largest:.3g}, where they reach "
                f"{found.outputs.scale:.3g}.",
                soft_wrap=True,
            )
        else:
            screen.print(plain(f"Their outputs are not compared: {found.not_run}", 500), soft_wrap=True)

    emit(payload, show, json, report)


def _table(found: Any) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("what", "name", "before", "after"):
        table.add_column(column, overflow="fold")
    for rows in _rows(found):
        for row in rows[:MOST]:
            table.add_row(*(plain(cell) for cell in row))
        if len(rows) > MOST:
            table.add_row(rows[0][0], f"and {len(rows) - MOST:,} more; --json lists them", "", "")
    return table


def _rows(found: Any) -> Iterator[list[Row]]:
    """The rows of each kind of change."""
    yield [("model", change.name, change.before or "-", change.after or "-") for change in found.model]
    yield [("node removed", node, "", "") for node in found.nodes_removed]
    yield [("node added", node, "", "") for node in found.nodes_added]
    yield list(_of_nodes("rewired", found.rewired))
    yield list(_of_nodes("attribute", found.attributes))
    yield [("tensor removed", name, "", "") for name in found.tensors_removed]
    yield [("tensor added", name, "", "") for name in found.tensors_added]
    yield [("tensor", change.name, change.before or "-", change.after or "-") for change in found.tensors]
    yield [("weight removed", change.name, change.before or "", "") for change in found.weights_removed]
    yield [("weight added", change.name, "", change.after or "") for change in found.weights_added]
    yield [("weight", change.name, change.before, _apart(change)) for change in found.weights]


def _of_nodes(what: str, nodes: Iterable[Any]) -> Iterator[Row]:
    for node in nodes:
        for change in node.changes:
            yield (what, f"{node.op} {node.node}: {change.name}", change.before or "-", change.after or "-")


def _apart(change: Any) -> str:
    if change.before != change.after:
        return str(change.after)
    return "other values" if change.largest is None else f"differs by up to {change.largest:.3g}"
