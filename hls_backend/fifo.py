"""FIFOs on the streams that need room, most of all the skips of reconvergent paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Literal

from hls_backend.dataflow import Dataflow, End, Stream
from hls_backend.layers import StreamingFIFO
from hls_backend.sizing import rooms

Implementation = Literal["rtl", "hls", "finn"]
"""Whose layers: our RTL, our C++ on finn-hlslib's templates, or FINN's own. They fill differently."""


def depths(dataflow: Dataflow, implementation: Implementation, spare: int = 0) -> dict[str, int]:
    """The depth, in transfers, of each stream that needs more than 2 for the dataflow to run at its full rate.

    Found by executing a model of the layers (see `hls_backend.sizing`).

    Args:
        dataflow: folded; with width converters or without, with no FIFOs.
        implementation: whose layers it is built of.
        spare: pixels that each FIFO holds besides, for what the model rounds; where there are any, a stream that needs
            room gets a FIFO however little it is, for our RTL's streams have none of their own.
    """
    wanted = rooms(dataflow, "hls" if implementation == "hls" else "rtl")
    if implementation == "finn":  # its windows are RTL as far as there is RTL for them, else finn-hlslib's
        at_joins = {s.name for n in dataflow.layers if len(n.inputs) > 1 for s in dataflow.inputs_of(n)}
        for name, room in rooms(dataflow, "hls").items():
            if name in at_joins:
                wanted[name] = max(room, wanted.get(name, 0))
    found: dict[str, int] = {}
    for stream in dataflow.streams:
        port = dataflow.target_port(stream) or dataflow.source_port(stream)
        if stream.name in wanted and port is not None:
            pixel = port.transfers // (port.shape[0] * port.shape[1])
            depth = ceil(wanted[stream.name] / port.lanes)
            found[stream.name] = max(depth + spare * pixel, 3) if spare else depth
    return {name: depth for name, depth in found.items() if depth > 2}


def insert_fifos(dataflow: Dataflow, depths: Mapping[str, int], shallowest: int = 3) -> Dataflow:
    """The same dataflow with a StreamingFIFO on each stream that is not shallower than ``shallowest``.

    The FIFO takes the place of the stream in front of it and is called after it; the stream behind keeps tensor and
    name, and is 2 deep.

    Args:
        dataflow: with width converters, so that both ends of a stream have the same lanes.
        depths: in transfers, by the stream's name.
        shallowest: depth of a FIFO; other streams are left as they are.
    """
    layers = list(dataflow.layers)
    streams: list[Stream] = []
    for stream in dataflow.streams:
        depth = depths.get(stream.name, 0)
        port = dataflow.source_port(stream) or dataflow.target_port(stream)
        if depth < shallowest or port is None:
            streams.append(stream)
            continue
        name = fifo_of(stream.name)
        fifo = StreamingFIFO(name, port.shape, stream.type, port.lanes, depth, port.interleave)
        place = layers.index(dataflow.layer(stream.target.layer)) if stream.target else len(layers)
        layers.insert(place, fifo)
        before = Stream(
            f"{name}_in", port.shape, stream.type, stream.source, End(name), 2, "", stream.scale, stream.bias
        )
        streams += [before, replace(stream, source=End(name), depth=2)]
    return replace(dataflow, layers=tuple(layers), streams=tuple(streams))


def fifo_of(stream: str) -> str:
    """What the FIFO of a stream is called."""
    return f"{stream}_fifo"
