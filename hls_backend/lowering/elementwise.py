"""Functions applied number by number wait, as pieces of the graph, for the next quantiser."""

from __future__ import annotations

from dataclasses import replace

from hls_backend.elementwise import ELEMENTWISE
from hls_backend.errors import LoweringError
from hls_backend.lowering.state import State
from hls_backend.lowering.weights import constant
from hls_backend.lowering.wire import Step, Value
from hls_backend.piece import Piece
from passes.graph import Node, label


def elementwise(state: State, node: Node) -> Value:
    """``node``, which reads one wire, becomes part of the piece after it.

    Two branches from one wire, as in ``x * Sigmoid(x)``, are one piece.
    """
    assert node.op in ELEMENTWISE
    slots = [slot for slot, t in enumerate(node.inputs) if t.name in state.values]
    read = list({node.inputs[slot].name: state.value(node, slot) for slot in slots}.values())
    first = read[0]
    if any(t.name in state.host for t in node.inputs):
        raise LoweringError(label(node), "it mixes floats with integers", "quantise each of its inputs")
    private = all(value.private for value in read)
    piece = _piece(state, first)
    for other in read[1:]:
        beside = _piece(state, other)
        common = first.wire is other.wire and piece.source == beside.source  # of one layout then
        if not common or _before(first) != _before(other):
            raise LoweringError(
                label(node),
                f"it computes with {first.tensor!r} and {other.tensor!r}, two streams of their own",
                "FINN's counterpart is an Add of two streams on one grid; take it out of the network",
            )
        piece, private = piece.beside(beside), False
    constants = {t.name: constant(state, t) for t in node.inputs if state.is_constant(t)}
    steps = (*_before(first), piece.then(node, constants))
    return replace(first, tensor=node.outputs[0].name, steps=steps, private=private)


def _piece(state: State, value: Value) -> Piece:
    """The piece at the end of ``value``, or an empty one."""
    last = value.steps[-1] if _before(value) != value.steps else None
    return last if isinstance(last, Piece) else Piece((), value.tensor, value.tensor, value.layout, {}, state.opset())


def _before(value: Value) -> tuple[Step, ...]:
    """The steps before the piece that ends in this very tensor, not in one that was transposed or renamed since."""
    last = value.steps[-1] if value.steps else None
    return value.steps[:-1] if isinstance(last, Piece) and last.result == value.tensor else value.steps
