"""A path through the graph as one window: what a chain, or any mesh, of linear operators does from fork to join."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import numpy_helper

from passes import geometry, windows
from passes.batchnorm import scale_and_shift
from passes.flow import between
from passes.geometry import Sliding, sliding
from passes.graph import QUANTISERS, Editor, Node, is_standard, label
from passes.layers import constant, per_channel, read_layer
from passes.refusal import Refusal
from passes.windows import Window


@dataclass(frozen=True)
class Space:
    """How the tensors of a block lie in memory: [N, ..., C, S...].

    Attributes:
        rank: their axes.
        axis: the one of channels; kernels slide over those after it.
        channels: of the fork.
        sizes: of the fork, over the axes that kernels slide over; None where unknown.
    """

    rank: int
    axis: int
    channels: int
    sizes: tuple[int | None, ...]


def space_of(editor: Editor, fork: gs.Variable, nodes: list[Node]) -> Space:
    """Where the layers among ``nodes`` find the channels of ``fork``: behind for matrices, else after the batch.

    Raises:
        Refusal: when the fork's rank or number of channels is unknown.
    """
    shape = editor.shape(fork)
    if shape is None:
        raise Refusal(f"the shape of its fork {fork.name!r} cannot be inferred", "give the model's input a shape")
    behind = any(n.op in ("MatMul", "Gemm") for n in nodes) or len(shape) < 2
    axis = len(shape) - 1 if behind else 1
    channels = shape[axis] if shape else None
    if not isinstance(channels, int):
        raise Refusal(
            f"the number of channels of its fork {fork.name!r} is unknown", "give the model's input a fixed size"
        )
    return Space(len(shape), axis, channels, tuple(d if isinstance(d, int) else None for d in shape[axis + 1 :]))


def trace(editor: Editor, base: gs.Variable, end: gs.Variable, space: Space) -> Window:
    """What lies between ``base``, a tensor of ``space``, and ``end``, as one window over ``base``.

    Raises:
        Refusal: names the first node that is no sliding affine map.
    """
    start = windows.identity(space.channels, space.sizes)
    if end is base:
        return start
    tracer = _Tracer(editor, space, {base.name: start})
    for node in between(editor, end, base.name):
        tracer.visit(node)
    result = tracer.known.get(end.name)
    if result is None:
        raise Refusal(f"{end.name!r} carries no values of {base.name!r}")
    return result


def layer_window(editor: Editor, node: Node, sizes: tuple[int | None, ...]) -> tuple[Window, Sliding]:
    """A Conv, Gemm or MatMul as a window over its input of ``sizes``, and how it slides.

    Raises:
        Refusal: for a ConvTranspose, or when its weights are not constant.
    """
    if node.op == "ConvTranspose":
        raise Refusal(f"{label(node)} is no convolution over its input")
    layer = read_layer(editor, node)
    kernel = layer.weight.shape[2:]
    if len(kernel) != len(sizes):
        raise Refusal(f"{label(node)} has its channels on another axis than the rest")
    slide = sliding(editor, node, kernel, sizes) if node.op == "Conv" else Sliding((), (), (), (), ())
    matrices = np.moveaxis(layer.weight, (0, 1), (-2, -1))
    taps = {offset: matrices[index] for index, offset in geometry.product_grid(slide.grid)}
    made = windows.window(taps, layer.bias, layer.groups, layer.inputs, sizes, slide.stride, slide.slack)
    return made, slide


class _Tracer:
    """Visits nodes in topological order; ``known`` holds the window of each tensor over the base.

    A tensor that only says how large the base is stands there as None.
    """

    def __init__(self, editor: Editor, space: Space, known: dict[str, Window | None]) -> None:
        self.editor, self.space, self.known = editor, space, known

    def visit(self, node: Node) -> None:
        if all(self.known.get(t.name) is None for t in node.inputs) or node.op == "Shape":
            for output in node.outputs:
                self.known[output.name] = None
            return
        read = _READERS.get(node.op) if is_standard(node) else None
        if read is None:
            how = "which rounds" if node.op in QUANTISERS else "which is no linear window over its input"
            raise Refusal(f"it passes through {label(node)}, {how}")
        try:
            made = read(self, node)
        except Refusal as refusal:
            raise Refusal(f"at {label(node)}, {refusal.reason}", refusal.remedy) from refusal
        outputs = made if isinstance(made, list) else [made]
        self.known |= {t.name: w for t, w in zip(node.outputs, outputs, strict=False)}

    def data(self, node: Node, slot: int = 0) -> Window:
        """The window of the one input that carries data.

        Raises:
            Refusal: when other inputs carry data as well, or that one does not.
        """
        found = self.known.get(node.inputs[slot].name)
        if found is None or any(t.name in self.known for i, t in enumerate(node.inputs) if i != slot):
            raise Refusal("its parameters depend on the graph's inputs")
        return found

    def vector(self, tensor: gs.Variable, channels: int) -> np.ndarray:
        return per_channel(constant(self.editor, tensor), self.space.rank, self.space.axis, channels)

    # -- operators ---------------------------------------------------------------------------------------------

    def same(self, node: Node) -> Window:
        return self.data(node)

    def dropout(self, node: Node) -> Window:
        editor = self.editor
        training = editor.opset < 7 and not editor.attribute(node, "is_test", 0)
        if len(node.inputs) > 2 and node.inputs[2].name:
            training = bool(constant(editor, node.inputs[2]).any())
        if training:
            raise Refusal("it drops values at random")
        return self.data(node)

    def layer(self, node: Node) -> Window:
        source = self.data(node)
        made, _ = layer_window(self.editor, node, source.size)
        if made.inputs != source.outputs:
            raise Refusal("it has its channels on another axis than the rest")
        return windows.compose(source, made)

    def batchnorm(self, node: Node) -> Window:
        if self.space.axis != 1:
            raise Refusal("it has its channels on another axis than the rest")
        source = self.data(node)
        scale, shift = scale_and_shift(self.editor, node)
        return windows.compose(source, windows.scaling(scale, source.size, shift))

    def negate(self, node: Node) -> Window:
        source = self.data(node)
        return windows.compose(source, windows.scaling(-np.ones(source.outputs), source.size))

    def sum(self, node: Node) -> Window:
        """Add, Sub and Sum of windows and constants."""
        signs = [1, -1] if node.op == "Sub" else [1] * len(node.inputs)
        total: Window | None = None
        for tensor, sign in zip(node.inputs, signs, strict=True):
            part = self.known.get(tensor.name)
            if part is not None:
                if sign < 0:
                    part = windows.compose(part, windows.scaling(-np.ones(part.outputs), part.size))
                total = part if total is None else windows.add(total, part)
        assert total is not None, "a node that is visited reads a window"
        for tensor, sign in zip(node.inputs, signs, strict=True):
            if self.known.get(tensor.name) is None:
                shift = sign * self.vector(tensor, total.outputs)
                total = windows.add(total, windows.constant(shift, total))
        return total

    def product(self, node: Node) -> Window:
        """Mul and Div by constants."""
        first = self.known.get(node.inputs[0].name) is not None
        source = self.data(node, 0 if first else 1)
        if node.op == "Div" and not first:
            raise Refusal("it divides by data")
        factor = self.vector(node.inputs[1 if first else 0], source.outputs)
        if node.op == "Div":
            if not factor.all():
                raise Refusal("it divides by zero")
            factor = 1 / factor
        return windows.compose(source, windows.scaling(factor, source.size))

    def average(self, node: Node) -> Window:
        editor, source = self.editor, self.data(node)
        slide = self.pool(node, source)
        pads = any(slide.begin) or any(slide.end)
        if pads and not editor.attribute(node, "count_include_pad", 0):
            raise Refusal("it averages over fewer pixels at the border")
        each = np.full((source.outputs, 1), 1 / np.prod(slide.kernel))
        taps = {offset: each for _, offset in geometry.product_grid(slide.grid)}
        none = np.zeros(source.outputs)
        count = source.outputs
        pool = windows.window(taps, none, count, count, source.size, slide.stride, slide.slack)
        return windows.compose(source, pool)

    def maximum(self, node: Node) -> Window:
        """A max pool that looks at one pixel at a time is a strided slice."""
        source = self.data(node)
        slide = self.pool(node, source)
        if any(k != 1 for k in slide.kernel) or any(slide.begin) or any(slide.end):
            raise Refusal("it is not linear")
        return self.sampled(source, [(0, s, c) for s, c in zip(slide.stride, slide.slack, strict=True)])

    def pool(self, node: Node, source: Window) -> Sliding:
        kernel = self.editor.attribute(node, "kernel_shape")
        if len(kernel) != len(source.size):
            raise Refusal("it has its channels on another axis than the rest")
        slide = sliding(self.editor, node, kernel, source.size)
        if self.editor.attribute(node, "ceil_mode", 0):
            for size, stride, slack in zip(source.size, slide.stride, slide.slack, strict=True):
                if stride > 1 and (size is None or (size + slack) % stride):
                    raise Refusal("its last window may hang over the border", "give the model's input a fixed size")
        return slide

    def sampled(self, source: Window, axes: list[tuple[int, int, int]]) -> Window:
        """One pixel of ``source`` for each of the output: per axis the first one's offset, the stride, the slack."""
        if not axes:
            return source
        offsets, strides, slacks = zip(*axes, strict=True)
        ones, none = np.ones((source.outputs, 1)), np.zeros(source.outputs)
        count = source.outputs
        pixel = windows.window({tuple(offsets): ones}, none, count, count, source.size, strides, slacks)
        return windows.compose(source, pixel)

    def slice(self, node: Node) -> Window:
        source, space = self.data(node), self.space
        axes = [(0, 1, -1)] * len(source.size)
        for axis, (start, end, step) in geometry.slices(self.editor, node, space.rank).items():
            if axis == space.axis:
                source = windows.select(range(source.outputs)[start:end:step], source)
            elif axis > space.axis:
                axes[axis - space.axis - 1] = geometry.taken(start, end, step, source.size[axis - space.axis - 1])
            else:
                raise Refusal("it takes a part of another axis than channels or pixels")
        return self.sampled(source, axes)

    def pad(self, node: Node) -> Window:
        source, space = self.data(node), self.space
        sides, value, mode = geometry.paddings(self.editor, node, space.rank)
        if not any(map(any, sides)):
            return source
        if mode != "constant":
            raise Refusal(f"it pads by {mode}")
        if any(map(any, sides[: space.axis])):
            raise Refusal("it pads another axis than channels or pixels")
        if value and any(map(any, sides[space.axis + 1 :])):
            raise Refusal(f"it pads pixels with {value:g}")
        before, after = sides[space.axis]
        if before or after:
            kept: list[int | None] = list(range(max(-before, 0), source.outputs - max(-after, 0)))
            wanted = [None] * max(before, 0) + kept + [None] * max(after, 0)
            source = windows.select(wanted, source, value)
        return self.sampled(source, [(-b, 1, b + a - 1) for b, a in sides[space.axis + 1 :]])

    def concatenate(self, node: Node) -> Window:
        axis = self.editor.attribute(node, "axis", 1)
        if axis % self.space.rank != self.space.axis:
            raise Refusal("it joins along another axis than channels")
        like = next(w for t in node.inputs if (w := self.known.get(t.name)) is not None)
        return windows.concatenate(
            [self.known.get(t.name) or windows.constant(self.uniform(t), like) for t in node.inputs]
        )

    def uniform(self, tensor: gs.Variable) -> np.ndarray:
        """The one number in each channel of a constant map: of any size where ConstantOfShape makes it."""
        maker, axis = self.editor.producer(tensor), self.space.axis
        if maker is not None and maker.op == "ConstantOfShape":
            shape = self.editor.shape(tensor)
            channels = shape[axis] if shape is not None and len(shape) > axis else None
            if not isinstance(channels, int):
                raise Refusal(f"the number of channels of {tensor.name!r} is unknown")
            fill = self.editor.attribute(maker, "value")
            return np.full(channels, 0.0 if fill is None else float(numpy_helper.to_array(fill).reshape(-1)[0]))
        value = np.moveaxis(constant(self.editor, tensor).astype(np.float64), axis, 0)
        rows = value.reshape(len(value), -1)
        if (rows != rows[:, :1]).any():
            raise Refusal(f"{tensor.name!r} is not one number a channel")
        return rows[:, 0]

    def gather(self, node: Node) -> Window:
        source = self.data(node)
        wanted = constant(self.editor, node.inputs[1])
        if self.editor.attribute(node, "axis", 0) % self.space.rank != self.space.axis or wanted.ndim != 1:
            raise Refusal("it takes a part of another axis than channels")
        return windows.select([int(i) % source.outputs for i in wanted], source)

    def split(self, node: Node) -> list[Window]:
        source = self.data(node)
        if self.editor.attribute(node, "axis", 0) % self.space.rank != self.space.axis:
            raise Refusal("it takes a part of another axis than channels")
        ends = np.cumsum(geometry.splits(self.editor, node, source.outputs)).tolist()
        return [windows.select(range(b, e), source) for b, e in zip([0, *ends[:-1]], ends, strict=True)]


_READERS: dict[str, Callable[[_Tracer, Node], Window | list[Window]]] = {
    "Identity": _Tracer.same,
    "Dropout": _Tracer.dropout,
    "Conv": _Tracer.layer,
    "ConvTranspose": _Tracer.layer,
    "Gemm": _Tracer.layer,
    "MatMul": _Tracer.layer,
    "BatchNormalization": _Tracer.batchnorm,
    "Neg": _Tracer.negate,
    "Add": _Tracer.sum,
    "Sub": _Tracer.sum,
    "Sum": _Tracer.sum,
    "Mul": _Tracer.product,
    "Div": _Tracer.product,
    "AveragePool": _Tracer.average,
    "MaxPool": _Tracer.maximum,
    "Slice": _Tracer.slice,
    "Pad": _Tracer.pad,
    "Concat": _Tracer.concatenate,
    "Gather": _Tracer.gather,
    "Split": _Tracer.split,
}
