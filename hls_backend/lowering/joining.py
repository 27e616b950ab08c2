"""Add of two streams on one grid."""

from __future__ import annotations

import numpy as np

from hls_backend.errors import LoweringError
from hls_backend.layers import AddStreams
from hls_backend.lowering.elementwise import elementwise
from hls_backend.lowering.state import State, scaled
from hls_backend.lowering.wire import Numbers, Value
from passes.graph import Node, label


def add(state: State, node: Node) -> Value:
    """An Add or Sum: of a constant an elementwise function, of two branches of one wire too, else a join."""
    carried = [slot for slot, t in enumerate(node.inputs) if t.name in state.values or t.name in state.host]
    if len(carried) == 1 and node.op == "Sum" and len(node.inputs) == 1:
        return state.value(node, 0).renamed(node.outputs[0].name)
    if node.op == "Sum" and len(node.inputs) != 2:
        raise LoweringError(label(node), f"it adds {len(node.inputs)} tensors", "add two at a time")
    if len(carried) < 2 or state.value(node, 0).wire is state.value(node, 1).wire:
        return elementwise(state, node)
    return _join(state, node)


def _join(state: State, node: Node) -> Value:
    a, b = state.value(node, 0), state.value(node, 1)
    if a.layout != b.layout:
        axes = " and ".join(", ".join(layout.axes) for layout in (a.layout, b.layout))
        raise LoweringError(label(node), f"it adds tensors whose axes are {axes}", "let both have the same")
    if a.shape != b.shape:
        raise LoweringError(
            label(node), f"it adds streams of shapes {a.shape} and {b.shape}", "FINN adds streams of one shape only"
        )
    (wire_a, own_a), (wire_b, own_b) = scaled(state, node, 0), scaled(state, node, 1)
    if not np.allclose(own_a.scale, own_b.scale, rtol=2**-22, atol=0):
        raise LoweringError(
            label(node),
            f"the scales of {a.tensor!r} ({_spell(own_a.scale)}) and {b.tensor!r} ({_spell(own_b.scale)}) differ",
            "give the quantisers of both paths one scale, as `graphops quantize` does",
        )
    layer = AddStreams(state.builder.name(node.name or node.outputs[0].name), a.shape, (wire_a.type, wire_b.type))
    numbers = Numbers(own_a.low + own_b.low, own_a.high + own_b.high, own_a.scale, own_a.bias + own_b.bias)
    tensor = node.outputs[0].name
    made = state.builder.add(layer, [wire_a, wire_b], numbers, tensor)
    return Value(made, tensor, a.layout, a.shape)


def _spell(scale: np.ndarray) -> str:
    low, high = float(scale.min()), float(scale.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
