"""The order in which FINN keeps its nodes, and by which it numbers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hls_backend.dataflow import Dataflow


def by_level(nodes: list[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """``nodes`` as qonnx's SortGraph leaves them: by their longest way from the graph's inputs, else as they were.

    Args:
        nodes: in any order.
        edges: pairs of a node and one that reads it.
    """
    readers: dict[str, list[str]] = {node: [] for node in nodes}
    waiting = dict.fromkeys(nodes, 0)
    for source, target in edges:
        readers[source].append(target)
        waiting[target] += 1
    found: list[str] = []
    level = [node for node in nodes if not waiting[node]]
    while level:
        found += level
        ready = set()
        for node in level:
            for reader in readers[node]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.add(reader)
        level = [node for node in nodes if node in ready]
    return found


def in_finn_order(dataflow: Dataflow) -> Dataflow:
    """The same dataflow with its layers in the order of FINN's nodes."""
    edges = [(s.source.layer, s.target.layer) for s in dataflow.streams if s.source and s.target]
    order = by_level([layer.name for layer in dataflow.layers], edges)
    return replace(dataflow, layers=tuple(dataflow.layer(name) for name in order))
