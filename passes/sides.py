"""Forks of joins that side inputs reach past every tensor: a mask, a time step, a second sequence.

No tensor dominates such a join's operands, as data of one graph input come round it. So the paths from one graph
input at a time are looked at. That alone would make a fork of a mask that is added in every layer: it reaches both
operands from the second layer on. But what a skip connection's fork holds is all in the join, while the mask goes on
to the next layer on its own. So a fork counts where its data meet what the join makes only through the join.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from passes.flow import Flow
from passes.graph import Editor, Node
from passes.joins import addends

_ROUND, _THROUGH = 1, 2


class Sides:
    """Looks for forks among the paths from one graph input at a time. Nothing is computed before it is asked for."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._flows: dict[str, Flow] = {}
        self._position: dict[str, int] = {}  # of the node that makes a tensor
        self._readers: dict[str, list[int]] = {}  # positions of the nodes that read a tensor
        self._inputs: dict[str, int] = {}  # the graph inputs whose data a tensor carries, as bits

    def fork(self, join: Node) -> Iterator[tuple[Flow, str]]:
        """The nearest fork of ``join`` and the flow it was found in, if there is one."""
        if not self._position:
            self._survey()
        a, b = addends(join)
        shared = self._inputs[a.name] & self._inputs[b.name]
        candidates = []
        for i, name in enumerate(self._editor.inputs):
            if shared >> i & 1:
                flow = self._flow(name)
                fork = flow.common_dominator(a, b)
                assert fork is not None, "one input dominates what flows from it"
                candidates.append((self._position.get(fork, -1), fork, flow))
        for _, fork, flow in sorted(candidates, key=lambda c: -c[0]):
            if not self._goes_round(fork, join):
                yield flow, fork
                return

    def _survey(self) -> None:
        whole = Flow.of(self._editor)
        self._inputs = {name: 1 << i for i, name in enumerate(self._editor.inputs)}
        for position, node in enumerate(self._editor.nodes):
            read = {t.name for t in node.inputs} | self._editor.captured_by(node)
            for name in read:
                self._readers.setdefault(name, []).append(position)
            bits = 0
            for name in read:
                bits |= self._inputs.get(name, 0)
            for output in node.outputs:
                self._position[output.name] = position
                if whole.carries(output):
                    self._inputs[output.name] = bits

    def _flow(self, name: str) -> Flow:
        if name not in self._flows:
            self._flows[name] = Flow(self._editor, self._editor.nodes, [name], Flow.of(self._editor))
        return self._flows[name]

    def _goes_round(self, fork: str, join: Node) -> bool:
        """Whether data of ``fork`` meet what ``join`` makes, having gone round ``join``."""
        nodes = self._editor.nodes
        marks: dict[int, int] = {}
        pending: list[int] = []
        waiting = {_ROUND: 0, _THROUGH: 1}  # nodes that data on each way have yet to go through

        def reach(name: str, mark: int) -> None:
            for position in self._readers.get(name, ()):
                old = marks.get(position, 0)
                if not old:
                    heapq.heappush(pending, position)
                marks[position] = old | mark
                waiting[_ROUND] += bool(mark & ~old & _ROUND)
                waiting[_THROUGH] += bool(mark & ~old & _THROUGH)

        reach(fork, _ROUND)
        while pending and all(waiting.values()):
            position = heapq.heappop(pending)
            mark = marks[position]
            waiting[_ROUND] -= bool(mark & _ROUND)
            waiting[_THROUGH] -= bool(mark & _THROUGH)
            if nodes[position] is join:
                mark = _THROUGH
                waiting[_THROUGH] -= 1
            if mark == _ROUND | _THROUGH:
                return True
            for output in nodes[position].outputs:
                if output.name in self._inputs:
                    reach(output.name, mark)
        return False
