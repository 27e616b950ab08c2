"""`graphops skips`: what skip connections a model has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from graphops.cli.common import Bits, Force, Json, ModelFile, Report, check_report, emit
from graphops.modelfile import load_model
from graphops.report.text import number, plain, shape_text
from passes.protobufs import graphs
from passes.skips import Skip, find_skips


def skips(model: ModelFile, bits: Bits = 32, json: Json = False, report: Report = None, force: Force = False) -> None:
    """List a model's skip connections: join, kind, span, whether linear, shape and buffer."""
    check_report(report, force, models=[model])
    loaded = load_model(model, weights=False)
    found = find_skips(loaded, bits)
    streaming, whole = _total(skip.streaming_bits for skip in found), _total(skip.map_bits for skip in found)
    payload = {
        "model": str(model),
        "bits": bits,
        "skips": [asdict(skip) for skip in found],
        "streaming_bits": streaming,
        "map_bits": whole,
    }

    def show(screen: Console) -> None:
        if not found:
            inside = next((n for n in loaded.graph.node if any(map(graphs, n.attribute))), None)
            hint = "; `graphops inline-functions` shows what its functions hide" if loaded.functions else ""
            if inside is not None and not hint:
                name = plain(inside.name or inside.output[0])
                hint = f" outside of its {inside.op_type} {name!r}; make a model of a branch to see what is in there"
            screen.print(f"{model} has no skip connections{hint}.", soft_wrap=True)
            return
        screen.print(_table(found))
        screen.print(
            f"{len(found)} skip connections; buffers of {number(streaming)} bits streaming, "
            f"{number(whole)} bits as whole maps.",
            soft_wrap=True,
        )

    emit(payload, show, json, report)


def _table(found: list[Skip]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("skip", "join", "kind"):
        table.add_column(column, overflow="fold")
    for column in ("span", "linear", "gate", "shape", "streaming bits", "map bits"):
        table.add_column(column, justify="right")
    for skip in found:
        linear, gate = "yes" if skip.linear else "no", plain(skip.gate or "-")
        row = (
            skip.number,
            plain(skip.node or skip.join),
            skip.kind,
            str(skip.span),
            linear,
            gate,
            shape_text(skip.shape),
        )
        table.add_row(*row, number(skip.streaming_bits), number(skip.map_bits))
    return table


def _total(values: Iterable[int | None]) -> int | None:
    """The sum, or None where one of them is not known."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
