"""Width converters where a stream's two ends take different numbers of integers at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import gcd

from hls_backend.dataflow import Dataflow, End, Layer, Port, Stream
from hls_backend.layers import StreamingDataWidthConverter


def insert_width_converters(dataflow: Dataflow) -> Dataflow:
    """The same dataflow with a StreamingDataWidthConverter, or two, in each stream whose ends' lanes differ.

    Two, by way of their least common multiple, where neither is a multiple of the other. The converter takes the
    place of the stream in front of it and is called after it; the stream behind keeps tensor and depth.
    """
    layers: list[Layer] = []
    streams = list(dataflow.streams)
    for layer in dataflow.layers:
        for port, stream in zip(layer.inputs, dataflow.inputs_of(layer), strict=True):
            source = dataflow.source_port(stream)
            if source is None or source.lanes == port.lanes:
                continue
            streams.remove(stream)
            before: End | None = stream.source
            for converter in converters(stream.name, source, port):
                name, shape = converter.name, converter.shape
                layers.append(converter)
                streams.append(
                    Stream(f"{name}_in", shape, stream.type, before, End(name), 2, "", stream.scale, stream.bias)
                )
                before = End(name)
            streams.append(replace(stream, source=before))
        layers.append(layer)
    return replace(dataflow, layers=tuple(layers), streams=tuple(streams))


def converters(stream: str, source: Port, target: Port) -> list[StreamingDataWidthConverter]:
    """What leads from the lanes of ``source`` to those of ``target``, named after ``stream``; none where they agree."""
    if source.lanes == target.lanes:
        return []
    return [
        StreamingDataWidthConverter(
            f"{stream}_dwc{number or ''}", a.shape, b.shape, source.type, a.lanes, b.lanes, source.interleave
        )
        for number, (a, b) in enumerate(pairwise(_steps(source, target)))
    ]


def _steps(source: Port, target: Port) -> list[Port]:
    """The two ports, and one between where neither's lanes are a multiple of the other's."""
    common = source.lanes * target.lanes // gcd(source.lanes, target.lanes)
    if common in (source.lanes, target.lanes):
        return [source, target]
    whole = (1, 1, source.size)
    shape = next(s for s in (source.shape, target.shape, whole) if s[2] % common == 0)
    return [source, Port(shape, source.type, common, source.interleave), target]
