"""Shortening skip connections: one that spans several weighted layers becomes ones that span a single layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from passes.base import Pass, register
from passes.errors import PassError
from passes.flow import WEIGHTED_BY_CONSTANT, Flow, between
from passes.geometry import SLIDING, padding_of, sliding_of
from passes.graph import Editor, Node, Shape, is_standard, is_unknown, show
from passes.joins import is_integer_join, is_join, opposite
from passes.requantise import is_quantiser, shared_quantiser
from passes.selection import attempt, select
from passes.skips import Skip, is_affine, join_of, read_records, write_records

_ELEMENTWISE = frozenset({"BatchNormalization", "Add", "Sub", "Mul", "Div", "Identity", "Dropout"})
_ACTIVATIONS = frozenset(
    "Relu LeakyRelu PRelu Elu Selu Celu Clip Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Mish Swish "
    "ThresholdedRelu".split()
)


@dataclass(frozen=True)
class Layer:
    """A weighted layer on a main path, kept by nodes so that it survives the renaming of tensors.

    Attributes:
        entry: the node whose input ``slot`` the layer's data come in by: the weighted node, or a Pad before it.
        tail: the last of the elementwise affine nodes after the weighted one (it, where there are none).
        activation: the activation that follows the tail, if one does.
        is_last: whether nothing but other joins lies between the tail and the join of the long skip.
        fits: whether what comes in and what the tail makes have one shape.
    """

    entry: Node
    slot: int
    tail: Node
    activation: Node | None
    is_last: bool
    fits: bool

    @property
    def input(self) -> gs.Variable:
        return self.entry.inputs[self.slot]


@register
@dataclass(frozen=True)
class ShortenSkips(Pass):
    """Makes each skip over several weighted layers one that spans a single layer. Not exact.

    A layer can have a short skip where its input and its output (after batch norm) have one shape. Skips that span
    one layer already stay as they are.

    Options:
        keep: ``last``: one short skip, over the last layer that can have one (Weng et al. 2021: ShortResNet20 has 9);
            ``each``: one over every layer that can (Weng et al. 2023, Tailor), numbered 3.1, 3.2 and so on.
        join: ``before-activation``, which makes a linear skip that `fold-skips` can fold, or ``after-activation``,
            as Tailor does, which cannot be folded.
        skips: the numbers of the skips to shorten; none means all.
    """

    name: ClassVar[str] = "shorten-skips"
    exact: ClassVar[bool] = False

    keep: Literal["last", "each"] = "last"
    join: Literal["before-activation", "after-activation"] = "before-activation"
    skips: tuple[str, ...] = ()

    def rewrite(self, editor: Editor) -> list[str]:
        selection = select(editor, self.name, self.skips)
        # Seen before the first edit, which may move the tensors that the next skip's nodes read.
        plans = {s.number: (*join_of(editor, s), layers_of(editor, s)) for s in selection.chosen if s.span > 1}
        sizes = {s.number: [editor.shape(editor.tensor(t)) for t in (s.main, s.join)] for s in selection.chosen}
        replaced: list[tuple[Skip, list[tuple[Node, Node, int]]]] = []
        short = {r["number"] for r in read_records(editor) if r.get("short")}

        def shorten(skip: Skip) -> PassError | str | None:
            if skip.number in short:
                return f"Skip {skip.number} is short already."
            if skip.span == 1:
                short.add(skip.number)
                return f"Skip {skip.number} spans one layer already."
            join, main, layers = plans[skip.number]
            if _is_repeated(*sizes[skip.number]):
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    "its main path brings {} where the join makes {}".format(*map(show, sizes[skip.number])),
                    "leave it, as only a main path of the join's shape can stand for the join",
                )
            fitting = [layer for layer in layers if layer.fits]
            if not fitting:
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    f"of the {len(layers)} layers on its main path none certainly has an input of its output's shape",
                    "leave it, or take it out with remove-skips or merge-skips",
                )
            chosen = fitting[-1:] if self.keep == "last" else fitting
            if is_integer_join(join) and not self._stays(chosen):
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    f"{join.op} adds integers, and a join elsewhere would need a grid that nobody has measured",
                    "shorten it before the network is quantised",
                )
            replaced.append((skip, self._replace(editor, join, main, chosen)))
            return None

        done, notes = attempt(selection, self.name, shorten)
        if done:
            notes += [f"The gate {s.gate!r} went with the long skip {s.number}." for s in done if s.gate is not None]
            pieces = {skip.number: _pieces(skip, joins) for skip, joins in replaced}
            short |= {piece.number for each in pieces.values() for piece in each}
            write_records(editor, selection.found, pieces, short)
        return notes

    def _reuses(self, last: Layer) -> bool:
        """Whether the long skip's join can end a short one over ``last``."""
        return self.join == "before-activation" and last.is_last

    def _stays(self, layers: list[Layer]) -> bool:
        """Whether an integer join can stay where it is, and it is known on which grid the new skip's numbers lie."""
        return len(layers) == 1 and self._reuses(layers[-1]) and _takes_a_grid(layers[-1].entry)

    def _replace(self, editor: Editor, join: Node, main: int, layers: list[Layer]) -> list[tuple[Node, Node, int]]:
        """Put a short skip over each of ``layers`` in place of the one that ``join`` ends.

        Args:
            editor: the graph.
            join: the join of the long skip.
            main: which of its inputs the main path is.
            layers: what to span.

        Returns:
            The new joins, each with the node, and its input, that reads the fork.
        """
        last = layers[-1]
        reuse = self._reuses(last)
        if not reuse:
            editor.redirect(join.outputs[0], join.inputs[main])
            editor.remove(join)
        joins = []
        for layer in layers:
            if reuse and layer is last:
                joins.append((join, *_start_at(editor, join, main, layer)))
                continue
            end = layer.tail
            if self.join == "after-activation":
                end = layer.activation or layer.tail
            joined = editor.splice(end.outputs[0], "Add", [layer.input], f"{end.outputs[0].name}_join")
            joins.append((joined.inputs[0], joined.inputs[0], 1))
        return joins


def _start_at(editor: Editor, join: Node, main: int, layer: Layer) -> tuple[Node, int]:
    """Let the skip of ``join`` start at the layer's input; returns the node that reads it there, and by which input.

    A quantiser that puts the skip path on the main path's grid stays, so that what is added stays on one.
    """
    other = opposite(join, main)
    shared = shared_quantiser(editor, join, other)
    node, slot = (join, other) if shared is None else (shared, 0)
    width = 3 if is_integer_join(join) else 1  # with a scale and a zero point
    dropped = node.inputs[slot : slot + width]
    for i in range(width):
        editor.set_input(node, slot + i, layer.entry.inputs[layer.slot + i])
    editor.prune(dropped)
    return node, slot


def _takes_a_grid(node: Node) -> bool:
    """Whether scale and zero point of the node's data follow them among its inputs."""
    return node.op in ("QLinearConv", "QLinearMatMul", "QGemm")


def _pieces(skip: Skip, joins: list[tuple[Node, Node, int]]) -> list[Skip]:
    """``skip`` as the short skips that stand for it, once all tensors have their final names.

    One that lay on the skip path of another is gone with that path.
    """
    return [
        replace(
            skip,
            number=skip.number if len(joins) == 1 else f"{skip.number}.{i}",
            fork=reader.inputs[slot].name,
            join=join.outputs[0].name,
        )
        for i, (join, reader, slot) in enumerate(joins, 1)
        if join.inputs
    ]


def layers_of(editor: Editor, skip: Skip) -> list[Layer]:
    """The weighted layers on the longest way of the main path, from fork to join."""
    main = editor.tensor(skip.main)
    flow = Flow(editor, between(editor, main, skip.fork), [skip.fork])
    path: list[tuple[Node, int]] = []
    tensor = main
    while tensor.name != skip.fork:
        node = editor.producer(tensor)
        assert node is not None, "every way back from the join ends at the fork"
        depths = [(flow.layers(t), -i) for i, t in enumerate(node.inputs) if flow.carries(t)]
        if not depths:
            break  # what lies before comes in through a subgraph of this node
        slot = -max(depths)[1]
        path.append((node, slot))
        tensor = node.inputs[slot]
    path.reverse()
    layers = []
    for i, (node, slot) in enumerate(path):
        if not flow.is_weighted(node):
            continue
        entry = path[i - 1] if i and path[i - 1][0].op == "Pad" else (node, slot)
        end = i
        while end + 1 < len(path) and _is_tail(editor, flow, path[end + 1][0]):
            end += 1
        tail = path[end][0]
        is_last = all(is_join(other) for other, _ in path[end + 1 :])
        joined = editor.tensor(skip.join)
        readers = editor.consumers(joined) if is_last else [path[end + 1][0]]
        following = readers[0] if len(readers) == 1 and not (is_last and editor.is_pinned(joined)) else None
        layers.append(
            Layer(
                *entry,
                tail=tail,
                activation=following if following is not None and following.op in _ACTIVATIONS else None,
                is_last=is_last,
                fits=_fits(editor, *entry, node, tail),
            )
        )
    return layers


def _is_repeated(operand: Shape | None, result: Shape | None) -> bool:
    """Whether an Add certainly repeats an operand of this shape along an axis."""
    if operand is None or result is None or len(operand) != len(result):
        return None not in (operand, result)
    return any(a == 1 != b and not is_unknown(b) for a, b in zip(operand, result, strict=True))


def _is_tail(editor: Editor, flow: Flow, node: Node) -> bool:
    """Whether ``node`` only scales, shifts or rounds what one weighted layer made, element by element."""
    if is_quantiser(editor, node):
        return True
    carried = sum(flow.carries(t) for t in node.inputs)
    return is_standard(node) and node.op in _ELEMENTWISE and carried == 1 and is_affine(flow, node)


def _fits(editor: Editor, entry: Node, slot: int, node: Node, tail: Node) -> bool:
    """Whether what comes into the layer and what its tail makes have one type and shape, whatever the unknown sizes."""
    given, made = entry.inputs[slot], tail.outputs[0]
    if editor.element_type(given) != editor.element_type(made):
        return False  # as of layers that add up integers
    before, after = editor.shape(given), editor.shape(made)
    if before is None or after is None or len(before) != len(after):
        return False
    unknown = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a is None or b is None or a != b]
    if any(isinstance(before[i], int) and isinstance(after[i], int) for i in unknown):
        return False
    if node.op in WEIGHTED_BY_CONSTANT or node.op == "Gemm":
        return len(before) - 1 not in unknown
    return 1 not in unknown and (all(i == 0 for i in unknown) or _keeps_size(editor, entry, node))


def _keeps_size(editor: Editor, entry: Node, node: Node) -> bool:
    """Whether a convolution, with the Pad before it, gives every image back at its size."""
    slide = sliding_of(editor, node) if node.op in SLIDING else None
    if slide is None or any(step != 1 for step in slide.stride):
        return False
    added = [0] * len(slide.kernel)
    if entry is not node:
        sides = padding_of(editor, entry, len(added) + 2)
        if sides is None:
            return False
        added = [before + after for before, after in sides[2:]]
    # Without a stride, what comes out is larger by the slack and one.
    return all(slack + pad == -1 for slack, pad in zip(slide.slack, added, strict=True))
