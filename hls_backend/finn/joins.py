"""Joins of two streams of one type, as FINN's own AddStreams wants them; FINN+'s ElementwiseAdd takes any two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from hls_backend.dataflow import Dataflow, End, Folding, Layer, Stream
from hls_backend.datatypes import IntegerType, least
from hls_backend.layers import AddStreams, ChannelwiseOp


def with_equal_types(dataflow: Dataflow) -> Dataflow:
    """The same dataflow with both inputs of each join of the least type that holds either's values.

    A ChannelwiseOp that adds 0 widens an input of another type. The type of the sum, and of what it passes through
    unchanged, follows.
    """
    layers: list[Layer] = []
    streams = {s.target: s for s in dataflow.streams}
    by_source = {s.source: s for s in dataflow.streams if s.source}
    for layer in dataflow.layers:
        ends = [End(layer.name, i) for i in range(len(layer.inputs))]
        types = [streams[end].type for end in ends]
        if isinstance(layer, AddStreams) and types[0] != types[1]:
            common = least(min(int(t.min()) for t in types), max(int(t.max()) for t in types))
            for end, type in zip(ends, types, strict=True):
                if type != common:
                    widening, behind = _widen(streams[end], common, layer.folding)
                    layers.append(widening)
                    streams[End(widening.name)] = replace(streams[end], target=End(widening.name))
                    streams[end] = behind
            types = [common, common]
        changed = _with_input_types(layer, types)
        layers.append(changed)
        for port, made in enumerate(changed.outputs):
            stream = by_source[End(layer.name, port)]
            streams[stream.target] = replace(stream, type=made.type)
    return replace(dataflow, layers=tuple(layers), streams=tuple(streams.values()))


def _widen(stream: Stream, common: IntegerType, folding: Folding) -> tuple[ChannelwiseOp, Stream]:
    """A layer behind ``stream`` that makes its integers those of ``common``, and the stream behind it."""
    rows, columns, channels = stream.shape
    name = f"{stream.name}_widened"
    zeros = np.zeros(channels, np.int64)
    layer = ChannelwiseOp(name, (rows, columns), "add", zeros, stream.type, common, folding=folding)
    return layer, replace(stream, name=f"{name}_out", type=common, source=End(name))


def _with_input_types(layer: Layer, types: list[IntegerType]) -> Layer:
    if [port.type for port in layer.inputs] == types:
        return layer
    fields: dict[str, Any] = {"types": tuple(types), "input_type": types[0], "type": types[0]}
    field = next(name for name in fields if hasattr(layer, name))
    return replace(layer, **cast(Any, {field: fields[field]}))
