"""Types as FINN takes them: no matrix of 1-bit unsigned inputs; for FINN's own joins, two inputs of one type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from hls_backend.dataflow import Dataflow, End, Flavour, Folding, Layer, Stream
from hls_backend.datatypes import IntegerType, least, named
from hls_backend.layers import AddStreams, ChannelwiseOp, Thresholding

_BINARY, _WIDER = named("BINARY"), named("UINT2")


def as_finn_takes(dataflow: Dataflow, flavour: Flavour) -> Dataflow:
    """The same dataflow, its integers in types that FINN takes; what passes them on unchanged follows.

    0 and 1 are two bits wide (``matrixvectoractivation_hls.py``: "True binary inputs not yet supported"). FINN's own
    AddStreams wants both inputs of one type: a ChannelwiseOp that adds 0 widens the narrower; FINN+'s ElementwiseAdd
    takes any two.
    """
    layers: list[Layer] = []
    streams = {_end(s): s for s in dataflow.streams}
    by_source = {s.source: s for s in dataflow.streams if s.source}
    for stream in dataflow.inputs:
        streams[_end(stream)] = replace(stream, type=_WIDER if stream.type == _BINARY else stream.type)
    for layer in dataflow.layers:
        ends = [End(layer.name, i) for i in range(len(layer.inputs))]
        types = [streams[end].type for end in ends]
        if flavour == "finn-main" and isinstance(layer, AddStreams) and types[0] != types[1]:
            common = least(min(int(t.min()) for t in types), max(int(t.max()) for t in types))
            for end, type in zip(ends, types, strict=True):
                if type != common:
                    widening, behind = _widen(streams[end], common, layer.folding)
                    layers.append(widening)
                    streams[End(widening.name)] = replace(streams[end], target=End(widening.name))
                    streams[end] = behind
            types = [common, common]
        changed = _with_types(layer, types)
        layers.append(changed)
        for port, made in enumerate(changed.outputs):
            stream = by_source[End(layer.name, port)]
            streams[_end(stream)] = replace(stream, type=made.type)
    return replace(dataflow, layers=tuple(layers), streams=tuple(streams.values()))


def _end(stream: Stream) -> End | str:
    """Where a stream ends; its name, where it leaves the dataflow."""
    return stream.target or stream.name


def _widen(stream: Stream, common: IntegerType, folding: Folding) -> tuple[ChannelwiseOp, Stream]:
    """A layer behind ``stream`` that makes its integers those of ``common``, and the stream behind it."""
    rows, columns, channels = stream.shape
    name = f"{stream.name}_widened"
    zeros = np.zeros(channels, np.int64)
    layer = ChannelwiseOp(name, (rows, columns), "add", zeros, stream.type, common, folding=folding)
    return layer, replace(stream, name=f"{name}_out", type=common, source=End(name))


def _with_types(layer: Layer, types: list[IntegerType]) -> Layer:
    """``layer`` with inputs of ``types``, and no output of its own of 0 and 1 in one bit."""
    fields: dict[str, Any] = {}
    if [port.type for port in layer.inputs] != types:
        options = {"types": tuple(types), "input_type": types[0], "type": types[0]}
        name = next(name for name in options if hasattr(layer, name))
        fields[name] = options[name]
    if isinstance(layer, (Thresholding, ChannelwiseOp)) and layer.output_type == _BINARY:
        fields["output_type"] = _WIDER
    return replace(layer, **cast(Any, fields)) if fields else layer
