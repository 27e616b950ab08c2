"""Where things go: the main path in one column, everything beside it in lanes to the right."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from graphops.draw.region import Region

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "QLinearConv"})
"""Operators with weights: the main path is the way through most of them."""


_Way = tuple[tuple[onnx.NodeProto, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Bypass:
    """A way beside the main path.

    Attributes:
        nodes: what lies on it; nothing where the skip connection is a bare wire.
        sources: rows of the main path from which it comes; -1 is where data come in.
        targets: rows of the main path into which it goes.
        lane: 1 for the nearest to the main path.
    """

    nodes: tuple[onnx.NodeProto, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    lane: int


@dataclass(frozen=True)
class Layout:
    """A region laid out.

    Attributes:
        main: the nodes of the main path, from top to bottom.
        bypasses: the ways beside it.
    """

    main: tuple[onnx.NodeProto, ...]
    bypasses: tuple[Bypass, ...]

    @property
    def lanes(self) -> int:
        """How many lanes there are beside the main path."""
        return max((bypass.lane for bypass in self.bypasses), default=0)


def arrange(region: Region) -> Layout:
    """Lay ``region`` out."""
    main = _main_path(region)
    row_of = {name: row for row, node in enumerate(main) for name in node.output if name}
    row_of |= dict.fromkeys(region.starts, -1)
    on_main = {id(node) for node in main}
    ways: list[_Way] = []
    for row, node in enumerate(main):
        for name in dict.fromkeys(node.input):
            if name in row_of and row_of[name] != row - 1:
                ways.append(((), (row_of[name],), (row,)))
    for group in _groups([node for node in region.nodes if id(node) not in on_main]):
        made = {name for node in group for name in node.output if name}
        sources = {row_of[name] for node in group for name in node.input if name in row_of}
        targets = {row for row, node in enumerate(main) if made.intersection(node.input)}
        ways.append((tuple(group), tuple(sorted(sources)), tuple(sorted(targets))))
    return Layout(tuple(main), tuple(_in_lanes(ways, len(main))))


def _main_path(region: Region) -> list[onnx.NodeProto]:
    """The way with most weighted operators, then most nodes, into the last node."""
    best: dict[str, tuple[tuple[int, int], list[onnx.NodeProto]]] = dict.fromkeys(region.starts, ((0, 0), []))
    path: list[onnx.NodeProto] = []
    for node in region.nodes:
        length, before = max((best[name] for name in node.input if name in best), key=lambda way: way[0])
        path = [*before, node]
        way = ((length[0] + (node.op_type in WEIGHTED), length[1] + 1), path)
        best |= dict.fromkeys(filter(None, node.output), way)
    return path


def _groups(nodes: list[onnx.NodeProto]) -> list[list[onnx.NodeProto]]:
    """``nodes`` apart into those that are joined by tensors."""
    groups: list[tuple[set[str], list[onnx.NodeProto]]] = []
    for node in nodes:
        fed = [group for group in groups if group[0].intersection(node.input)]
        made, members = set(filter(None, node.output)), []
        for group in fed:
            made |= group[0]
            members += group[1]
            groups.remove(group)
        groups.append((made, [*members, node]))
    return [members for _, members in groups]


def _in_lanes(ways: list[_Way], rows: int) -> list[Bypass]:
    """Short ways inside, long ways outside, none through another."""
    ends = [(min(sources, default=-1), max(targets, default=rows)) for _, sources, targets in ways]
    taken: list[list[tuple[int, int]]] = []
    placed = {}
    for i in sorted(range(len(ways)), key=lambda i: (ends[i][1] - ends[i][0], ends[i])):
        top, bottom = ends[i]
        free = (n for n, lane in enumerate(taken) if all(bottom <= t or b <= top for t, b in lane))
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((top, bottom))
        placed[i] = Bypass(*ways[i], lane + 1)
    return [placed[i] for i in range(len(ways))]
