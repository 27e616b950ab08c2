"""A main path as a chain: layers, the nonlinearities between them, and what only picks pixels."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from passes.affine import Space, layer_window, trace
from passes.flow import Flow, between
from passes.geometry import Sliding
from passes.graph import Editor, Node, is_standard, label
from passes.layers import LAYERS
from passes.refusal import Refusal
from passes.windows import Window

_TAILS = frozenset("BatchNormalization Mul Div Add Sub Sum Neg Identity Dropout".split())
_MEETINGS = {
    "Concat": "concatenates branches of its main path",
    "Mul": "gates its main path by a computed tensor",
    "MatMul": "multiplies two computed tensors on its main path",
}
_PICKS = frozenset("Identity Dropout Pad Slice AveragePool MaxPool".split())


@dataclass(frozen=True)
class Stage:
    """A weighted layer and the scales and shifts that follow it.

    Attributes:
        node: the layer.
        tail: the last of the nodes that follow it, the layer itself where there are none.
        window: all of them as one window over the layer's input.
        slide: how the layer slides.
    """

    node: Node
    tail: Node
    window: Window
    slide: Sliding

    @property
    def output(self) -> gs.Variable:
        return self.tail.outputs[0]


@dataclass(frozen=True)
class Pick:
    """A node that picks pixels, or pads with zeros, alike in each channel."""

    node: Node
    window: Window


@dataclass(frozen=True)
class Bend:
    """An elementwise node that is not affine."""

    node: Node


Link = Stage | Pick | Bend


def read_chain(editor: Editor, fork: gs.Variable, main: gs.Variable, space: Space) -> list[Link]:
    """The main path from ``fork`` to ``main``, link by link.

    Raises:
        Refusal: when it branches, others read what lies on it, or a node is none of the three.
    """
    nodes = _single_file(editor, fork, main)
    links: list[Link] = []
    current, made = space, fork
    while nodes:
        node = nodes[0]
        if node.op in LAYERS and is_standard(node):
            stage, length = _stage(editor, nodes, made, current)
            links.append(stage)
            nodes, made = nodes[length:], stage.output
            current = Space(space.rank, space.axis, stage.window.outputs, stage.window.size)
            continue
        if node.op in _PICKS and is_standard(node):
            window = trace(editor, made, node.outputs[0], current)
            _demand_pick(node, window)
            links.append(Pick(node, window))
            current = Space(space.rank, space.axis, current.channels, window.size)
        else:
            links.append(Bend(node))
        nodes, made = nodes[1:], node.outputs[0]
    return links


def _single_file(editor: Editor, fork: gs.Variable, main: gs.Variable) -> list[Node]:
    """The nodes from ``fork`` to ``main``, each reading what the one before it makes and nothing else of the fork's."""
    nodes = between(editor, main, fork.name)
    reached = {t.name for n in nodes for t in n.outputs if t.name} | {fork.name}
    flow = Flow.of(editor)
    for node in nodes:
        meeting = [t for t in node.inputs if t.name in reached and flow.carries(t)]
        if node.op in _MEETINGS and is_standard(node) and len(meeting) > 1:
            raise Refusal(f"{label(node)} {_MEETINGS[node.op]}")
    made = fork
    for node in nodes:
        sources = [t for t in node.inputs if t.name in reached]
        if len(sources) != 1 or sources[0] is not made:
            raise Refusal(f"its main path branches before {label(node)}")
        made = node.outputs[0]
        if not editor.is_private(made) or any(map(editor.is_read, node.outputs[1:])):
            raise Refusal(f"{made.name!r} on its main path has other readers or is an output of the graph")
    return nodes


def _stage(editor: Editor, nodes: list[Node], made: gs.Variable, space: Space) -> tuple[Stage, int]:
    """The layer ``nodes[0]`` with what can be taken into its weights, and how many nodes these are."""
    layer = nodes[0]
    _, slide = layer_window(editor, layer, space.sizes)
    length, window = 1, trace(editor, made, layer.outputs[0], space)
    while length < len(nodes) and nodes[length].op in _TAILS and is_standard(nodes[length]):
        try:
            window = trace(editor, made, nodes[length].outputs[0], space)
        except Refusal:
            break
        length += 1
    return Stage(layer, nodes[length - 1], window, slide), length


def _demand_pick(node: Node, window: Window) -> None:
    if not window.is_diagonal or len(window.taps) != 1:
        raise Refusal(f"{label(node)} on its main path would change the channels that carry the skip")
