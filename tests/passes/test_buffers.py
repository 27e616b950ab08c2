"""Skip buffers: the formula, and pixel streams that are simulated one pixel at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from passes import find_skips
from tests.passes import networks
from tests.passes.networks import FLOAT, Net

Size = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A convolution; pads are top, left, bottom, right."""

    kernel: Size
    stride: Size
    dilation: Size
    pads: tuple[int, int, int, int]

    def output(self, size: Size) -> Size:
        height, width = (
            (size[i] + self.pads[i] + self.pads[i + 2] - self.dilation[i] * (self.kernel[i] - 1) - 1) // self.stride[i]
            + 1
            for i in (0, 1)
        )
        return height, width

    def inside(self, position: int, axis: int, size: int) -> list[int]:
        """The pixels under the window along one axis, those beyond the border left out."""
        start = position * self.stride[axis] - self.pads[axis]
        taps = (start + tap * self.dilation[axis] for tap in range(self.kernel[axis]))
        return [at for at in taps if 0 <= at < size]


def pixels_waiting(size: Size, windows: list[Window]) -> int:
    """Pixels of the fork that have come in and are still to be added, at most.

    Pixels come in one after the other, row by row. A window gives its pixels in that order too, each as soon as the
    last pixel under it is there. The skip path gives pixel (r, c) times the stride for pixel (r, c) of the main path.
    """
    newest = np.arange(math.prod(size)).reshape(size)  # the last pixel that must have come in
    stride = (1, 1)
    for window in windows:
        made = np.empty(window.output(newest.shape), int)
        last = 0
        for r, c in np.ndindex(made.shape):
            under = [window.inside(p, i, newest.shape[i]) for i, p in ((0, r), (1, c))]
            if all(under):
                last = max(last, newest[under[0][-1], under[1][-1]])
            made[r, c] = last
        newest, stride = made, (stride[0] * window.stride[0], stride[1] * window.stride[1])
    waiting = [int(n) - (r * stride[0] * size[1] + c * stride[1]) for (r, c), n in np.ndenumerate(newest)]
    return max(*waiting, 1) if len(waiting) > 1 else max(waiting[0], 1)


def pixels_told(size: Size, windows: list[Window]) -> int:
    """What the tool says, for one channel of one bit."""
    net = Net()
    x = y = net.input("x", ["N", 1, *size])
    for i, w in enumerate(windows):
        weight = net.weight([1, 1, *w.kernel], f"w{i}")
        more = {"kernel_shape": w.kernel, "strides": w.stride, "dilations": w.dilation, "pads": w.pads}
        y = net.op("Conv", [y, weight], f"conv{i}", **more)
    strides = np.prod([w.stride for w in windows], axis=0).tolist()
    skip = net.op("MaxPool", [x], "skip", kernel_shape=[1, 1], strides=strides) if max(strides) > 1 else x
    (found,) = find_skips(net.model(net.op("Add", [y, skip], "join")), bits=1)
    assert found.streaming_bits is not None
    assert found.map_bits == math.prod(size)
    return found.streaming_bits


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """A window that keeps the size at stride 1, at any offset."""
    kernel = draw(st.sampled_from([1, 2, 3, 5])), draw(st.sampled_from([1, 2, 3, 5]))
    stride = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 1, 2]))
    dilation = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 1, 2]))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    before = [draw(st.integers(0, r)) for r in reach]
    after = [r - b for r, b in zip(reach, before, strict=True)]
    return Window(kernel, stride, dilation, (before[0], before[1], after[0], after[1]))


stacks = st.lists(windows(), min_size=1, max_size=3)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=150, deadline=None)
@given(sizes, stacks)
def test_as_many_pixels_as_a_simulated_stream_makes_wait(size: Size, stack: list[Window]) -> None:
    """Exactly, where the windows together fit into the image and strides divide it; never fewer."""
    strides, reach = [1, 1], [0, 0]
    for window in stack:
        for i in (0, 1):
            reach[i] += window.dilation[i] * (window.kernel[i] - 1) * strides[i]
            strides[i] *= window.stride[i]
    needed = size
    for window in stack:
        needed = window.output(needed)
        assume(min(needed) > 0)
    assume(needed == tuple(-(-s // stride) for s, stride in zip(size, strides, strict=True)))
    told, simulated = pixels_told(size, stack), pixels_waiting(size, stack)
    if all(r < s and s % stride == 0 for r, s, stride in zip(reach, size, strides, strict=True)):
        assert told == simulated
    assert simulated <= told <= max(math.prod(size) - 1, 1)


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_formula(layers: int, kernel: int) -> None:
    """n (k - 1) / 2 (W + 1) pixels for n same-padded k x k convolutions: 33 and 66 at W = 32, as measured in RTL."""
    pad, width = kernel // 2, 32
    window = Window((kernel, kernel), (1, 1), (1, 1), (pad,) * 4)
    assert pixels_told((width, width), [window] * layers) == max(layers * pad * (width + 1), 1)


def test_the_published_resnet20(published_resnet20: onnx.ModelProto) -> None:
    """Two 3x3 layers; where a stage begins, the second one's steps are two pixels of the fork."""
    expected = []
    for stage, (channels, width) in enumerate([(16, 32), (32, 16), (64, 8)]):
        for block in range(3):
            if stage and not block:
                before_channels, before_width = channels // 2, width * 2
                expected.append(before_channels * 3 * (before_width + 1))
            else:
                expected.append(channels * 2 * (width + 1))
    found = find_skips(published_resnet20, bits=4)
    assert [s.streaming_bits for s in found] == [4 * pixels for pixels in expected]
    assert found[0].map_bits == 4 * 16 * 32 * 32


def only(net: Net, join: str, bits: int = 1) -> tuple[int | None, int | None]:
    (skip,) = find_skips(net.model(join), bits)
    return skip.streaming_bits, skip.map_bits


@pytest.fixture
def net() -> Net:
    return Net()


def test_of_several_branches_the_one_that_needs_the_latest_pixel_counts(net: Net) -> None:
    """Three rows below, or three columns to the right: 3 W pixels, and not 3 W + 3."""
    x = net.image(2)
    tall, wide = net.conv(x, "tall", 1, (7, 1)), net.conv(x, "wide", 1, (1, 7))
    main = net.op("Concat", [tall, wide], "concat", 2, axis=1)
    assert only(net, net.op("Add", [main, x], "join")) == (2 * 3 * 16, 2 * 16 * 16)


def test_audio_and_volumes(net: Net) -> None:
    x = net.input("audio", ["N", 4, 100])
    x = net.op("Add", [net.conv(net.conv(x, "a", 4, 5, rank=1), "b", 4, 5, rank=1), x], "join")
    assert only(net, x) == (4 * 4, 4 * 100)
    volume = Net()
    y = volume.input("volume", ["N", 2, 8, 8, 8])
    assert only(volume, volume.op("Add", [volume.conv(y, "c", 2, rank=3), y], "join")) == (2 * (64 + 8 + 1), 2 * 512)


def test_an_explicit_pad_is_the_convolutions_own(net: Net) -> None:
    x = net.image(2)
    padded = net.op("Pad", [x, net.constant([0, 0, 1, 1, 0, 0, 1, 1], "pads")], "pad")
    main = net.op("Conv", [padded, net.weight([2, 2, 3, 3], "w")], "conv", 2)
    assert only(net, net.op("Add", [main, x], "join")) == (2 * 17, 2 * 256)


@pytest.mark.parametrize(("auto", "ahead"), [("SAME_UPPER", 2), ("SAME_LOWER", 1)])
def test_automatic_padding(net: Net, auto: str, ahead: int) -> None:
    """Of the three pixels that a 4 x 4 kernel needs, one or two come before."""
    x = net.image(2)
    main = net.op("Conv", [x, net.weight([2, 2, 4, 4], "w")], "conv", 2, auto_pad=auto)
    assert only(net, net.op("Add", [main, x], "join")) == (2 * ahead * 17, 2 * 256)


def test_pooling_on_the_main_path_is_a_window_too(net: Net) -> None:
    x = net.image(2)
    pooled = net.op("AveragePool", [net.conv(x, "conv", 2, 1)], "pool", kernel_shape=[3, 3], pads=[1] * 4)
    assert only(net, net.op("Add", [pooled, x], "join")) == (2 * 17, 2 * 256)


def test_dense_layers_work_on_one_position_at_a_time(net: Net) -> None:
    x = net.input("x", ["N", 6, 8], channels=8)
    assert only(net, net.op("Add", [net.dense(net.layer_norm(x, "norm"), "a", 8), x], "join")) == (8, 48)
    flat = Net()
    y = flat.input("y", ["N", 8])
    assert only(flat, flat.op("Add", [flat.dense(y, "a", 8), y], "join")) == (8, 8)


@pytest.mark.parametrize("name", ["se-resnet", "efficientnet b0", "convnext", "encoder", "u-net"])
def test_whatever_mixes_positions_needs_the_whole_map(name: str) -> None:
    """Means over the image, attention, transposed convolutions, channels moved to the last axis."""
    for skip in find_skips(networks.CORPUS[name][0]()):
        if not skip.node.endswith("ffn.join"):
            assert skip.streaming_bits == skip.map_bits


def test_rows_put_behind_each_other_need_the_whole_map(net: Net) -> None:
    x = net.image(2)
    weight = net.weight([2, 2, 1, 1], "w")
    halves = [net.op("Conv", [x, weight], name, 2, strides=[2, 1]) for name in ("first", "last")]
    assert only(net, net.op("Add", [net.op("Concat", halves, "rows", axis=2), x], "join")) == (2 * 256, 2 * 256)


def test_positions_multiplied_with_each_other_need_the_whole_map(net: Net) -> None:
    x = net.input("x", ["N", 8, 8], channels=8)
    main = net.dense(net.op("MatMul", [x, x], "square"), "dense", 8)
    assert only(net, net.op("Add", [main, x], "join")) == (64, 64)


def test_sizes_that_are_not_known(net: Net) -> None:
    x = net.input("image", ["N", 4, "H", "W"])
    assert only(net, net.op("Add", [net.conv(x, "conv", 4), x], "join")) == (None, None)


# -- widths -------------------------------------------------------------------------------------------------------


def quantised(fork: str | None, skip: str | None, bits: float = 5) -> onnx.ModelProto:
    """A block with a quantiser of QONNX that makes the fork or that lies on the skip path."""
    nodes, weights = [], [helper.make_tensor("w", FLOAT, [2, 2, 1, 1], [1.0] * 4)]
    weights += [helper.make_tensor(n, FLOAT, [], [v]) for n, v in (("scale", 0.1), ("zero", 0), ("bits", bits))]

    def quantise(op: str | None, x: str, name: str) -> str:
        if op is None:
            return x
        parts = {
            "Quant": ["scale", "zero", "bits"],
            "BipolarQuant": ["scale"],
            "Trunc": ["scale", "zero", "scale", "bits"],
        }
        nodes.append(helper.make_node(op, [x, *parts[op]], [name], name=name, domain="qonnx.custom_op.general"))
        return name

    x = quantise(fork, "x", "fork")
    nodes.append(helper.make_node("Conv", [x, "w"], ["main"], name="conv"))
    nodes.append(helper.make_node("Add", ["main", quantise(skip, x, "skip")], ["y"], name="join"))
    values = [helper.make_tensor_value_info(n, FLOAT, ["N", 2, 4, 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=opsets)


@pytest.mark.parametrize(
    ("fork", "skip", "width"),
    [("Quant", None, 5), (None, "Quant", 5), ("BipolarQuant", None, 1), ("Trunc", None, 5), (None, None, 32),
     ("BipolarQuant", "Quant", 1)],
)  # fmt: skip
def test_the_width_is_the_quantisers(fork: str | None, skip: str | None, width: int) -> None:
    (found,) = find_skips(quantised(fork, skip))
    assert found.map_bits == 2 * 16 * width
    assert found.kind == "identity"


def test_the_width_of_a_trunc_of_version_2_stands_behind_its_output_scale() -> None:
    model = quantised("Trunc", None)
    model.graph.node[0].input.insert(4, "scale")
    assert find_skips(model)[0].map_bits == 2 * 16 * 5


@pytest.mark.parametrize("bits", [float("nan"), float("inf"), -3, 0, 1e30])
def test_a_width_that_is_none_is_not_taken(bits: float) -> None:
    assert find_skips(quantised("Quant", None, bits), bits=8)[0].map_bits == 2 * 16 * 8


def test_a_width_fed_to_the_graph_is_not_known_before() -> None:
    model = quantised("Quant", None)
    del model.graph.initializer[-1]
    model.graph.input.append(helper.make_tensor_value_info("bits", FLOAT, []))
    assert find_skips(model, bits=8)[0].map_bits == 2 * 16 * 8


@pytest.mark.parametrize(("kind", "width"), [(TensorProto.INT8, 8), (TensorProto.UINT16, 16), (TensorProto.INT4, 4)])
def test_the_width_of_stored_integers(kind: int, width: int) -> None:
    net = Net(opset=21)
    x = net.input("x", ["N", 2, 4, 4], kind)
    fork = net.op("DequantizeLinear", [x, net.constant(0.1, "scale")], "dq", 2)
    model = net.model(net.op("Add", [net.conv(fork, "conv", 2, 1), fork], "join"))
    assert find_skips(model)[0].map_bits == 2 * 16 * width


@pytest.mark.parametrize(("kind", "low", "high"), [(np.int8, -8, 7), (np.int8, -7, 7), (np.uint8, 0, 15)])
def test_the_width_that_a_clip_leaves(kind: type, low: int, high: int) -> None:
    """Behind the first quantiser and the join as Brevitas writes them."""
    net = Net(opset=13)
    grid = [net.constant(0.1, "scale"), net.constant(np.array(0, kind), "zero")]
    x = net.op("QuantizeLinear", [net.input("x", ["N", 2, 4, 4]), *grid], "q", 2)
    bounds = [net.constant(np.array(v, kind), name) for v, name in ((low, "low"), (high, "high"))]
    x = net.op("DequantizeLinear", [net.op("Clip", [x, *bounds], "clip", 2), *grid], "dq", 2)
    model = net.model(net.op("Add", [net.conv(x, "conv", 2, 1), x], "join"))
    assert find_skips(model)[0].map_bits == 2 * 16 * 4


def test_onnxruntimes_own_quantisers_make_the_same_integers() -> None:
    """It writes them for types that the model's operator set does not know."""
    net = Net(opset=13)
    grid = [net.constant(0.1, "scale"), net.constant(np.array(0, np.int8), "zero")]
    x = net.op("QuantizeLinear", [net.input("x", ["N", 2, 4, 4]), *grid], "q", 2)
    x = net.op("DequantizeLinear", [x, *grid], "dq", 2)
    model = net.model(net.op("Add", [net.conv(x, "conv", 2, 1), x], "join"))
    for node in model.graph.node[:2]:
        node.domain = "com.microsoft"
    assert find_skips(model)[0].map_bits == 2 * 16 * 8
