"""FIFO depths as FINN takes them: as attributes of the nodes at both ends, and by the names of the FIFOs that follow.

FINN puts the FIFOs in itself (`InsertDWC`, then `InsertFIFO`): one on each stream, as deep as the larger of its
producer's ``outFIFODepths`` and its consumer's ``inFIFODepths``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from hls_backend import fifo
from hls_backend.dataflow import Dataflow, End, Stream
from hls_backend.finn.order import by_level
from hls_backend.widths import insert_width_converters

LEAST = 2
"""A FIFO's depth where nothing is said."""


@dataclass(frozen=True)
class Attributes:
    """What a dataflow's layers say of the FIFOs at their ports.

    Attributes:
        inputs, outputs: by the layer's name, one depth a port.
    """

    inputs: Mapping[str, list[int]]
    outputs: Mapping[str, list[int]]


def attributes(dataflow: Dataflow) -> Attributes:
    """The depths that FINN's layers need.

    Args:
        dataflow: made by `for_finn`.
    """
    joined = insert_width_converters(dataflow)
    wanted = fifo.depths(joined, "finn")
    inputs = {n.name: [LEAST] * len(n.inputs) for n in dataflow.layers}
    outputs = {n.name: [LEAST] * len(n.outputs) for n in dataflow.layers}
    for stream in dataflow.streams:
        pieces = list(_pieces(joined, stream))
        found = [wanted.get(piece.name, LEAST) for piece in pieces]
        if stream.source:
            # FINN converts in one step: what is to wait between two converters of ours waits before its one.
            own = dataflow.layer(stream.source.layer).outputs[stream.source.port]
            before = found[:1]
            for piece, depth in list(zip(pieces, found, strict=True))[1:-1]:
                port = joined.source_port(piece)
                before.append(ceil(depth * (port.lanes if port else 1) / own.lanes))
            outputs[stream.source.layer][stream.source.port] = max(before)
        if stream.target and (len(pieces) > 1 or not stream.source):
            inputs[stream.target.layer][stream.target.port] = found[-1]
    return Attributes(inputs, outputs)


def _pieces(joined: Dataflow, stream: Stream) -> Iterator[Stream]:
    """What became of ``stream`` when width converters were put in, in order."""
    by_source = {s.source: s for s in joined.streams if s.source}
    if stream.source is None:
        yield stream
        return
    piece = by_source[stream.source]
    yield piece
    while piece.target != stream.target:
        assert piece.target, "a stream that goes on ends where the one it came from ended"
        piece = by_source[End(piece.target.layer)]
        yield piece


def inserted(dataflow: Dataflow) -> list[int]:
    """The depths of the FIFOs that FINN will have put in, in the order in which it numbers them.

    Args:
        dataflow: with neither width converters nor FIFOs, made by `for_finn`.
    """
    said = attributes(dataflow)
    edges = []
    for layer in dataflow.layers:
        for port, stream in enumerate(dataflow.outputs_of(layer)):
            if stream.target:
                depths = said.outputs[layer.name][port], said.inputs[stream.target.layer][stream.target.port]
                target = dataflow.target_port(stream)
                is_converted = target is not None and target.lanes != layer.outputs[port].lanes
                edges.append(_Edge(layer.name, stream.target.layer, *depths, is_converted))
    order = [layer.name for layer in dataflow.layers]
    order, edges, _ = _put_in(order, edges, "converter", lambda edge: edge.is_converted)
    order, edges, put = _put_in(order, edges, "fifo", lambda edge: True)
    found = {node: max(edge.before, edge.after) for node, edge in put.items()}
    pairs = [(e.source, e.target) for e in edges]
    for number, stream in enumerate((*dataflow.inputs, *dataflow.outputs)):
        node = f"end {number}"
        if stream.target:
            found[node] = said.inputs[stream.target.layer][stream.target.port]
            order.insert(0, node)
            pairs.append((node, stream.target.layer))
        elif stream.source:
            found[node] = said.outputs[stream.source.layer][stream.source.port]
            order.append(node)
            pairs.append((stream.source.layer, node))
    return [max(found[node], LEAST) for node in by_level(order, pairs) if node in found]


@dataclass(frozen=True)
class _Edge:
    """A stream of FINN's graph: its two nodes, the depths that they say, and whether it needs a width converter."""

    source: str
    target: str
    before: int
    after: int
    is_converted: bool = False


def _put_in(
    order: list[str], edges: list[_Edge], kind: str, where: Callable[[_Edge], bool]
) -> tuple[list[str], list[_Edge], dict[str, _Edge]]:
    """A node on each edge ``where`` one is wanted, right behind the edge's source, that of the last output first.

    Returns:
        The nodes, sorted; the edges; and by the new nodes, the edges that they were put on.
    """
    nodes: list[str] = []
    parts: list[_Edge] = []
    put: dict[str, _Edge] = {}
    for node in order:
        new: list[str] = []
        for edge in (e for e in edges if e.source == node):
            if not where(edge):
                parts.append(edge)
                continue
            name = f"{kind} {len(put)}"
            new.insert(0, name)
            put[name] = edge
            parts += [_Edge(node, name, edge.before, LEAST), _Edge(name, edge.target, LEAST, edge.after)]
        nodes += [node, *new]
    return by_level(nodes, [(e.source, e.target) for e in parts]), parts, put
