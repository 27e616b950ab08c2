"""A quantiser becomes thresholds on the integers before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hls_backend.dataflow import Shape
from hls_backend.datatypes import least
from hls_backend.errors import LoweringError
from hls_backend.layers import Thresholding
from hls_backend.layout import Layout, stream_shape
from hls_backend.lowering.pooling import max_pool, pool_now
from hls_backend.lowering.state import Judge, State
from hls_backend.lowering.wire import Numbers, Value
from hls_backend.quantisers import Quantiser, read_quantiser
from hls_backend.thresholds import is_identity, search, try_direction
from passes.graph import Node, label

_MOST_STEPS = 2**10
"""More thresholds a channel than this are no design that anybody wants."""


def quantise(state: State, node: Node) -> Value:
    """``node`` and all pieces of the graph before it, back to the wire, as one Thresholding (or none).

    Max poolings that waited are done after it, on fewer bits.
    """
    quantiser = read_quantiser(state.editor, node)
    if node.inputs[0].name in state.host:
        return _begin(state, node, quantiser)
    value = state.value(node, 0).renamed(node.inputs[0].name, private=state.is_private(node.inputs[0]))
    step, offset = _grid(quantiser, value.layout, value.shape)
    value = _rising(state, value, quantiser)
    wire, tensor = value.wire, node.outputs[0].name
    name = state.builder.name(f"{node.name or tensor}_thresholds")
    judge = Judge(value, quantiser, name)
    low, high = (judge.levels(ends[None])[0] for ends in (wire.numbers.low, wire.numbers.high))
    if is_identity(judge.levels, value.channels, *wire.numbers.span):
        wire, private = wire.read_as(step, offset), value.private
    else:
        base, top = int(low.min()), max(int(high.max()), int(low.min()) + 1)
        if top - base > _MOST_STEPS:
            raise LoweringError(
                label(node), f"it makes {top - base + 1} levels of an accumulator", "quantise activations to 8 bits"
            )
        thresholds = search(judge.levels, value.channels, *wire.numbers.span, base, top)
        rows, columns, _ = wire.shape
        layer = Thresholding(name, (rows, columns), thresholds, base, wire.type, least(base, top))
        numbers = Numbers(low, high, step, offset)
        wire = state.builder.add(layer, [wire], numbers, "" if value.poolings else tensor)
        state.judges[tensor], private = judge, True
    for pooling in value.poolings:
        wire = max_pool(state, pooling, wire, tensor if pooling is value.poolings[-1] else "")
    return Value(wire, tensor, value.layout, value.shape, (), private)


def _grid(quantiser: Quantiser, layout: Layout, image: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Step and offset a channel."""
    found, node = [], quantiser.node
    for part in (quantiser.step, quantiser.offset):
        each = layout.per_channel(part, image[2])
        if each is None or (layout.is_flat and image[:2] != (1, 1) and part.size > 1):
            raise LoweringError(label(node), "its scale is not one a channel", "give it one scale a channel or tensor")
        found.append(each)
    return found[0], found[1]


def _rising(state: State, value: Value, quantiser: Quantiser) -> Value:
    """``value`` with the signs of channels changed on the wire such that levels rise with the integer everywhere.

    Raises:
        LoweringError: when levels rise and fall.
    """
    if value.poolings:
        after = value.direction(after_poolings=True)
        if after is None or (after < 0).any():
            value = pool_now(state, value)  # the largest before is not the largest after
    direction = value.direction()
    if direction is None:
        judge = Judge(value, quantiser, "")
        direction = try_direction(judge.levels, value.channels, *value.wire.numbers.span)
        if direction is None or (direction == 2).any():
            culprit = _culprit(value)
            raise LoweringError(
                label(culprit),
                "it rises and falls, and thresholds only count upwards",
                "use ReLU, HardTanh, Sigmoid or another function that never falls",
            )
    if (direction < 0).any():
        wire = state.builder.flip(value.wire, np.where(direction < 0, -1, 1), value.private)
        value = replace(value, wire=wire)
    return value


def _culprit(value: Value) -> Node:
    """The first node that is not known to rise or fall."""
    for piece in value.pieces:
        for node in piece.nodes:
            if piece.node_direction(node, value.channels) is None:
                return node
    raise AssertionError("a value of known directions has no culprit")


def _begin(state: State, node: Node, quantiser: Quantiser) -> Value:
    """The quantiser that makes the dataflow's input, computed by the host."""
    if state.host_quantiser is not None:
        raise LoweringError(
            label(node),
            f"the graph's input has another quantiser, {label(state.host_quantiser.node)}",
            "quantise the input once, before it forks",
        )
    tensor = node.outputs[0]
    shape = state.editor.shape(tensor)
    if shape is None or len(shape) not in (2, 3, 4) or not all(isinstance(d, int) for d in shape[1:]):
        raise LoweringError(label(node), f"the shape of {tensor.name!r} is not known", "fix the sizes of the input")
    layout = Layout.of_rank(len(shape))
    image = stream_shape(layout, tuple(int(d) for d in shape[1:] if isinstance(d, int)))
    state.host_quantiser = quantiser
    bounds = quantiser.bounds
    if bounds is None:
        raise LoweringError(label(node), "it sets no bounds to the input's integers", "put a Quant before it")
    low, high = (np.full(image[2], bound, np.int64) for bound in bounds)
    step, offset = _grid(quantiser, layout, image)
    wire = state.builder.source(tensor.name, image, Numbers(low, high, step, offset))
    return Value(wire, tensor.name, layout, image)
