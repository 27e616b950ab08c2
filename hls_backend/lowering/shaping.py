"""Operators that move numbers: most need no hardware, as a stream has its own order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hls_backend.errors import LoweringError
from hls_backend.layers import ConvolutionInputGenerator, channel_padding
from hls_backend.layout import Layout
from hls_backend.lowering.pooling import padded
from hls_backend.lowering.state import State, scaled
from hls_backend.lowering.wire import Numbers, Value
from passes.graph import Node, attributes, label


def transpose(state: State, node: Node) -> Value:
    """Only the layout changes."""
    value = state.value(node, 0)
    rank = len(value.layout.axes)
    order = list(attributes(node).get("perm", range(rank - 1, -1, -1)))
    if order[0] != 0:
        raise LoweringError(label(node), "it moves the batch axis", "keep the batch first")
    return value.renamed(node.outputs[0].name, value.layout.permuted(order))


def reshape(state: State, node: Node) -> Value:
    """Flatten, Reshape, Squeeze, Unsqueeze: to a vector an image, or where only axes of size 1 come and go."""
    value = state.value(node, 0)
    after = state.editor.shape(node.outputs[0])
    before = state.editor.shape(node.inputs[0])
    if after is None or before is None or not all(isinstance(d, int) for d in after[1:]):
        raise LoweringError(label(node), "the shape of its output is not known", "fix the sizes of the input")
    if len(after) < 2:
        raise LoweringError(label(node), "it takes the batch axis away", "keep the batch first; a Squeeze needs axes")
    layout = _reshaped(value, [d for d in after[1:] if isinstance(d, int)])
    if layout is None:
        sizes = "x".join(map(str, after[1:]))
        raise LoweringError(label(node), f"it cuts images up into {sizes}", "only flattening has no need of hardware")
    return value.renamed(node.outputs[0].name, layout)


_ORDERS = (("C",), ("C", "W"), ("C", "H", "W"), ("W", "C"), ("H", "W", "C"))


def _reshaped(value: Value, sizes: list[int]) -> Layout | None:
    """The layout of axes of ``sizes`` after the batch; None where axes are cut."""
    rows, columns, channels = value.shape
    own = {"H": rows, "W": columns, "C": channels}
    names = [name for axis in value.layout.axes[1:] for name in axis]
    if len(sizes) == 1 and sizes[0] == rows * columns * channels:
        return Layout(("N", "C" if rows == columns == 1 else "".join(names)))
    long = [name for name in names if own[name] != 1]
    for order in _ORDERS:  # axes of size 1 come and go; those that stay keep their order
        if [own[n] for n in order] == sizes and [n for n in order if own[n] != 1] == long:
            return Layout(("N", *order))
    return None


def pad(state: State, node: Node) -> Value:
    """Pad with zeros: rows and columns, or channels.

    Raises:
        LoweringError: when it pads with anything else, or crops.
    """
    wire, numbers = scaled(state, node, 0)
    value, found = state.value(node, 0), attributes(node)
    tensor, name = node.outputs[0].name, node.name or node.outputs[0].name
    amounts = found.get("pads") or state.editor.value(node.inputs[1]).tolist()
    fill = found.get("value", 0.0)
    if len(node.inputs) > 2 and node.inputs[2].name:
        fill = float(state.editor.value(node.inputs[2]).reshape(-1)[0])
    rank = len(value.layout.axes)
    if len(node.inputs) > 3 and node.inputs[3].name:
        amounts = _by_axes(state.editor.value(node.inputs[3]).tolist(), amounts, rank)
    mode = found.get("mode", b"constant").decode(errors="replace")
    if mode != "constant" or fill != 0 or min(amounts) < 0 or numbers.bias.any() or value.layout.is_flat:
        raise LoweringError(label(node), "it does more than add zeros", "pad with zeros, after an unsigned Quant")
    around = {axis: (amounts[i], amounts[rank + i]) for i, axis in enumerate(value.layout.axes)}
    if around.get("N") != (0, 0):
        raise LoweringError(label(node), "it pads the batch", "pad images only")
    top, bottom = around.get("H", (0, 0))
    left, right = around.get("W", (0, 0))
    wire = padded(state, name, wire, (top, left, bottom, right))
    rows, columns, channels = wire.shape
    before, after = around["C"]
    if before or after:
        layer = channel_padding(
            state.builder.name(f"{name}_channels"), (rows, columns), channels, wire.type, before, after
        )
        shape = (rows, columns, before + channels + after)
        low, high = (np.pad(v, (before, after)) for v in (wire.numbers.low, wire.numbers.high))
        grown = Numbers(low, high, np.pad(numbers.scale, (before, after), mode="edge"), np.zeros(shape[2]))
        wire = state.builder.add(layer, [wire], grown, tensor, shape)
    else:
        wire = wire.read_as(tensor, numbers.scale, numbers.bias)
    return Value(wire, tensor, value.layout, wire.shape)


def _by_axes(axes: list[int], amounts: list[int], rank: int) -> list[int]:
    whole = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        whole[axis % rank], whole[rank + axis % rank] = amounts[i], amounts[len(axes) + i]
    return whole


def subsample(state: State, node: Node) -> Value:
    """Slice of every n-th row and column from the first on: windows of one pixel.

    Raises:
        LoweringError: when it slices anything else.
    """
    wire, numbers = scaled(state, node, 0)
    value, tensor = state.value(node, 0), node.outputs[0].name
    rank = len(value.layout.axes)
    starts, ends, axes, steps = _slices(state, node, rank)
    sizes = {"H": value.shape[0], "W": value.shape[1], "C": value.shape[2]}
    strides = {"H": 1, "W": 1}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        name = value.layout.axes[axis % rank]
        size = sizes.get(name, 0)
        whole = start in (0, -size) and (end >= size or name == "N") and not value.layout.is_flat
        if not whole or step < 1 or (step > 1 and name not in strides):
            raise LoweringError(
                label(node),
                f"it cuts axis {name} from {start} to {end} and not every n-th pixel from the first on",
                "let the layer before it pad less, or cut outside of the network",
            )
        if name in strides:
            strides[name] = step
    stride = (strides["H"], strides["W"])
    if stride == (1, 1):
        return value.renamed(tensor)
    name = state.builder.name(f"{node.name or tensor}_window")
    rows, columns, channels = wire.shape
    layer = ConvolutionInputGenerator(name, (rows, columns), channels, wire.type, (1, 1), stride)
    made = state.builder.add(layer, [wire], numbers, tensor)
    return replace(value, wire=made, tensor=tensor, shape=made.shape, steps=(), private=True)


def _slices(state: State, node: Node, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    found = attributes(node)
    if "starts" in found:
        starts, ends = list(found["starts"]), list(found["ends"])
        return starts, ends, list(found.get("axes", range(len(starts)))), [1] * len(starts)
    given = [state.editor.value(t).tolist() if t.name else [] for t in node.inputs[1:]] + [[], []]
    starts, ends, axes, steps = given[:4]
    return starts, ends, axes or list(range(rank))[: len(starts)], steps or [1] * len(starts)
