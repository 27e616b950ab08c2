"""Where sliding operators look: the attributes of Conv and pools, of Slice and Pad, whatever the opset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from passes.graph import Editor, Node, label
from passes.layers import constant
from passes.refusal import Refusal

_END = 2**31 - 1  # exporters write this or more for "to the end"


@dataclass(frozen=True)
class Sliding:
    """A kernel of ``kernel`` taps ``dilation`` pixels apart that moves by ``stride``; all per axis.

    ``begin`` and ``end`` are the zeros before and after the image.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def grid(self) -> list[range]:
        """Per axis, the offsets of the taps from ``output position * stride``."""
        return [range(-b, -b + d * k, d) for k, d, b in zip(self.kernel, self.dilation, self.begin, strict=True)]

    @property
    def slack(self) -> tuple[int, ...]:
        """The output has ``floor((size + slack) / stride) + 1`` pixels."""
        return tuple(
            b + e - (d * (k - 1) + 1)
            for k, d, b, e in zip(self.kernel, self.dilation, self.begin, self.end, strict=True)
        )


def sliding(editor: Editor, node: Node, kernel: Sequence[int], sizes: Sequence[int | None]) -> Sliding:
    """How a Conv or pool slides over an image of ``sizes`` (None where unknown).

    Raises:
        Refusal: when automatic padding depends on a size that is not known.
    """
    rank = len(kernel)
    stride = [int(s) for s in editor.attribute(node, "strides", [1] * rank)]
    dilation = [int(d) for d in editor.attribute(node, "dilations", [1] * rank)]
    pads = [int(p) for p in editor.attribute(node, "pads", [0] * 2 * rank)]
    mode = _text(editor.attribute(node, "auto_pad", "NOTSET"))
    begin, end = pads[:rank], pads[rank:]
    if mode == "VALID":
        begin = end = [0] * rank
    elif mode != "NOTSET":
        totals = []
        for k, s, d, size in zip(kernel, stride, dilation, sizes, strict=True):
            extent = d * (k - 1) + 1
            if size is None and s > 1:
                raise Refusal(
                    f"the padding of {label(node)} depends on an image size that is not known",
                    "give the model's input a fixed size",
                )
            # -(-size // s) outputs are wanted; at stride 1 the size cancels out
            totals.append(max(extent - s if size is None else (-(-size // s) - 1) * s + extent - size, 0))
        smaller, larger = [t // 2 for t in totals], [t - t // 2 for t in totals]
        begin, end = (smaller, larger) if mode == "SAME_UPPER" else (larger, smaller)
    return Sliding(tuple(kernel), tuple(stride), tuple(dilation), tuple(begin), tuple(end))


SLIDING = frozenset({"Conv", "QLinearConv", "ConvInteger", "AveragePool", "MaxPool", "LpPool"})


def sliding_of(editor: Editor, node: Node) -> Sliding | None:
    """How a node of `SLIDING` slides over its input; None where the graph does not say it."""
    kernel = editor.attribute(node, "kernel_shape")
    if kernel is None and len(node.inputs) > 1:
        weight = editor.shape(node.inputs[3 if node.op == "QLinearConv" else 1])
        kernel = [d for d in weight[2:] if isinstance(d, int)] if weight is not None else None
    sizes = [d if isinstance(d, int) else None for d in (editor.shape(node.inputs[0]) or ())[2:]]
    try:
        slide = sliding(editor, node, kernel, sizes or [None] * len(kernel))
    except (Refusal, TypeError, ValueError):  # the latter two where attributes do not fit together
        return None
    return slide if min((*slide.kernel, *slide.stride, *slide.dilation), default=1) > 0 else None


def padding_of(editor: Editor, node: Node, rank: int) -> list[tuple[int, int]] | None:
    """What a Pad adds before and after each of ``rank`` axes; None where the graph does not say it."""
    try:
        return paddings(editor, node, rank)[0]
    except (Refusal, TypeError, ValueError, IndexError):
        return None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def slices(editor: Editor, node: Node, rank: int) -> dict[int, tuple[int, int, int]]:
    """What a Slice takes, by axis: start, end and step, as written."""
    if editor.opset < 10:
        starts, ends = editor.attribute(node, "starts"), editor.attribute(node, "ends")
        axes, steps = editor.attribute(node, "axes"), None
    else:
        starts, ends, axes, steps = (
            constant(editor, node.inputs[i]).tolist() if len(node.inputs) > i and node.inputs[i].name else None
            for i in (1, 2, 3, 4)
        )
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    return {int(a) % rank: (int(b), int(e), int(s)) for a, b, e, s in zip(axes, starts, ends, steps, strict=True)}


def taken(start: int, end: int, step: int, size: int | None) -> tuple[int, int, int]:
    """A slice of one axis as offset of its first pixel, stride and slack (see `Sliding`).

    Raises:
        Refusal: when it runs backwards, or depends on a size that is not known, or takes nothing.
    """
    if step < 1:
        raise Refusal("it runs backwards")
    if size is not None:
        pixels = range(*slice(start, end, step).indices(size))
        if not pixels:
            raise Refusal("it takes nothing")
        return pixels[0], step, pixels[-1] - pixels[0] - size
    if start < 0 or 0 <= end < _END:
        raise Refusal("it depends on an image size that is not known", "give the model's input a fixed size")
    return start, step, -start - 1 if end >= _END else end - start - 1


def paddings(editor: Editor, node: Node, rank: int) -> tuple[list[tuple[int, int]], float, str]:
    """What a Pad adds before and after each axis (negative where it crops), the value and the mode."""
    mode = _text(editor.attribute(node, "mode", "constant"))
    if editor.opset < 11:
        pads = editor.attribute(node, "pads", None) or editor.attribute(node, "paddings")
    else:
        pads = constant(editor, node.inputs[1]).tolist()
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3].name:
        axes = [int(a) % rank for a in constant(editor, node.inputs[3]).reshape(-1)]
    sides = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        sides[axis] = (int(pads[i]), int(pads[i + len(axes)]))
    return sides, fill_of(editor, node), mode


def fill_of(editor: Editor, node: Node) -> float:
    """The number that a Pad in the mode ``constant`` brings in.

    Raises:
        Refusal: when it is no constant.
    """
    if editor.opset < 11:
        return float(editor.attribute(node, "value", 0.0))
    given = len(node.inputs) > 2 and node.inputs[2].name
    return float(constant(editor, node.inputs[2]).reshape(-1)[0]) if given else 0.0


def splits(editor: Editor, node: Node, channels: int) -> list[int]:
    """How many channels each output of a Split gets."""
    given = editor.attribute(node, "split", None)
    if given is None and len(node.inputs) > 1 and node.inputs[1].name:
        given = constant(editor, node.inputs[1]).tolist()
    if given is not None:
        return [int(n) for n in given]
    count = len(node.outputs)
    each = -(-channels // count)
    return [each] * (count - 1) + [channels - each * (count - 1)]


def product_grid(grid: Sequence[Sequence[int]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every tap of a kernel: its index in the array and its offset."""
    indices = np.ndindex(*(len(axis) for axis in grid))
    return [(index, tuple(axis[i] for i, axis in zip(index, grid, strict=True))) for index in indices]
