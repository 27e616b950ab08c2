"""A quantiser becomes thresholds on the integers before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hls_backend.datatypes import least
from hls_backend.errors import LoweringError
from hls_backend.layers import Thresholding
from hls_backend.lowering.beginning import begin
from hls_backend.lowering.pooling import max_pool, settled
from hls_backend.lowering.state import Judge, State, grid
from hls_backend.lowering.wire import Numbers, Value
from hls_backend.progression import fit
from hls_backend.quantisers import Quantiser, read_quantiser
from hls_backend.thresholds import Map, is_identity, search, try_direction
from passes.graph import Node, label

_MOST_STEPS = 2**10 - 1
"""More thresholds a channel than this are no design that anybody wants; thresholds_search.sv counts to ten stages."""


def quantise(state: State, node: Node) -> Value:
    """``node`` and all pieces of the graph before it, back to the wire, as one Thresholding (or none).

    Max poolings that waited are done after it, on fewer bits.
    """
    quantiser = read_quantiser(state.editor, node)
    if node.inputs[0].name in state.host:
        return begin(state, node, quantiser)
    value = state.value(node, 0)
    step, offset = grid(quantiser, value.layout, value.shape)
    value = _rising(state, value, quantiser)
    wire, tensor = value.wire, node.outputs[0].name
    name = state.builder.name(f"{node.name or tensor}_thresholds")
    judge = Judge(value, quantiser, name)
    low, high = (judge.levels(ends[None])[0] for ends in (wire.numbers.low, wire.numbers.high))
    levels = _tried(judge) if value.direction() is None else judge.levels
    if is_identity(levels, value.channels, *wire.numbers.span):
        wire, private = wire.read_as(tensor, step, offset), value.private
    else:
        base, top = int(low.min()), max(int(high.max()), int(low.min()) + 1)
        if top - base > _MOST_STEPS:
            raise LoweringError(
                label(node), f"it makes {top - base + 1} levels of an accumulator", "quantise activations to 8 bits"
            )
        thresholds = search(levels, value.channels, *wire.numbers.span, base, top)
        rows, columns, _ = wire.shape
        progression = fit(thresholds, *wire.numbers.span)
        layer = Thresholding(name, (rows, columns), thresholds, base, wire.type, least(base, top), progression)
        numbers = Numbers(low, high, step, offset)
        wire = state.builder.add(layer, [wire], numbers, "" if value.poolings else tensor)
        state.judges[tensor], private = judge, True
    for pooling in value.poolings:
        wire = max_pool(state, pooling, wire, tensor if pooling is value.poolings[-1] else "")
    return Value(wire, tensor, value.layout, value.shape, (), private)


def _rising(state: State, value: Value, quantiser: Quantiser) -> Value:
    """``value`` with the signs of channels changed on the wire such that levels rise with the integer everywhere.

    Raises:
        LoweringError: when levels rise and fall.
    """
    value = settled(state, value)
    direction = value.direction()
    if direction is None:
        direction = try_direction(_tried(Judge(value, quantiser, "")), value.channels, *value.wire.numbers.span)
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


def _tried(judge: Judge) -> Map:
    """The levels; of integers that do not occur on their channel, where it may turn round, those of the nearest."""
    numbers = judge.value.wire.numbers
    return lambda integers: judge.levels(np.clip(integers, numbers.low, numbers.high))


def _culprit(value: Value) -> Node:
    """The first node that is not known to rise or fall."""
    for piece in value.pieces:
        for node in piece.nodes:
            if piece.node_direction(node, value.channels) is None:
                return node
    raise AssertionError("a value of known directions has no culprit")
