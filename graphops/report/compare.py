"""A model before and after, operator by operator."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from graphops.report.summary import Summary
from graphops.report.text import number, plain


def comparison(before: Summary, after: Summary) -> Table:
    """A table of what changed and what did not."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("operator", no_wrap=True)
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for name, first, second in _operators(before, after):
        table.add_row(plain(name), number(first), number(second), style=None if first == second else "yellow")
    table.add_section()
    for name in ("joins", "parameters", "macs", "buffer_bits"):
        label = {"macs": "MACs", "buffer_bits": "skip buffer bits"}.get(name, name)
        first, second = getattr(before, name), getattr(after, name)
        table.add_row(label, number(first), number(second), style=None if first == second else "yellow")
    return table


def _operators(before: Summary, after: Summary) -> Iterator[tuple[str, int, int]]:
    for name in sorted(before.operators | after.operators):
        yield name, before.operators.get(name, 0), after.operators.get(name, 0)
