"""Which tensors of a graph must lie on a grid for the graph to run in integers, and which of them share one.

On a grid must be: what a weighted layer multiplies, what an average pooling sums, what a join or a Concat puts
together, and a feature map that leaves the graph after an activation. Operators that only pick and move numbers
(MaxPool, Slice, Pad with zeros, Flatten, ...) keep a grid, so the quantiser goes in front of them, once, whoever reads
the tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from passes.errors import ModelError
from passes.flow import WEIGHTED, Flow
from passes.geometry import fill_of
from passes.graph import Editor, Node, is_standard
from passes.operators import KEEPING
from passes.refusal import Refusal

DOMAIN = "qonnx.custom_op.general"
"""Where QONNX's quantisers live."""

_SUMMING = frozenset("AveragePool GlobalAveragePool ReduceMean ReduceSum".split())
_AFFINE = frozenset("Add Sum Sub Mul Div BatchNormalization Concat MatMul".split()) | _SUMMING
_NONNEGATIVE = frozenset("Relu Sigmoid HardSigmoid Softplus Exp Softmax Abs".split())
_NONNEGATIVE_KEEPING = KEEPING | _SUMMING | {"Add", "Sum", "Concat", "Min", "Cast"}


@dataclass(frozen=True)
class Point:
    """A tensor to be quantised.

    Attributes:
        tensor: its name; everything that reads it will read its quantiser.
        is_input: whether it is the graph's input.
        is_signed: whether its numbers can be negative.
        only_joins: whether nothing but joins reads it, past what keeps a grid.
        only_last: whether nothing but last layers reads it.
        group: points of one group share one scale.
    """

    tensor: str
    is_input: bool
    is_signed: bool
    only_joins: bool
    only_last: bool
    group: int


@dataclass(frozen=True, eq=False)
class WeightedLayer:
    """A weighted layer.

    Attributes:
        node: its node.
        data: the place of its data among the inputs; the weights stand at ``weight``.
        weight: see above.
        is_first: whether its data come from the graph's input with no weighted layer between.
        is_last: whether its output leaves the graph with no point between.
        point: the point that its data come from.
    """

    node: Node
    data: int
    weight: int
    is_first: bool
    is_last: bool
    point: str


@dataclass(frozen=True)
class Grids:
    """What has to be quantised, in topological order, and what cannot be."""

    points: tuple[Point, ...]
    layers: tuple[WeightedLayer, ...]
    notes: tuple[str, ...]


def find_grids(editor: Editor) -> Grids:
    """The grids that the graph in ``editor`` needs."""
    return _Search(editor).result()


class _Search:
    def __init__(self, editor: Editor) -> None:
        self.editor, self.nodes, self.flow = editor, editor.nodes, Flow.of(editor)
        self.wanted: dict[str, list[Node | None]] = {}  # by the tensor: who needs it on a grid; None: the outside
        self.parent: dict[str, str] = {}
        self.notes: list[str] = []
        self.weighted: list[tuple[Node, int, int]] = []

    def result(self) -> Grids:
        for node in self.nodes:
            self._look_at(node)
        for name in sorted(self.editor.outputs):
            tensor = self.editor.tensor(name)
            if self.flow.carries(tensor) and self._is_activated(tensor):
                self._want(tensor, None)
        last = {id(node) for node, _, _ in self.weighted if self._leaves(node)}
        layers = []
        for node, data, weight in self.weighted:
            point = self._root(node.inputs[data]).name
            first = self._is_input(point)
            layers.append(WeightedLayer(node, data, weight, first, id(node) in last, point))
        order = {t.name: i for i, t in enumerate(t for n in self.nodes for t in n.outputs)}
        names = sorted(self.wanted, key=lambda n: order.get(n, -1))
        groups = {root: i for i, root in enumerate(dict.fromkeys(self._group(n) for n in names))}
        points = []
        for name in names:
            readers = self.wanted[name]
            joins = all(r is not None and r.op in ("Add", "Sum", "Concat") for r in readers)
            classifies = all(r is not None and id(r) in last for r in readers)
            signed = not self._is_nonnegative(self.editor.tensor(name))
            points.append(Point(name, self._is_input(name), signed, joins, classifies, groups[self._group(name)]))
        return Grids(tuple(points), tuple(layers), tuple(self.notes))

    def _is_input(self, name: str) -> bool:
        return name in self.editor.inputs

    def _look_at(self, node: Node) -> None:
        carried = [i for i, t in enumerate(node.inputs) if t.name and self.flow.carries(t)]
        if not carried or not is_standard(node):
            return
        if self.flow.is_weighted(node):
            data = carried[0]
            self.weighted.append((node, data, 1 - data if node.op == "MatMul" else 1))
            self._want(node.inputs[data], node)
        elif node.op in _SUMMING:
            self._want(node.inputs[0], node)
        elif (node.op in ("Add", "Sum") and len(carried) == 2) or node.op == "Concat":
            for slot in carried:
                self._want(node.inputs[slot], node)
            roots = [self._group(self._root(node.inputs[slot]).name) for slot in carried]
            for other in roots[1:]:
                self.parent[self._group(other)] = self._group(roots[0])
        elif node.op in ("MatMul", "Mul") and len(carried) == 2:
            self.notes.append(f"{node.op} {node.name!r} multiplies two tensors of data; they stay floats.")

    def _is_activated(self, tensor: gs.Variable) -> bool:
        """Whether ``tensor`` is a map of features, not affine in what the last weighted layer made."""
        shape = self.editor.shape(tensor)
        node = self.editor.producer(self._root(tensor))
        return shape is not None and len(shape) >= 3 and node is not None and node.op not in _AFFINE | WEIGHTED

    def _want(self, tensor: gs.Variable, reader: Node | None) -> None:
        self.wanted.setdefault(self._root(tensor).name, []).append(reader)

    def _root(self, tensor: gs.Variable) -> gs.Variable:
        """The tensor in front of the operators that keep a grid."""
        node = self.editor.producer(tensor)
        while node is not None and is_standard(node) and node.op in KEEPING and self.flow.carries(node.inputs[0]):
            if node.op == "Pad" and self._fill(node) != 0:
                break
            tensor = node.inputs[0]
            node = self.editor.producer(tensor)
        return tensor

    def _fill(self, node: Node) -> float:
        """The least number that a Pad brings in."""
        if self.editor.attribute(node, "mode", b"constant") not in (b"constant", "constant"):
            return 0.0
        try:
            return fill_of(self.editor, node)
        except Refusal:
            return -math.inf  # it can be anything

    def _group(self, name: str) -> str:
        while name in self.parent and self.parent[name] != name:
            name = self.parent[name]
        return name

    def _leaves(self, node: Node) -> bool:
        """Whether the node's output reaches the graph's without passing a point."""
        pending, seen = list(node.outputs), set[str]()
        while pending:
            tensor = pending.pop()
            if tensor.name in self.wanted or tensor.name in seen:
                continue
            seen.add(tensor.name)
            if tensor.name in self.editor.outputs:
                return True
            pending.extend(t for reader in self.editor.consumers(tensor) for t in reader.outputs)
        return False

    def _is_nonnegative(self, tensor: gs.Variable) -> bool:
        """Whether the operators that make ``tensor`` let nothing negative through."""
        pending, seen = [tensor], set[str]()
        while pending:
            current = pending.pop()
            if current.name in seen:
                continue
            seen.add(current.name)
            node = self.editor.producer(current)
            if node is None or not is_standard(node):
                return False
            if node.op in _NONNEGATIVE or (node.op == "Clip" and self._floor(node) >= 0):
                continue
            if node.op not in _NONNEGATIVE_KEEPING or (node.op == "Pad" and self._fill(node) < 0):
                return False
            carried = [t for t in node.inputs if t.name and self.flow.carries(t)]
            others = [t for t in node.inputs if t.name and not self.flow.carries(t)]
            if node.op in ("Add", "Sum", "Concat", "Min") and any(self._least(t) < 0 for t in others):
                return False
            pending.extend(carried[:1] if node.op in KEEPING else carried)
        return True

    def _floor(self, node: Node) -> float:
        """What a Clip lets nothing below."""
        if len(node.inputs) > 1 and node.inputs[1].name:
            return self._least(node.inputs[1])
        return float(self.editor.attribute(node, "min", -math.inf))

    def _least(self, tensor: gs.Variable) -> float:
        """The least number of a constant; what is none can be anything."""
        try:
            return float(self.editor.value(tensor).astype(np.float64).min(initial=math.inf))
        except ModelError:
            return -math.inf
