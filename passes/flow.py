"""How data flow through a graph: which tensors carry them, past how many weighted layers, and what dominates what.

A tensor dominates another when every way from the graph's inputs to the other passes through it. The dominators of
a directed acyclic graph form a tree in which a tensor's parent is the nearest common ancestor of the inputs of the
node that makes it (Cooper, Harvey, Kennedy 2001, "A Simple, Fast Dominance Algorithm", whose fixed point one pass in
topological order reaches when there are no loops).
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

from passes.graph import Editor, Node, is_standard

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "QLinearConv", "ConvInteger", "DeformConv"})
"""Operators that are weighted layers wherever they stand."""

WEIGHTED_BY_CONSTANT = frozenset({"MatMul", "QLinearMatMul", "MatMulInteger"})
"""Operators that are weighted layers when one operand is a constant, given or computed."""

CUTS = frozenset("Shape Size Equal Greater GreaterOrEqual Less LessOrEqual Not And Or Xor IsNaN IsInf NonZero".split())
"""Operators whose output says something about their input's shape or sign, but carries none of its values: a padding
mask is no path that a skip connection could take."""

_ROOT = 0


class Flow:
    """The data flow from ``sources`` (names of graph inputs; default all of them), and its dominator tree."""

    def __init__(self, editor: Editor, nodes: list[Node], sources: Iterable[str] | None = None) -> None:
        self._index: dict[str, int] = {}
        self._parent, self._depth, self._jump, self._layers = [_ROOT], [0], [_ROOT], [0]
        self._names = [""]
        for name in editor.inputs if sources is None else sources:
            self._add(name, _ROOT, 0)
        for node in nodes:
            sources_of = self.data_inputs(editor, node)
            if not sources_of or (node.op in CUTS and is_standard(node)):
                continue
            parent = sources_of[0]
            for other in sources_of[1:]:
                parent = self._common(parent, other)
            layers = max(self._layers[i] for i in sources_of) + self._is_weighted(node)
            for output in node.outputs:
                if output.name:
                    self._add(output.name, parent, layers)

    def data_inputs(self, editor: Editor, node: Node) -> list[int]:
        """The indices of the tensors from which data flow into ``node``, into its subgraphs too."""
        names = [t.name for t in node.inputs]
        if any(a.HasField("g") or a.graphs for a in node.source.attribute):
            names += editor.captured_by(node)
        return [self._index[n] for n in names if n in self._index]

    def carries(self, tensor: gs.Variable) -> bool:
        """Whether data flow from the sources into ``tensor``."""
        return tensor.name in self._index

    def layers(self, tensor: gs.Variable) -> int:
        """The most weighted layers on any way from the sources to ``tensor``.

        From a dominator ``f`` to ``t`` the longest way has ``layers(t) - layers(f)``, as every way leads through f.
        """
        return self._layers[self._index[tensor.name]]

    def is_weighted(self, node: Node) -> bool:
        """Whether ``node`` is a weighted layer."""
        return bool(self._is_weighted(node))

    def common_dominator(self, a: gs.Variable, b: gs.Variable) -> str | None:
        """The name of the nearest tensor through which all data on the way to ``a`` and to ``b`` flow."""
        return self._names[self._common(self._index[a.name], self._index[b.name])] or None

    def position(self, name: str) -> int:
        """Where a tensor stands in topological order."""
        return self._index[name]

    def _is_weighted(self, node: Node) -> int:
        if node.op in WEIGHTED:
            return 1
        if node.op in WEIGHTED_BY_CONSTANT:
            return int(not all(self.carries(t) for t in _operands(node)))
        return 0

    def _add(self, name: str, parent: int, layers: int) -> None:
        self._index[name] = len(self._names)
        self._names.append(name)
        self._parent.append(parent)
        self._depth.append(self._depth[parent] + 1)
        self._layers.append(layers)
        # Jump pointers in skew-binary steps (Myers 1983): an ancestor is found in logarithmic time.
        jump = self._jump[parent]
        even = self._depth[parent] - self._depth[jump] == self._depth[jump] - self._depth[self._jump[jump]]
        self._jump.append(self._jump[jump] if even else parent)

    def _common(self, a: int, b: int) -> int:
        depth, parent, jump = self._depth, self._parent, self._jump
        if depth[a] < depth[b]:
            a, b = b, a
        while depth[a] > depth[b]:
            a = jump[a] if depth[jump[a]] >= depth[b] else parent[a]
        while a != b:
            if jump[a] != jump[b]:
                a, b = jump[a], jump[b]
            else:
                a, b = parent[a], parent[b]
        return a


def between(editor: Editor, end: gs.Variable, fork: str) -> list[Node]:
    """The nodes on any way from ``fork`` to ``end``, in topological order."""
    reached_by: dict[str, bool] = {fork: True}
    order: list[Node] = []
    pending: list[tuple[gs.Variable, bool]] = [(end, False)]
    while pending:
        tensor, done = pending.pop()
        node = editor.producer(tensor)
        if node is None:
            reached_by.setdefault(tensor.name, False)
        elif done:
            if tensor.name not in reached_by:
                reached = any(reached_by.get(t.name, False) for t in node.inputs)
                for output in node.outputs:
                    reached_by[output.name] = reached
                if reached:
                    order.append(node)
        elif tensor.name not in reached_by:
            pending.append((tensor, True))
            pending.extend((t, False) for t in node.inputs if t.name and t.name not in reached_by)
    return order


def _operands(node: Node) -> list[gs.Variable]:
    """The two matrices that a MatMul, plain or quantised, multiplies."""
    return [node.inputs[0], node.inputs[3]] if node.op == "QLinearMatMul" else list(node.inputs[:2])
