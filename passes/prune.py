"""Taking channels out of a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from passes.base import Pass, register
from passes.batchnorm import scale_and_shift
from passes.errors import PassError
from passes.graph import Editor, Node, is_standard
from passes.layers import Layer, constant, need_weights, read_layer, write_layer
from passes.refusal import Refusal

# What treats each channel by itself, whatever the others hold.
_CHANNELWISE = frozenset(
    "Relu LeakyRelu Elu Selu Celu Clip Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Identity "
    "BatchNormalization MaxPool AveragePool GlobalAveragePool GlobalMaxPool".split()
)
_COUNTED = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (1,), "BatchNormalization": (1, 2)}


@dataclass
class Link:
    """Channels that one convolution makes and one other reads.

    Attributes:
        maker, reader: the convolutions.
        between: the nodes between them, in order.
        scores: what each channel weighs, relative to the mean of all.
        kept: numbers of the channels that stay.
    """

    maker: Node
    reader: Node
    between: list[Node]
    scores: np.ndarray
    kept: list[int]


@register
@dataclass(frozen=True)
class PruneChannels(Pass):
    """Takes out the channels between two convolutions that weigh least, until few parameters are left. Not exact.

    A channel weighs the product of the Euclidean norms of the weights that make it and of those that read it (after
    Li et al. 2017, "Pruning Filters for Efficient ConvNets"), relative to the mean of its layer, so that layers
    compete. Channels that others than one convolution read, such as a skip connection, stay, as do those of weights
    that layers share. After `merge-skips`, with the parameters that the network had before, this is merging, then
    pruning.

    Options:
        parameters: how many weights and biases may be left (running means and variances do not count).
    """

    name: ClassVar[str] = "prune-channels"
    exact: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = True

    parameters: int = 0

    def rewrite(self, editor: Editor) -> list[str]:
        need_weights(editor)
        if self.parameters < 1:
            raise PassError(self.name, "parameters", "it is not said how many may be left", "give a number above 0")
        left = _count(editor)
        if left <= self.parameters:
            return [f"The network has {left} parameters, which is few enough."]
        links, sizes = _links(editor), _Sizes(editor)
        order = sorted((score, i, k) for i, link in enumerate(links) for k, score in enumerate(link.scores))
        for _, i, k in order:
            if left <= self.parameters:
                break
            if len(links[i].kept) > 1:
                links[i].kept.remove(k)
                left -= sizes.drop(links[i])
        if left > self.parameters:
            raise PassError(
                self.name,
                f"parameters {self.parameters}",
                f"{left} are left when each of the {len(links)} pairs of convolutions has one channel between them",
                "allow more",
            )
        for link in links:
            _cut(editor, link)
        return [
            f"{len(link.scores) - len(link.kept)} channels of {link.maker.name!r} went."
            for link in links
            if _is_cut(link)
        ]


def _is_cut(link: Link) -> bool:
    return len(link.kept) < len(link.scores)


def _count(editor: Editor) -> int:
    """Weights and biases of layers, scales and biases of normalisations; what is shared counts once."""
    return sum({t.name: editor.size(t) or 0 for node in editor.nodes for t in _parameters(node)}.values())


def _parameters(node: Node) -> list[gs.Variable]:
    """Those of the node's inputs that count."""
    slots = _COUNTED.get(node.op, ()) if is_standard(node) else ()
    return [t for slot, t in enumerate(node.inputs) if slot in slots and t.name]


class _Sizes:
    """Inputs, outputs and taps of each convolution, as channels go."""

    def __init__(self, editor: Editor) -> None:
        self._shapes = {
            id(n): list(editor.value(n.inputs[1]).shape) for n in editor.nodes if _is_convolution(editor, n)
        }

    def drop(self, link: Link) -> int:
        """The parameters that go with one channel of ``link``, which goes."""
        made, read = self._shapes[id(link.maker)], self._shapes[id(link.reader)]
        made[0] -= 1
        read[1] -= 1
        has_bias = len(link.maker.inputs) > 2 and bool(link.maker.inputs[2].name)
        normalised = sum(2 for node in link.between if node.op == "BatchNormalization")
        return int(np.prod(made[1:]) + read[0] * np.prod(read[2:])) + has_bias + normalised


def _is_convolution(editor: Editor, node: Node) -> bool:
    """Whether the node is a Conv of one group with constant weights."""
    if node.op != "Conv" or not is_standard(node) or editor.attribute(node, "group", 1) != 1:
        return False
    try:
        read_layer(editor, node)
    except Refusal:
        return False
    return True


def _links(editor: Editor) -> list[Link]:
    found = []
    for node in editor.nodes:
        if not _is_convolution(editor, node):
            continue
        between = list(_between(editor, node))
        reader = _reader(editor, between[-1] if between else node)
        if reader is None or not _is_convolution(editor, reader):
            continue
        if not all(editor.is_private(t) for n in (node, *between, reader) for t in _parameters(n)):
            continue  # to cut what others read as well would be to add a copy
        try:
            scores = _scores(editor, read_layer(editor, node), read_layer(editor, reader), between)
        except Refusal:
            continue  # a normalisation by the batch, or with parameters that are no constants
        found.append(Link(node, reader, between, scores, list(range(len(scores)))))
    return found


def _between(editor: Editor, node: Node) -> Iterator[Node]:
    """The nodes behind ``node`` that treat each channel by itself and are alone in reading it."""
    reader = _reader(editor, node)
    while reader is not None and reader.op in _CHANNELWISE and not any(t.name for t in reader.outputs[1:]):
        yield reader
        reader = _reader(editor, reader)


def _reader(editor: Editor, node: Node) -> Node | None:
    """The only node that reads what ``node`` makes, as its data."""
    made = node.outputs[0]
    readers = editor.consumers(made)
    if not editor.is_private(made) or len(readers) != 1 or readers[0].inputs[0].name != made.name:
        return None
    return readers[0] if is_standard(readers[0]) else None


def _scores(editor: Editor, maker: Layer, reader: Layer, between: list[Node]) -> np.ndarray:
    channels = maker.outputs
    made = np.linalg.norm(maker.weight.reshape(channels, -1), axis=1)
    for node in between:
        if node.op == "BatchNormalization":
            made = made * np.abs(scale_and_shift(editor, node)[0])
    read = np.linalg.norm(reader.weight.swapaxes(0, 1).reshape(channels, -1), axis=1)
    weighed = made * read
    return weighed / (weighed.mean() or 1.0)


def _cut(editor: Editor, link: Link) -> None:
    """Leave the kept channels alone."""
    if not _is_cut(link):
        return
    kept = link.kept
    maker = read_layer(editor, link.maker)
    write_layer(editor, maker, maker.weight[kept], maker.bias[kept], link.maker.outputs[0])
    for node in link.between:
        if node.op == "BatchNormalization":
            base = node.name or node.outputs[0].name
            for slot, what in enumerate(("scale", "bias", "mean", "variance"), 1):
                editor.set_weight(node, slot, constant(editor, node.inputs[slot])[kept], f"{base}_{what}")
    reader = read_layer(editor, link.reader)
    write_layer(editor, reader, reader.weight[:, kept], reader.bias, link.reader.outputs[0])
    for node in (link.maker, *link.between):
        editor.forget_shape(node.outputs[0])
