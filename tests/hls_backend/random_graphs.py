"""Random quantised networks, drawn by hypothesis: widths, kernels, strides, bits, scales, skips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.hls_backend.graphs import Net

Draw = Any


@dataclass
class Tensor:
    """A tensor on a grid while a network grows.

    Attributes:
        name: of the tensor.
        channels, rows, columns: of an image.
        scale: of its grid.
        unsigned: whether zero is the least value.
    """

    name: str
    channels: int
    rows: int
    columns: int
    scale: float
    unsigned: bool


def scales(draw: Draw) -> float:
    """Powers of two, on which values meet boundaries exactly, and any others."""
    return draw(st.one_of(st.sampled_from([0.25, 0.5, 1.0, 2.0]), st.floats(0.0625, 3.0, width=32)))


def activation(draw: Draw, net: Net, x: str, channels: int, rows: int, columns: int) -> Tensor:
    """A quantiser, signed or after a function that does not fall."""
    kind = draw(st.sampled_from(["relu", "relu", "relu", "signed", "sigmoid", "clip", "leaky"]))
    unsigned = kind in ("relu", "sigmoid", "clip")
    if kind == "relu":
        x = net.node("Relu", x)
    elif kind == "sigmoid":
        x = net.node("Sigmoid", x)
    elif kind == "clip":
        x = net.node("Clip", x, net.value(0.0), net.value(2.5))
    elif kind == "leaky":
        x = net.node("LeakyRelu", x, alpha=0.25)
    bits = draw(st.integers(1 if unsigned else 2, 8))
    scale = 1 / 2**bits if kind == "sigmoid" else scales(draw)
    mode = draw(st.sampled_from(["ROUND", "ROUND", "FLOOR", "CEIL", "HALF_UP"]))
    narrow = draw(st.booleans()) and bits > 1
    name = net.quant(x, scale, bits, not unsigned, narrow, mode=mode)
    return Tensor(name, channels, rows, columns, scale, unsigned)


def between(draw: Draw, net: Net, y: str, channels: int, rows: int, columns: int) -> tuple[str, int, int]:
    """Functions that rise, fall or stay with each channel, and poolings, in any order; what they make."""
    kinds = ["batchnorm", "factors", "slopes", "falls", "one bound", "global pool"]
    for kind in draw(st.lists(st.sampled_from([*kinds, "pool", "pool"]), max_size=6)):
        some = net.random.choice([-1.5, -0.5, 0, 0.75, 2], (channels, 1, 1))
        if kind == "batchnorm":
            y = net.batchnorm(y, channels, negative=True)
        elif kind == "factors":
            y = net.node("Mul", *draw(st.permutations([y, net.value(some)])))
        elif kind == "slopes":
            y = net.node("PRelu", y, net.value(np.abs(some)))
        elif kind == "falls":
            y = net.node("Sub", net.value(some), y)
        elif kind == "one bound":
            y = net.node("Clip", y, "", net.value(1.5))
        elif kind == "global pool":
            y, rows, columns = net.node("GlobalMaxPool", y), 1, 1
        elif min(rows, columns) >= 2:
            step = draw(st.sampled_from([1, 1, 2]))
            y = net.node("MaxPool", y, kernel_shape=[2, 2], strides=[step, step])
            rows, columns = (rows - 2) // step + 1, (columns - 2) // step + 1
    if draw(st.integers(0, 4)) == 0:  # its direction is tried
        y = net.node("Sqrt", net.node("Relu", y))
    return y, rows, columns


def layer(draw: Draw, net: Net, x: Tensor) -> Tensor:
    """A convolution with what may follow it, up to its quantiser."""
    depthwise = draw(st.integers(0, 3)) == 0
    outputs = x.channels if depthwise else draw(st.integers(1, 6))
    kernel = draw(st.tuples(st.integers(1, min(3, x.rows)), st.integers(1, min(4, x.columns))))
    strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    pads = draw(st.tuples(*[st.integers(0, k // 2) for k in (*kernel, *kernel)]))
    rows = (x.rows + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
    columns = (x.columns + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
    y = net.conv(
        x.name, x.channels, outputs, kernel, draw(st.sampled_from([1, 2, 3, 4, 8])), draw(st.booleans()),
        x.channels if depthwise else 1, draw(st.booleans()), strides=strides, pads=pads,
    )  # fmt: skip
    if draw(st.booleans()):
        y = net.batchnorm(y, outputs, negative=draw(st.booleans()))
    y, rows, columns = between(draw, net, y, outputs, rows, columns)
    made = activation(draw, net, y, outputs, rows, columns)
    if draw(st.integers(0, 9)) == 0 and min(rows, columns) >= 2:
        name = net.node("MaxPool", made.name, kernel_shape=[2, 2], strides=[1, 1])
        made = Tensor(name, outputs, rows - 1, columns - 1, made.scale, made.unsigned)
    return made


def residual(draw: Draw, net: Net, x: Tensor) -> Tensor:
    """One or two convolutions beside an identity, padding or projection skip, on one scale."""
    stride = draw(st.sampled_from([1, 1, 2]))
    outputs = x.channels + (draw(st.integers(0, 2)) if stride == 2 or draw(st.booleans()) else 0)
    bits = draw(st.sampled_from([1, 2, 4, 8]))
    y = net.conv(x.name, x.channels, outputs, (3, 3), bits, strides=[stride] * 2, pads=[1] * 4)
    rows, columns = -(-x.rows // stride), -(-x.columns // stride)
    if draw(st.booleans()):
        middle = activation(draw, net, net.batchnorm(y, outputs), outputs, rows, columns)
        y = net.conv(middle.name, outputs, outputs, (3, 3), bits, pads=[1] * 4)
    y = net.batchnorm(y, outputs, negative=draw(st.booleans()))
    scale, skip = x.scale, x.name
    if draw(st.integers(0, 2)) == 0:
        skip = net.conv(x.name, x.channels, outputs, (1, 1), bits, strides=[stride] * 2)
        scale = scales(draw)
        skip = net.quant(skip, scale, draw(st.integers(2, 6)), signed=True)
    else:
        if stride == 2:
            corners = [net.value(v, "int64") for v in ([0, 0], [2**31, 2**31], [2, 3], [2, 2])]
            skip = net.node("Slice", skip, *corners)
        if outputs > x.channels:
            before = draw(st.integers(0, outputs - x.channels))
            pads = net.value([0, before, 0, 0, 0, outputs - x.channels - before, 0, 0], "int64")
            skip = net.node("Pad", skip, pads)
    main = net.quant(y, scale, draw(st.integers(2, 8)), signed=True)
    return activation(draw, net, net.node("Add", main, skip), outputs, rows, columns)


def head(draw: Draw, net: Net, x: Tensor) -> str:
    """Pooling or flattening, and a classifier."""
    if draw(st.booleans()):
        pooled = net.node("Flatten", net.node("GlobalAveragePool", x.name))
        if draw(st.booleans()):
            pooled = net.quant(pooled, scales(draw) / 4, 8, signed=True)
        inputs = x.channels
    else:
        pooled, inputs = net.node("Flatten", x.name), x.channels * x.rows * x.columns
    bias = net.value(net.random.normal(0, 1, 4)) if draw(st.booleans()) else ""
    return net.dense(pooled, inputs, 4, draw(st.sampled_from([1, 2, 8])), bias, per_channel=draw(st.booleans()))


@st.composite
def networks(draw: Draw) -> tuple[Net, onnx.ModelProto]:
    """A network of up to four layers or blocks, half of them with a classifier."""
    image = (draw(st.integers(1, 4)), draw(st.integers(3, 7)), draw(st.integers(3, 7)))
    net = Net(image, draw(st.integers(0, 2**32 - 1)))
    scale = scales(draw) / 8
    x = Tensor(net.quant("x", scale, draw(st.integers(2, 8)), signed=True), *image, scale, False)
    for _ in range(draw(st.integers(1, 4))):
        x = draw(st.sampled_from([layer, layer, residual]))(draw, net, x)
    return net, net.model(head(draw, net, x) if draw(st.booleans()) else x.name)
