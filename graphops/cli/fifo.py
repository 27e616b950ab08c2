"""The option ``--fifo``: how the FIFO depths of a build's RTL are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from graphops.report.text import number, plain
from passes.errors import UserError

if TYPE_CHECKING:
    from hls_backend.design import Design

Fifo = Annotated[
    str,
    typer.Option(
        "--fifo",
        metavar="computed|measured",
        help="The depths of the RTL's FIFOs: by a model, or shrunk by simulation to what is needed.",
    ),
]


def check_fifo(fifo: str) -> None:
    """Say before the work that there is no such way, or no Verilator for it."""
    from hls_backend import verilator

    if fifo not in ("computed", "measured"):
        raise UserError(f"There is no way {fifo!r} to find FIFO depths; --fifo takes computed or measured.")
    if fifo == "measured":
        verilator.command()


def show_fifos(screen: Console, design: Design) -> None:
    """A table of measured depths; nothing where they are computed."""
    measured = design.measured
    if measured is None:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("FIFO", overflow="fold")
    for column in ("bits", "computed", "measured"):
        table.add_column(column, justify="right")
    widths = _widths(design)
    bits = {"computed": 0, "measured": 0}
    for name, before in measured.computed.items():
        depth = measured.depths[name]
        bits["computed"] += before * widths[name]
        bits["measured"] += depth * widths[name]
        table.add_row(plain(name), number(widths[name]), number(before), number(depth) if depth else "none")
    table.add_row("bits in all", "", *(number(total) for total in bits.values()), style="bold")
    screen.print(table)
    screen.print(
        f"Measured in {measured.simulations:,} simulations of {measured.frames} frames or more: "
        f"{measured.interval:,.10g} cycles a frame as before, and more with a word less in any FIFO.",
        soft_wrap=True,
    )


def _widths(design: Design) -> dict[str, int]:
    """Bits of a transfer, by stream."""
    from hls_backend.widths import insert_width_converters

    joined = insert_width_converters(design.dataflow)
    return {stream.name: joined.width(stream) for stream in joined.streams}
