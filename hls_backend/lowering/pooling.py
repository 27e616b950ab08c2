"""Pooling: the largest of a window, or the sum, whose division goes into the scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hls_backend.datatypes import least
from hls_backend.errors import LoweringError
from hls_backend.layers import VVAU, ConvolutionInputGenerator, FMPadding, GlobalAccPool, Pool
from hls_backend.layout import Layout
from hls_backend.lowering.builder import partial_sums, weight_type
from hls_backend.lowering.geometry import Window, window
from hls_backend.lowering.state import State, scaled
from hls_backend.lowering.wire import MaxPooling, Numbers, Value, Wire
from passes.graph import Node, attributes, label


def max_pooling(state: State, node: Node) -> Value:
    """MaxPool and GlobalMaxPool wait for the next quantiser, unless they follow one."""
    value = settled(state, state.value(node, 0)).renamed(node.outputs[0].name)
    rows, columns, channels = value.shape
    found = _whole(node, value) if node.op == "GlobalMaxPool" else window(node, value)
    if found.dilations != (1, 1):
        raise LoweringError(label(node), "its window is dilated", "use a MaxPool without dilations")
    name = node.name or node.outputs[0].name
    step = MaxPooling(label(node), name, found.kernel, found.strides, found.pads)
    out_rows, out_columns = pooled(step, rows, columns)
    shape = (out_rows, out_columns, channels)
    _refuse_partial_windows(state, node, shape[:2])
    waiting = replace(value, shape=shape, steps=(*value.steps, step))
    return waiting if value.steps or state.builder.is_sum(value.wire) else pool_now(state, waiting)


def _refuse_partial_windows(state: State, node: Node, sizes: tuple[int, int]) -> None:
    """Raises LoweringError where ceil_mode makes more rows or columns than ``sizes``."""
    expected = state.editor.shape(node.outputs[0]) or ()
    if attributes(node).get("ceil_mode", 0) and tuple(expected[2:]) != sizes[4 - len(expected) :]:
        raise LoweringError(label(node), "ceil_mode gives it a partial window", "pad the image instead")


def _whole(node: Node, value: Value) -> Window:
    """The window of a global pooling."""
    return window(node, value, value.shape[:2] if len(value.layout.axes) == 4 else value.shape[1:2])


def pooled(step: MaxPooling | Window, rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns after a pooling."""
    top, left, bottom, right = step.pads
    return (
        (rows + top + bottom - step.kernel[0]) // step.strides[0] + 1,
        (columns + left + right - step.kernel[1]) // step.strides[1] + 1,
    )


def settled(state: State, value: Value) -> Value:
    """``value`` with its poolings done, unless what comes after the last of them is known not to fall.

    Else the largest before is not the largest after.
    """
    after = value.direction(after_poolings=True)
    return value if after is not None and (after >= 0).all() else pool_now(state, value)


def pool_now(state: State, value: Value) -> Value:
    """``value`` with its poolings done on the wire, before its pieces.

    Raises:
        LoweringError: when a piece before a pooling is not known to rise or fall.
    """
    if not value.poolings:
        return value
    last = max(i for i, step in enumerate(value.steps) if isinstance(step, MaxPooling))
    before = replace(value, steps=value.steps[:last])
    direction = before.direction()
    if direction is None:
        raise LoweringError(value.poolings[-1].label, "it pools what may rise and fall", "put a Quant before it")
    wire = value.wire
    if (direction < 0).any():
        wire = state.builder.flip(wire, np.where(direction < 0, -1, 1), value.private)
    for pooling in value.poolings:
        wire = max_pool(state, pooling, wire)
    return replace(value, wire=wire, steps=value.pieces)


def max_pool(state: State, step: MaxPooling, wire: Wire, tensor: str = "") -> Wire:
    """The pooling of a wire's integers; ``tensor``: of the graph that it makes.

    Raises:
        LoweringError: when zeros would pad integers that can be negative.
    """
    builder = state.builder
    if any(step.pads) and wire.numbers.span[0] < 0:
        raise LoweringError(
            step.label, "it pads integers that can be negative", "put a ReLU and an unsigned Quant before it"
        )
    pooled = windows(state, step.name, padded(state, step.name, wire, step.pads), step.kernel, step.strides, True)
    rows, columns, _ = pooled.shape
    pool = Pool(builder.name(f"{step.name}_pool"), (rows, columns), wire.channels, step.kernel, wire.type)
    return builder.add(pool, [pooled], wire.numbers, tensor)


def average_pooling(state: State, node: Node) -> Value:
    """AveragePool, GlobalAveragePool and ReduceMean over an image: sums; over windows by a VVAU whose weights are 1."""
    wire, numbers = scaled(state, node, 0)
    value = state.value(node, 0)
    rows, columns, channels = value.shape
    layout, own = value.layout, Window((rows, columns))
    if node.op == "ReduceMean":
        layout, own = _reduced(state, node, value)
    elif node.op == "GlobalAveragePool":
        own = _whole(node, value)
    else:
        own, found = window(node, value), attributes(node)
        if own.dilations != (1, 1):
            raise LoweringError(label(node), "its window is dilated", "use an AveragePool without dilations")
        _refuse_partial_windows(state, node, pooled(own, rows, columns))
        if any(own.pads) and (not found.get("count_include_pad", 0) or numbers.bias.any()):
            raise LoweringError(label(node), "it counts no padding", "set count_include_pad, or pad nothing")
    count = own.kernel[0] * own.kernel[1]
    mean = replace(numbers, scale=numbers.scale / count)
    name, out = node.name or node.outputs[0].name, node.outputs[0].name
    if own.kernel == (rows, columns) and not any(own.pads):
        layer = GlobalAccPool(state.builder.name(f"{name}_sum"), (rows, columns, channels), wire.type)
        sums = replace(mean, low=numbers.low * count, high=numbers.high * count)
        made = state.builder.add(layer, [wire], sums, out)
    else:
        ones = np.ones((channels, *own.kernel), np.int64)
        made = depthwise(state, name, out, wire, ones, own, mean.scale, mean.bias)
    return Value(made, out, layout, made.shape)


def depthwise(
    state: State,
    name: str,
    tensor: str,
    wire: Wire,
    weights: np.ndarray,
    own: Window,
    scale: np.ndarray,
    bias: np.ndarray,
) -> Wire:
    """A convolution of each channel by itself: padding, windows, VVAU.

    Args:
        state: to add to.
        name, tensor: for layers, and of the result.
        wire: what is convolved.
        weights: int [channels, kernel rows, kernel columns].
        own: strides and pads.
        scale, bias: of the result.
    """
    wire = padded(state, name, wire, own.pads)
    type, each = least(*partial_sums(weights, wire)), weights.reshape(len(weights), -1)
    low, high = sums(each, wire.numbers.low[:, None], wire.numbers.high[:, None])
    seen = windows(state, name, wire, weights.shape[1:], own.strides, True)
    rows, columns, _ = seen.shape
    unit = VVAU(state.builder.name(f"{name}_vvau"), (rows, columns), weights, weight_type(weights), wire.type, type)
    return state.builder.add(unit, [seen], Numbers(low, high, scale, bias), tensor)


def sums(weights: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest sum of each row of ``weights`` times integers from ``low`` to ``high``."""
    a, b = weights * low, weights * high
    return np.minimum(a, b).sum(axis=1), np.maximum(a, b).sum(axis=1)


def padded(state: State, name: str, wire: Wire, pads: tuple[int, int, int, int]) -> Wire:
    """``wire`` with zeros around it."""
    if not any(pads):
        return wire
    rows, columns, channels = wire.shape
    layer = FMPadding(state.builder.name(f"{name}_pad"), (rows, columns), channels, wire.type, pads)
    return state.builder.add(layer, [wire], wire.numbers.with_zero())


def windows(
    state: State, name: str, wire: Wire, kernel: tuple[int, ...], strides: tuple[int, int], depthwise: bool
) -> Wire:
    """The windows that slide over ``wire``."""
    rows, columns, channels = wire.shape
    size = (kernel[0], kernel[1])
    if size[0] > rows or size[1] > columns:
        reason = f"its window of {size[0]} x {size[1]} does not fit into an image of {rows} x {columns}"
        raise LoweringError(f"{name!r}", reason, "give the network's input the size that it was made for")
    layer = ConvolutionInputGenerator(
        state.builder.name(f"{name}_window"), (rows, columns), channels, wire.type, size, strides, depthwise
    )
    return state.builder.add(layer, [wire], wire.numbers.tiled(size[0] * size[1]))


def _reduced(state: State, node: Node, value: Value) -> tuple[Layout, Window]:
    """The layout after a ReduceMean over rows, columns or both, and the window that it averages.

    Raises:
        LoweringError: when it is over anything else.
    """
    layout, (rows, columns, _) = value.layout, value.shape
    axes = attributes(node).get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1].name:
        axes = state.editor.value(node.inputs[1]).tolist()
    over = {layout.axes[a] for a in axes or range(len(layout.axes))}
    if not over <= {"H", "W"}:
        raise LoweringError(label(node), f"it averages over {', '.join(sorted(over))}", "average over rows and columns")
    size = (rows if "H" in over else 1, columns if "W" in over else 1)
    kept = layout.axes if attributes(node).get("keepdims", 1) else tuple(a for a in layout.axes if a not in over)
    return Layout(kept), Window(size, size)
