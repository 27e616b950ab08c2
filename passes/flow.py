"""How data flow through a graph: which tensors carry them, past how many weighted layers, and what dominates what.

A tensor dominates another when every way from the graph's inputs to the other passes through it. The dominators of
a directed acyclic graph form a tree in which a tensor's parent is the nearest common ancestor of the inputs of the
node that makes it (Cooper, Harvey, Kennedy 2001, "A Simple, Fast Dominance Algorithm", whose fixed point one pass in
topological order reaches when there are no loops).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import onnx_graphsurgeon as gs
from onnx import TensorProto

from passes.graph import RANDOM, Editor, Node, attributes, is_standard

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "QGemm", "QLinearConv", "ConvInteger", "DeformConv"})
"""Operators that are weighted layers wherever they stand."""

WEIGHTED_BY_CONSTANT = frozenset({"MatMul", "QLinearMatMul", "MatMulInteger"})
"""Operators that are weighted layers when one operand is a constant, given or computed."""

_WHOLE = {value for name, value in TensorProto.DataType.items() if name.startswith(("INT", "UINT")) or name == "BOOL"}

SHAPES = frozenset("Shape Size EyeLike".split())
"""Operators whose output says something about their input's shape, but nothing about its values."""

TESTS = frozenset("Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf NonZero".split())
"""Operators that test values. A test of whole numbers (is this token padding?) makes a mask: no path that a skip
connection could take. A test of real numbers may be an activation, as in binary networks, and carries data on."""

_ROOT = 0


class Origin(IntEnum):
    """What a tensor depends on."""

    CONSTANT = 0
    SHAPES = 1  # of the graph's inputs
    TESTS = 2  # of the graph's inputs, or chance
    DATA = 3


class Flow:
    """The data flow from ``sources`` (names of tensors; default the graph's inputs), and its dominator tree.

    Args:
        editor: the graph.
        nodes: those that data may flow through, in topological order.
        sources: where data come from; with them ``whole`` is needed.
        whole: the flow from all inputs, which knows what is constant.
    """

    def __init__(
        self, editor: Editor, nodes: list[Node], sources: Iterable[str] | None = None, whole: Flow | None = None
    ) -> None:
        self._editor = editor
        self._whole = self if sources is None else whole or Flow.of(editor)
        self._index: dict[str, int] = {}
        self._parent, self._depth, self._jump, self._layers = [_ROOT], [0], [_ROOT], [0]
        self._names = [""]
        self._origins: dict[str, Origin] = {}  # of what is neither constant nor carries data
        for name in editor.inputs if sources is None else sources:
            self._add(name, _ROOT, 0)
        for node in nodes:
            read = [t.name for t in node.inputs] + list(editor.captured_by(node))
            origins = [self._index[name] for name in read if name in self._index]
            if not origins or self._cuts(node):
                if self._whole is self:
                    self._note_origin(node, read)
                continue
            parent = origins[0]
            for other in origins[1:]:
                parent = self._common(parent, other)
            layers = max(self._layers[i] for i in origins) + self.is_weighted(node)
            for output in node.outputs:
                if output.name:
                    self._add(output.name, parent, layers)

    @classmethod
    def of(cls, editor: Editor) -> Flow:
        """The flow from all of the graph's inputs, computed once between two edits."""
        return editor.remember("flow", lambda: cls(editor, editor.nodes))

    def _cuts(self, node: Node) -> bool:
        """Whether data flow into ``node``, but no further; the same whatever this flow's sources."""
        if not is_standard(node):
            return False
        if node.op in TESTS or (node.op == "Cast" and attributes(node).get("to") == TensorProto.BOOL):
            return all(self._editor.element_type(t) in _WHOLE for t in node.inputs if self._whole.carries(t))
        return node.op in SHAPES or node.op in RANDOM

    def _note_origin(self, node: Node, read: list[str]) -> None:
        origin = max((self._origin(name) for name in read), default=Origin.CONSTANT)
        if node.op in SHAPES:
            origin = min(origin, Origin.SHAPES)
        elif node.op in RANDOM or origin is Origin.DATA:
            origin = Origin.TESTS
        if origin is not Origin.CONSTANT:
            self._origins |= {t.name: origin for t in node.outputs}

    def _origin(self, name: str) -> Origin:
        return Origin.DATA if name in self._index else self._origins.get(name, Origin.CONSTANT)

    def carries(self, tensor: gs.Variable) -> bool:
        """Whether data flow from the sources into ``tensor``."""
        return tensor.name in self._index

    def origin(self, tensor: gs.Variable) -> Origin:
        """What ``tensor`` depends on, whatever this flow's sources."""
        return self._whole._origin(tensor.name)

    def layers(self, tensor: gs.Variable) -> int:
        """The most weighted layers on any way from the sources to ``tensor``.

        From a dominator ``f`` to ``t`` the longest way has ``layers(t) - layers(f)``, as every way leads through f.
        """
        return self._layers[self._index[tensor.name]]

    def is_weighted(self, node: Node) -> bool:
        """Whether ``node`` is a weighted layer."""
        if node.op in WEIGHTED:
            return True
        return node.op in WEIGHTED_BY_CONSTANT and any(self.origin(t) <= Origin.SHAPES for t in _operands(node))

    def common_dominator(self, a: gs.Variable, b: gs.Variable) -> str | None:
        """The name of the nearest tensor through which all data on the way to ``a`` and to ``b`` flow."""
        return self._names[self._common(self._index[a.name], self._index[b.name])] or None

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
                reached = any(reached_by.get(t.name, False) for t in editor.read_by(node))
                for output in node.outputs:
                    reached_by[output.name] = reached
                if reached:
                    order.append(node)
        elif tensor.name not in reached_by:
            pending.append((tensor, True))
            pending.extend((t, False) for t in editor.read_by(node) if t.name not in reached_by)
    return order


def _operands(node: Node) -> list[gs.Variable]:
    """The two matrices that a MatMul, plain or quantised, multiplies."""
    return [node.inputs[0], node.inputs[3]] if node.op == "QLinearMatMul" else list(node.inputs[:2])
