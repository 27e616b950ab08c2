"""FIFOs on the streams that need room: the skips of reconvergent paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Literal

from hls_backend.dataflow import Dataflow, End, Layer, Stream
from hls_backend.layers import ConvolutionInputGenerator, GlobalAccPool, StreamingFIFO

Implementation = Literal["rtl", "hls", "finn"]
"""Whose layers: our RTL, our C++ on finn-hlslib's templates, or FINN's own. They fill differently."""


def depths(dataflow: Dataflow, implementation: Implementation) -> dict[str, int]:
    """The depth, in transfers, of each stream that needs more than 2 for the dataflow to run at its full rate."""
    lags: dict[str, Fraction] = {}
    found: dict[str, int] = {}
    for layer in dataflow.layers:
        streams = dataflow.inputs_of(layer)
        behind = [lags.get(s.name, Fraction(0)) for s in streams]
        late = max(behind)
        for stream, lag, port in zip(streams, behind, layer.inputs, strict=True):
            if lag < late:
                source = dataflow.source_port(stream) or port
                pixels = stream.shape[0] * stream.shape[1]
                found[stream.name] = ceil((late - lag) * source.transfers) + 2 * (source.transfers // pixels)
        for stream in dataflow.outputs_of(layer):
            lags[stream.name] = late + _fill(layer)
    return found


def _fill(layer: Layer) -> Fraction:
    """The part of an image that a layer takes in before it gives anything."""
    if isinstance(layer, ConvolutionInputGenerator) and layer.kernel != (1, 1):
        return min(Fraction(1), Fraction(layer.kernel[0] + layer.stride[0], layer.image[0]))
    return Fraction(int(isinstance(layer, GlobalAccPool)))


def insert_fifos(dataflow: Dataflow, depths: Mapping[str, int]) -> Dataflow:
    """The same dataflow with a StreamingFIFO on each stream whose depth is above 2.

    The FIFO takes the place of the stream in front of it and is called after it; the stream behind keeps tensor and
    name, and is 2 deep.

    Args:
        dataflow: with width converters, so that both ends of a stream have the same lanes.
        depths: in transfers, by the stream's name.
    """
    layers = list(dataflow.layers)
    streams: list[Stream] = []
    for stream in dataflow.streams:
        depth = depths.get(stream.name, 2)
        port = dataflow.source_port(stream) or dataflow.target_port(stream)
        if depth <= 2 or port is None:
            streams.append(stream)
            continue
        name = f"{stream.name}_fifo"
        fifo = StreamingFIFO(name, port.shape, stream.type, port.lanes, depth, port.interleave)
        place = layers.index(dataflow.layer(stream.target.layer)) if stream.target else len(layers)
        layers.insert(place, fifo)
        before = Stream(
            f"{name}_in", port.shape, stream.type, stream.source, End(name), 2, "", stream.scale, stream.bias
        )
        streams += [before, replace(stream, source=End(name), depth=2)]
    return replace(dataflow, layers=tuple(layers), streams=tuple(streams))
