"""Folding skip connections into the weights they span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from passes import windows
from passes.affine import Space, layer_window, space_of, trace
from passes.base import Pass, register
from passes.errors import PassError
from passes.flow import between
from passes.geometry import Sliding
from passes.graph import Editor, Node, is_standard, label
from passes.joins import demand_real_numbers
from passes.layers import LAYERS, need_weights, read_layer, write_layer
from passes.refusal import Refusal
from passes.selection import attempt, select
from passes.skips import Skip, join_of, write_records
from passes.windows import Window

REMEDY = "leave it, or take it out with `remove-skips` and train"


@register
@dataclass(frozen=True)
class FoldSkips(Pass):
    """A linear skip becomes part of the weights it spans. Exact.

    The main path from fork to join (batch normalisation, scales, explicit padding and all) and the skip path are one
    sliding kernel each; their sum takes the place of the main path's. This is possible where both paths are linear,
    the main path holds one weighted layer, and the pixels that the skip path looks at lie under taps of its kernel:
    an identity is a Dirac delta in it (Zagoruyko, Komodakis 2017, DiracNets; Ding et al. 2021, RepVGG).

    Options:
        skips: the numbers of the skips to fold; none means all that can be.
    """

    name: ClassVar[str] = "fold-skips"
    exact: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    skips: tuple[str, ...] = ()

    def rewrite(self, editor: Editor) -> list[str]:
        need_weights(editor)
        selection = select(editor, self.name, self.skips)

        def fold(skip: Skip) -> PassError | None:
            try:
                fold_skip(editor, skip)
            except Refusal as refusal:
                return refused(self.name, skip, refusal)
            return None

        done, notes = attempt(selection, self.name, fold)
        if done:
            write_records(editor, selection.found)
        return notes


def refused(pass_name: str, skip: Skip, refusal: Refusal) -> PassError:
    """The refusal of one skip, as the error that a person reads."""
    return PassError(pass_name, f"skip {skip.number} at {skip.node!r}", refusal.reason, refusal.remedy or REMEDY)


def is_gone(editor: Editor, skip: Skip) -> bool:
    """Whether an earlier fold took the skip along, as part of another one's skip path."""
    return editor.producer(editor.tensor(skip.join)) is None


def fold_skip(editor: Editor, skip: Skip) -> None:
    """Fold one skip of the graph as it stands.

    Raises:
        Refusal: before any edit, when it cannot be folded exactly.
    """
    if is_gone(editor, skip):
        return
    if skip.span > 1:
        remedy = "make it short with `shorten-skips` first, or widen the layers with `merge-skips`"
        raise Refusal(f"its main path spans {skip.span} layers", remedy)
    join, slot = join_of(editor, skip)
    demand_real_numbers(join)
    fork, main, other = editor.tensor(skip.fork), join.inputs[slot], join.inputs[1 - slot]
    nodes = between(editor, main, fork.name)
    space = space_of(editor, fork, nodes + between(editor, other, fork.name))
    paths = [_path(editor, fork, end, space, which) for end, which in ((main, "main"), (other, "skip"))]
    whole = windows.add(*paths)
    host = _host(editor, nodes)
    demand_private(editor, host.outputs[0], main, join)
    slide, start = _placed(editor, fork, host, space, whole)
    layer = read_layer(editor, host)
    weight = windows.kernel(whole, _grid(slide, start), layer.groups)
    pads = _pads(whole, slide, start)
    # From here on the graph is edited.
    write_layer(editor, layer, weight, whole.bias, join.outputs[0])
    if host.op == "Conv":
        _set_geometry(editor, host, slide, whole.stride, pads)
    if host.inputs[0] is not fork:
        former = host.inputs[0]
        editor.set_input(host, 0, fork)
        editor.prune([former])
    editor.remove(join)


def _path(editor: Editor, fork: gs.Variable, end: gs.Variable, space: Space, which: str) -> Window:
    try:
        return trace(editor, fork, end, space)
    except Refusal as refusal:
        raise Refusal(f"its {which} path is not one linear kernel: {refusal.reason}", refusal.remedy) from refusal


def _host(editor: Editor, nodes: list[Node]) -> Node:
    """The layer that takes the sum: of parallel ones, the one with the largest kernel."""
    layers = [n for n in nodes if n.op in LAYERS and is_standard(n)]
    return max(layers, key=lambda n: read_layer(editor, n).weight[0].size)


def demand_private(editor: Editor, first: gs.Variable, last: gs.Variable, join: Node) -> None:
    """Nobody but the main path may read what lies on it from ``first`` to ``last``, as it will not be there.

    Raises:
        Refusal: names the tensor and who reads it.
    """
    nodes = between(editor, last, first.name)
    inside = {id(n) for n in nodes} | {id(join)}
    for tensor in [first, *(t for n in nodes for t in n.outputs if t.name)]:
        if editor.is_pinned(tensor):
            raise Refusal(f"{tensor.name!r} on its main path is an output of the graph or read inside a subgraph")
        for reader in editor.consumers(tensor):
            if id(reader) not in inside:
                raise Refusal(f"{tensor.name!r} on its main path is also read by {label(reader)}")


def _placed(
    editor: Editor, fork: gs.Variable, host: Node, space: Space, whole: Window
) -> tuple[Sliding, tuple[int, ...]]:
    """The host's kernel over the fork: how it slides there, and the offset of its first tap."""
    before = trace(editor, fork, host.inputs[0], space)
    if len(before.taps) != 1:
        raise Refusal(f"what lies before {label(host)} is more than a choice of pixels")
    (offset,) = before.taps
    _, slide = layer_window(editor, host, before.size)
    start = tuple(o - b * s for o, b, s in zip(offset, slide.begin, before.stride, strict=True))
    spread = tuple(d * s for d, s in zip(slide.dilation, before.stride, strict=True))
    return Sliding(slide.kernel, whole.stride, spread, slide.begin, slide.end), start


def _grid(slide: Sliding, start: tuple[int, ...]) -> list[range]:
    return [range(b, b + d * k, d) for b, d, k in zip(start, slide.dilation, slide.kernel, strict=True)]


def _pads(whole: Window, slide: Sliding, start: tuple[int, ...]) -> list[int]:
    """Zeros before and after the fork with which the kernel gives exactly the pixels of ``whole``."""
    begins, ends = [], []
    for axis, (begin, kernel, dilation) in enumerate(zip(start, slide.kernel, slide.dilation, strict=True)):
        base, size, stride = whole.base[axis], whole.size[axis], whole.stride[axis]
        extent = dilation * (kernel - 1) + 1
        end = whole.slack[axis] + begin + extent
        if base is not None and size is not None and end < 0:
            # Pixels after the last window are not looked at: any end with as many windows will do.
            least = (size - 1) * stride - base + begin + extent
            end = max(least, 0) if max(least, 0) < least + stride else end
        if begin > 0 or end < 0:
            raise Refusal("its main path crops the image, which padding cannot")
        begins.append(-begin)
        ends.append(end)
    return begins + ends


def _set_geometry(editor: Editor, host: Node, slide: Sliding, stride: tuple[int, ...], pads: list[int]) -> None:
    """Write what differs from how the host slides by now."""
    rank = len(stride)
    if pads != [*slide.begin, *slide.end]:
        editor.set_attribute(host, "pads", pads)
        if editor.attribute(host, "auto_pad") is not None:
            editor.set_attribute(host, "auto_pad", "NOTSET")
    for name, value in (("strides", stride), ("dilations", slide.dilation)):
        if list(editor.attribute(host, name, [1] * rank)) != list(value):
            editor.set_attribute(host, name, list(value))
