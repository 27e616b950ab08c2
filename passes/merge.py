"""Merging skip connections into the layers they span, by making these wider."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from passes.affine import Space, space_of, trace
from passes.base import Pass, register
from passes.batchnorm import fold_batchnorms
from passes.chain import Bend, Link, Stage, read_chain
from passes.errors import PassError
from passes.flow import between
from passes.fold import fold_skip, is_gone, refused
from passes.graph import Editor, Node, is_standard, label
from passes.joins import demand_real_numbers
from passes.layers import cast, constant, need_weights, per_channel, read_layer, write_layer
from passes.ranges import ZERO, Range, Ranges, clip_bounds
from passes.refusal import Refusal
from passes.reserve import Cut, Plan, plan
from passes.selection import attempt, select
from passes.skips import Skip, join_of, write_records
from passes.widen import Wide, widen
from passes.windows import Window, compose, demand_same_positions, kernel, spread, window


@register
@dataclass(frozen=True)
class MergeSkips(Pass):
    """A skip is carried through the layers it spans, which become wider, by channels reserved for it. Exact.

    Reserve and merge (Meng et al. 2021, RMNet, arXiv:2111.00687): the layers of the main path get channels that carry
    the fork, by one tap of weight 1 each, and the last layer adds what the skip path makes of them. Every nonlinearity
    in between must leave these channels alone, as a Relu does where the fork's values are proved not to be negative.
    Batch normalisation is folded first in the whole graph, as training it would destroy the reserved channels. A skip
    over one layer is folded as `fold-skips` does.

    Options:
        skips: the numbers of the skips to merge; none means all that can be.
    """

    name: ClassVar[str] = "merge-skips"
    exact: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    skips: tuple[str, ...] = ()

    def rewrite(self, editor: Editor) -> list[str]:
        need_weights(editor)
        selection = select(editor, self.name, self.skips)
        if selection.chosen:
            fold_batchnorms(editor)

        def merge(skip: Skip) -> PassError | None:
            try:
                merge_skip(editor, skip)
            except Refusal as refusal:
                return refused(self.name, skip, refusal)
            return None

        done, notes = attempt(selection, self.name, merge)
        if done:
            fold_batchnorms(editor)  # those behind joins that are gone
            write_records(editor, selection.found)
        return notes


def merge_skip(editor: Editor, skip: Skip) -> None:
    """Merge one skip of the graph as it stands.

    Raises:
        Refusal: before any edit, when it cannot be merged exactly.
    """
    if skip.span == 1 or is_gone(editor, skip):
        fold_skip(editor, skip)
        return
    join, slot = join_of(editor, skip)
    demand_real_numbers(join)
    fork, main, other = editor.tensor(skip.fork), join.inputs[slot], join.inputs[1 - slot]
    aside = between(editor, other, fork.name)
    space = space_of(editor, fork, between(editor, main, fork.name) + aside)
    links = read_chain(editor, fork, main, space)
    last = links[-1]
    if not isinstance(last, Stage):
        raise Refusal(f"no layer after {label(last.node)} on its main path could add what its skip path brings")
    try:
        whole = trace(editor, fork, other, space)
    except Refusal as refusal:
        raise Refusal(f"its skip path is not one linear kernel: {refusal.reason}", refusal.remedy) from refusal
    demand_same_positions(_ground(links, whole), whole)
    channels = last.window.outputs
    if whole.outputs not in (1, channels):
        raise Refusal(f"its main path brings {channels} channels, its skip path {whole.outputs}")
    if whole.taps:
        cuts = list(_cuts(editor, fork, other, aside, space, channels))
        _write(editor, links, _narrowest(editor, links, fork, cuts, spread(whole, channels)), space, join)
    else:
        own = kernel(last.window, last.slide.grid, last.window.groups)
        shifted = Wide(own, last.window.bias + whole.bias, last.window.groups, [])
        _write(editor, [last], [shifted], space, join)


def _ground(links: list[Link], whole: Window) -> Window:
    """The pixels that the main path brings, as a window that looks at nothing."""
    current = window({}, np.zeros(1), 1, 1, whole.base)
    for link in links:
        if not isinstance(link, Bend):
            own = link.window
            current = compose(current, window({}, np.zeros(1), 1, 1, own.base, own.stride, own.slack))
    return current


def _cuts(
    editor: Editor, fork: gs.Variable, other: gs.Variable, aside: list[Node], space: Space, channels: int
) -> Iterator[Cut]:
    """Every way to cut the skip path, whose nodes are ``aside``, at one tensor; the fork first."""
    for tensor in [fork, *(t for n in aside for t in n.outputs if t.name)]:
        try:
            head = trace(editor, fork, tensor, space)
            tail = trace(editor, tensor, other, Space(space.rank, space.axis, head.outputs, head.size))
        except Refusal:
            continue  # a branch of the skip path, or a shape: no cut
        yield Cut(tensor, head, spread(tail, channels))


def _narrowest(editor: Editor, links: list[Link], fork: gs.Variable, cuts: list[Cut], whole: Window) -> list[Wide]:
    """The widened layers with the fewest weights.

    Raises:
        Refusal: of the way that came farthest, when none is exact.
    """
    stages = [link for link in links if isinstance(link, Stage)]
    best: list[Wide] | None = None
    refusals: list[tuple[int, Refusal]] = []
    for cut in cuts:
        for entry in range(1, len(stages)) if cut.tensor is not fork else [0]:
            progress = 0
            try:
                found = plan(links, cut, entry, whole)
                progress = 1
                _demand_unbent(editor, links, fork, found)
                progress = 2
                wide = widen(stages, found.windows)
            except Refusal as refusal:
                refusals.append((progress, refusal))
                continue
            if best is None or _weights(wide) < _weights(best):
                best = wide
    if best is None:
        raise max(refusals, key=lambda r: r[0])[1]
    return best


def _weights(wide: list[Wide]) -> int:
    return sum(w.weight.size for w in wide)


def _demand_unbent(editor: Editor, links: list[Link], fork: gs.Variable, found: Plan) -> None:
    """Every nonlinearity must be the identity on what the reserved channels carry through it."""
    ranges = Ranges(editor)
    layers = 0
    for link in links:
        layers += isinstance(link, Stage)
        if not isinstance(link, Bend):
            continue
        if layers and link.node.op == "PRelu" and is_standard(link.node):
            if _slopes(editor, link.node) is None:
                raise Refusal(f"the slopes of {label(link.node)} on its main path are not constant")
            continue  # reserved channels get slope 1
        carried = found.cut.tensor if 0 < found.entry <= layers else fork
        values = ranges.of(carried)
        # Reserved channels are zero where a layer or a Pad looks beyond the border.
        if not _is_identity(ranges, link.node, values.hull(ZERO)):
            raise Refusal(f"{label(link.node)} on its main path could change {carried.name!r}, with values in {values}")


def _is_identity(ranges: Ranges, node: Node, values: Range) -> bool:
    """Whether a nonlinearity leaves alone every one of ``values``, in each channel."""
    if not is_standard(node):
        return False
    if node.op in ("Relu", "LeakyRelu", "PRelu", "Elu", "Celu", "Abs"):
        return values.low >= 0
    if node.op == "Clip":
        return values.within(*clip_bounds(ranges.editor, node))
    if node.op in ("Min", "Max"):
        limits = [v for t in node.inputs if (v := _known(ranges.editor, t)) is not None and v.size == 1]
        within = [values.low >= v.item() if node.op == "Max" else values.high <= v.item() for v in limits]
        return len(limits) + 1 == len(node.inputs) and all(within)
    return False


def _slopes(editor: Editor, node: Node) -> np.ndarray | None:
    """The slopes of a PRelu, to which those of reserved channels, 1, can be added; None for anything else."""
    return _known(editor, node.inputs[1]) if node.op == "PRelu" and is_standard(node) else None


def _known(editor: Editor, tensor: gs.Variable) -> np.ndarray | None:
    """The value of a constant, None for anything else."""
    try:
        return constant(editor, tensor)
    except Refusal:
        return None


def _write(editor: Editor, links: list[Link], wide: list[Wide], space: Space, join: Node) -> None:
    stages = [link for link in links if isinstance(link, Stage)]
    layers = [read_layer(editor, stage.node) for stage in stages]
    for layer, new in zip(layers, wide, strict=True):
        cast(layer, new.weight), cast(layer, new.bias)  # a Refusal comes before the first edit
    slopes = _wide_slopes(editor, links, wide, space)
    done = 0
    for link in links:
        if isinstance(link, Stage):
            new, layer = wide[done], layers[done]
            done += 1
            output = join.outputs[0] if link is links[-1] else link.output
            write_layer(editor, layer, new.weight, new.bias, output, new.groups)
            if not any(map(editor.is_read, link.tail.outputs)):
                editor.remove(link.tail)
            if link is not links[-1]:
                editor.forget_shape(layer.node.outputs[0])
                editor.forget_shape(output)
        elif done:
            if id(link) in slopes:
                editor.set_weight(
                    link.node, 1, slopes[id(link)], f"{link.node.name or link.node.outputs[0].name}_slope"
                )
            editor.forget_shape(link.node.outputs[0])
    editor.remove(join)


def _wide_slopes(editor: Editor, links: list[Link], wide: list[Wide], space: Space) -> dict[int, np.ndarray]:
    """For each PRelu behind a widened layer, by its link's id, the slopes of all channels."""
    result = {}
    done = 0
    for link in links:
        if isinstance(link, Stage):
            done += 1
            channels, order = link.window.outputs, wide[done - 1].order
        elif isinstance(link, Bend) and done and (given := _slopes(editor, link.node)) is not None:
            own = per_channel(given, space.rank, space.axis, channels)
            slope = [own[c] if 0 <= c < channels else 1.0 for c in order]
            shape = [len(order)] + [1] * (space.rank - space.axis - 1)
            result[id(link)] = np.array(slope, given.dtype).reshape(shape)
    return result
