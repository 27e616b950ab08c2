"""Each kind of node becomes its layers, with the integers that qonnx computes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from hls_backend import LoweringError, execute, lower, qonnx_execution, thresholds
from hls_backend.compare import compare
from hls_backend.datatypes import named
from hls_backend.fifo import insert_fifos
from hls_backend.host import prepare
from hls_backend.layers import (
    MVAU,
    VVAU,
    ChannelwiseOp,
    ConvolutionInputGenerator,
    FMPadding,
    LabelSelect,
    Thresholding,
)
from passes.errors import UserError
from tests.hls_backend.checks import kinds, only, same_as_qonnx
from tests.hls_backend.graphs import Net


def block(skip: bool, weights: int, acts: int) -> tuple[Net, onnx.ModelProto]:
    """The seed's residual block: two 3x3 convolutions of 16 channels, with or without its skip."""
    net = Net((16, 16, 16))
    x = net.quant("x", 0.3, acts)
    y = net.batchnorm(net.conv(x, 16, 16, bits=weights, pads=[1] * 4), 16, negative=True)
    y = net.conv(net.quant(net.node("Relu", y), 0.5, acts), 16, 16, bits=weights, pads=[1] * 4)
    y = net.batchnorm(y, 16, negative=True)
    if skip:
        y = net.node("Add", net.quant(y, 0.3, acts + 2, signed=True), x)
    return net, net.model(net.quant(net.node("Relu", y), 0.35, acts))


@pytest.mark.parametrize(("weights", "acts"), [(1, 2), (1, 1), (2, 2), (4, 4), (8, 8)])
def test_the_block_with_its_skip(weights: int, acts: int) -> None:
    net, model = block(True, weights, acts)
    dataflow = same_as_qonnx(model, net.images(4), most_on_boundary=10).dataflow
    assert [layer.op for layer in dataflow.layers] == [
        "DuplicateStreams",
        *("FMPadding", "ConvolutionInputGenerator", "MVAU", "Thresholding") * 2,
        "ElementwiseAdd",
        "Thresholding",
    ]
    first = next(layer for layer in dataflow.layers if isinstance(layer, MVAU))
    assert first.weight_type == (named("BIPOLAR") if weights == 1 else named(f"INT{weights}"))


@pytest.mark.parametrize(("weights", "acts"), [(1, 2), (8, 8)])
def test_the_block_without_its_skip(weights: int, acts: int) -> None:
    net, model = block(False, weights, acts)
    dataflow = same_as_qonnx(model, net.images(4), most_on_boundary=10).dataflow
    assert [layer.op for layer in dataflow.layers] == [
        *("FMPadding", "ConvolutionInputGenerator", "MVAU", "Thresholding") * 2
    ]


def test_the_seed_s_block_has_the_thresholds_of_its_bits() -> None:
    dataflow = lower(block(True, 1, 2)[1]).dataflow
    steps = [layer.steps for layer in dataflow.layers if isinstance(layer, Thresholding)]
    assert steps == [3, 15, 3]


def test_accumulators_hold_every_partial_sum_and_not_a_bit_more() -> None:
    dataflow = lower(block(True, 1, 2)[1]).dataflow
    for layer in (layer for layer in dataflow.layers if isinstance(layer, MVAU)):
        up = 3 * np.maximum(layer.weights, 0).sum(axis=1).max()
        down = 3 * np.minimum(layer.weights, 0).sum(axis=1).min()
        assert layer.output_type.min() <= down < 0 < up <= layer.output_type.max()
        assert max(up, -down) > 2 ** (layer.output_type.bitwidth() - 2) - 1


def test_thresholds_are_only_those_that_can_be_reached() -> None:
    net = Net((2, 4, 4))
    y = net.node("Relu", net.conv(net.quant("x", 0.5, 2), 2, 2, (1, 1), bits=2))
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.2, 8, signed=True)), net.images(3)).dataflow
    layer = only(dataflow, Thresholding)
    assert layer.base == 0, "nothing negative is left after ReLU"
    assert layer.steps < 127
    assert not layer.output_type.signed()


def test_a_quantiser_that_changes_nothing_costs_nothing() -> None:
    net = Net((2, 4, 4))
    x = net.quant(net.quant("x", 0.5, 4), 0.5, 4)
    y = net.conv(net.node("MaxPool", x, kernel_shape=[2, 2]), 2, 2, (1, 1))
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3)).dataflow
    assert kinds(dataflow) == {"ConvolutionInputGenerator": 1, "Pool": 1, "MVAU": 1, "Thresholding": 1}


def test_pooling_waits_for_the_quantiser() -> None:
    net = Net((2, 6, 6))
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    y = net.node("Relu", net.batchnorm(net.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 3))
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.2, 2)), net.images(3)).dataflow
    assert [layer.op for layer in dataflow.layers] == ["MVAU", "Thresholding", "ConvolutionInputGenerator", "Pool"]


def test_pooling_before_a_function_that_falls_does_not_wait() -> None:
    net = Net((2, 6, 6), seed=3)
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    y = net.batchnorm(net.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 3, negative=True)
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3)).dataflow
    order = [layer.op for layer in dataflow.layers]
    assert order == ["MVAU", "ConvolutionInputGenerator", "Pool", "ChannelwiseOp", "Thresholding"]


def test_a_function_that_falls_between_two_poolings_keeps_them_apart() -> None:
    net = Net((2, 6, 6), seed=3)
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    y = net.batchnorm(net.node("MaxPool", y, kernel_shape=[2, 2]), 3, negative=True)
    y = net.node("GlobalMaxPool", net.node("Relu", y))
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.2, 4)), net.images(3)).dataflow
    pool = ["ConvolutionInputGenerator", "Pool"]
    assert [layer.op for layer in dataflow.layers] == ["MVAU", *pool, "ChannelwiseOp", "Thresholding", *pool]


def test_a_function_that_falls_turns_weights_round() -> None:
    net = Net((2, 4, 4))
    y = net.node("Neg", net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4))
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3)).dataflow
    assert kinds(dataflow) == {"MVAU": 1, "Thresholding": 1}


def test_weights_that_two_branches_need_are_not_turned_round() -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    down, up = net.quant(net.node("Neg", y), 0.2, 4, signed=True), net.quant(y, 0.2, 4, signed=True)
    dataflow = same_as_qonnx(net.model(net.node("Add", down, up)), net.images(3)).dataflow
    assert kinds(dataflow)["ChannelwiseOp"] == 1
    assert kinds(dataflow)["DuplicateStreams"] == 1


@pytest.mark.parametrize("reader", ["AveragePool", "output"])
def test_weights_stay_where_thresholds_were_taken_from_the_pooled_accumulator(reader: str) -> None:
    net = Net((3, 8, 8))
    y = net.node("Neg", net.conv(net.quant("x", 0.3, 4), 3, 4, bits=3))
    y = net.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    quantised = net.quant(y, 0.5, 4, signed=True)
    if reader == "output":
        model = net.model(y)
        model.graph.output.append(helper.make_tensor_value_info(quantised, onnx.TensorProto.FLOAT, None))
    else:
        averaged = net.quant(net.node(reader, y, kernel_shape=[1, 1]), 0.5, 4, signed=True)
        model = net.model(net.node("Add", quantised, averaged))
    assert kinds(same_as_qonnx(model, net.images(3)).dataflow)["ChannelwiseOp"] == 2


def test_two_quantisers_of_one_accumulator() -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    a, b = net.quant(net.node("Relu", y), 0.2, 2), net.quant(y, 0.2, 5, signed=True)
    dataflow = same_as_qonnx(net.model(net.node("Add", a, b)), net.images(3)).dataflow
    assert kinds(dataflow)["Thresholding"] == 2


def test_depthwise_convolutions_are_vvaus() -> None:
    net = Net((4, 6, 6))
    y = net.conv(net.quant("x", 0.5, 4, signed=True), 4, 4, (3, 3), bits=4, groups=4, strides=[2, 2], pads=[1, 1, 1, 1])
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3)).dataflow
    assert only(dataflow, VVAU).weights.shape == (4, 3, 3)
    assert only(dataflow, ConvolutionInputGenerator).depthwise


def test_groups_and_dilations_are_matrices_with_zeros() -> None:
    net = Net((4, 7, 7))
    y = net.conv(net.quant("x", 0.5, 4), 4, 6, (2, 2), bits=4, groups=2, dilations=[2, 3])
    lowered = same_as_qonnx(net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3))
    assert only(lowered.dataflow, ConvolutionInputGenerator).kernel == (3, 4)
    assert only(lowered.dataflow, MVAU).mw == 48
    assert "2 groups are one matrix" in lowered.notes[0]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(auto_pad: str) -> None:
    net = Net((2, 5, 6))
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (2, 3), bits=2, auto_pad=auto_pad, strides=[2, 1])
    same_as_qonnx(net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3))


def test_a_shortcut_that_subsamples_and_pads_channels() -> None:
    net = Net((6, 8, 8))
    x = net.quant("x", 0.5, 2)
    corners = [net.value(v, np.int64) for v in ([0, 0], [2**31, 2**31], [2, 3], [2, 2])]
    pads = net.value([0, 3, 0, 0, 0, 3, 0, 0], np.int64)
    skip = net.node("Pad", net.node("Slice", x, *corners), pads)
    main = net.quant(net.conv(x, 6, 12, pads=[1] * 4, strides=[2, 2]), 0.5, 4, signed=True)
    y = net.quant(net.node("Relu", net.node("Add", main, skip)), 0.4, 2)
    dataflow = same_as_qonnx(net.model(y), net.images(3)).dataflow
    window = next(n for n in dataflow.layers if isinstance(n, ConvolutionInputGenerator) and n.kernel == (1, 1))
    assert window.stride == (2, 2)
    pad = next(n for n in dataflow.layers if isinstance(n, FMPadding) and n.name.endswith("channels"))
    assert (pad.image, pad.channels, pad.pads) == ((16, 2), 3, (0, 1, 0, 1)), "groups of channels are columns"


@pytest.mark.parametrize("pads", [[0, 0, 1, 1] * 2, [0, 1, 0, 0] * 2])
def test_zeros_around_numbers_that_are_none(pads: list[int]) -> None:
    """Sums of positive numbers are less where zeros are added than they ever are without."""
    net = Net((2, 4, 4))
    y = net.node("Clip", net.conv(net.quant("x", 0.5, 4), 2, 4, (1, 1)), net.value(1.0), net.value(2.0))
    y = net.node("Pad", net.quant(y, 0.25, 4), net.value(pads, np.int64))
    y = net.node("Conv", y, net.value(np.diag(np.ones(6))[:, :, None, None] if pads[1] else np.ones((3, 4, 2, 2))))
    same_as_qonnx(net.model(net.quant(y, 1.0, 8)), net.images(3))


def test_a_pad_of_some_axes() -> None:
    net = Net((2, 4, 5))
    parts = net.value([1, 0, 0, 2], np.int64), "", net.value([-1, 1], np.int64)
    y = net.conv(net.node("Pad", net.quant("x", 0.5, 4), *parts), 4, 3, (2, 2))
    same_as_qonnx(net.model(net.quant(y, 0.3, 4, signed=True), opset=18), net.images(3))


@pytest.mark.parametrize("kernel", [(2, 3), (5, 5)])
def test_average_pooling_sums(kernel: tuple[int, int]) -> None:
    net = Net((3, 5, 5))
    y = net.node("AveragePool", net.quant("x", 0.5, 4, signed=True), kernel_shape=kernel)
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.21, 4, signed=True)), net.images(3)).dataflow
    assert "VVAU" in kinds(dataflow) if kernel == (2, 3) else "GlobalAccPool" in kinds(dataflow)


@pytest.mark.parametrize("keep", [0, 1])
def test_rows_and_columns_averaged_one_after_the_other(keep: int) -> None:
    """As PyTorch writes ``x.mean(3).mean(2)``."""
    net = Net((3, 5, 4))
    rows = net.node("ReduceMean", net.quant("x", 0.5, 4, signed=True), axes=[3], keepdims=keep)
    same_as_qonnx(net.model(net.quant(net.node("ReduceMean", rows, axes=[2], keepdims=keep), 0.2, 4)), net.images(3))


def test_ceil_mode_that_changes_no_size() -> None:
    """As in ResNet-D, whose shortcuts average over 2 x 2 pixels."""
    net = Net((3, 6, 6))
    x = net.quant("x", 0.5, 4, signed=True)
    y = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    same_as_qonnx(net.model(net.quant(y, 0.21, 4, signed=True)), net.images(3))
    odd = net.model(net.quant(net.node("AveragePool", x, kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1), 0.2, 4))
    with pytest.raises(LoweringError, match="ceil_mode gives it a partial window; pad the image instead"):
        lower(odd)


def test_average_pooling_with_padding_that_counts() -> None:
    net = Net((3, 5, 5))
    x = net.quant("x", 0.5, 4, signed=True)
    y = net.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    same_as_qonnx(net.model(net.quant(y, 0.21, 4, signed=True)), net.images(3))


@pytest.mark.parametrize(
    "function",
    [
        ("Sigmoid", {}), ("Tanh", {}), ("LeakyRelu", {"alpha": 0.1}), ("Elu", {}), ("HardSigmoid", {}),
        ("Softplus", {}), ("Erf", {}), ("Floor", {}),
    ],
)  # fmt: skip
def test_functions_that_never_fall_become_thresholds(function: tuple[str, dict[str, float]]) -> None:
    net = Net((2, 4, 4))
    y = net.node(function[0], net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4, bias=True), **function[1])
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.11, 5, signed=True)), net.images(3), 3).dataflow
    assert kinds(dataflow) == {"MVAU": 1, "Thresholding": 1}


def test_a_function_of_unknown_direction_is_tried_on_every_integer() -> None:
    """Swish falls a little below zero; on a grid that does not see it, it never falls."""
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    y = net.node("Mul", y, net.node("Sigmoid", y))
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.9, 4)), net.images(3)).dataflow
    assert kinds(dataflow) == {"MVAU": 1, "Thresholding": 1}


def test_every_integer_is_tried_across_the_seams_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "_AT_ONCE", 8)
    for turn in range(1, 20):
        found = thresholds.try_direction(lambda x, turn=turn: x - [[2, 0]] * (x >= turn), 2, 0, 20)
        assert found is not None
        assert found.tolist() == [2, 1], turn


def test_a_function_may_turn_round_at_integers_that_do_not_occur() -> None:
    """The second channel is turned round: the first one's integers stay 0 to 3, and all channels' become -9 to 3."""
    net = Net((1, 4, 4))
    y = net.node("Conv", net.quant("x", 0.5, 2), net.value(np.reshape([1, 3], (2, 1, 1, 1))))
    y = net.node("Mul", y, net.value(np.reshape([1, -1], (2, 1, 1))))
    y = net.node("PRelu", y, net.value(np.reshape([-1, 1], (2, 1, 1))))
    same_as_qonnx(net.model(net.quant(y, 0.5, 5, signed=True)), net.images(3))


def test_a_cast_to_integers_truncates() -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    y = net.node("Cast", net.node("Cast", y, to=onnx.TensorProto.INT32), to=onnx.TensorProto.FLOAT)
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.3, 4, signed=True)), net.images(3)).dataflow
    assert kinds(dataflow) == {"MVAU": 1, "Thresholding": 1}


def test_a_cast_to_integers_on_the_host_truncates() -> None:
    net = Net((2, 4, 4))
    x = net.node("Cast", net.node("Cast", "x", to=onnx.TensorProto.INT32), to=onnx.TensorProto.FLOAT)
    same_as_qonnx(net.model(net.conv(net.quant(x, 0.5, 4, signed=True), 2, 3, (1, 1))), net.images(3, 3.0))


@pytest.mark.parametrize("columns", [3, 4])
def test_the_host_normalises_channels_behind_a_reshape(columns: int) -> None:
    """Of vectors, which are of another rank than what is normalised."""
    net = Net((9 * columns,))
    x = net.batchnorm(net.node("Reshape", "x", net.value([-1, 3, 3, columns], np.int64)), 3)
    same_as_qonnx(net.model(net.conv(net.quant(x, 0.25, 4, signed=True), 3, 4)), net.images(5))


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 4, 5), (2, 4, 5), (3, 20)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """Channels last would be read as other pixels; the means would make three channels of one."""
    net = Net((3, 4, 5))
    x = net.quant(net.node("Sub", "x", net.value(np.reshape([0.1, 0.2, 0.3], (3, 1, 1)))), 0.25, 4, signed=True)
    dataflow = lower(net.model(net.conv(x, 3, 4))).dataflow
    with pytest.raises(UserError, match=rf"^Images of shape {re.escape(str(list(shape)))} do not fit .* 4x5x3 rows"):
        execute(dataflow, np.zeros((2, *shape), np.float32))
    with pytest.raises(UserError, match="There are no images to execute; give at least one"):
        execute(dataflow, np.zeros((0, *shape), np.float32))


def test_an_operator_of_others_on_the_host_is_refused_where_it_is_to_be_computed() -> None:
    net = Net((3, 4, 4))
    x = net.node("Trilu", "x", domain="com.microsoft")
    model = net.model(net.conv(net.quant(x, 0.25, 4), 3, 4))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.value_info.append(helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, ["N", 3, 4, 4]))
    dataflow = lower(model).dataflow
    with pytest.raises(UserError, match=r"^Trilu 'n_trilu0' cannot be computed for the host, as com\.micro"):
        execute(dataflow, net.images(2))


def test_bipolar_activations_are_read_as_zero_and_one() -> None:
    net = Net((3, 6, 6))
    y = net.bipolar(net.batchnorm(net.conv(net.quant("x", 0.1, 8, signed=True), 3, 4, bits=1), 4), 1.0)
    y = net.bipolar(net.batchnorm(net.conv(y, 4, 5, bits=1), 5), 0.7)
    y = net.dense(net.node("Flatten", y), 20, 3, bits=1)
    dataflow = same_as_qonnx(net.model(y), net.images(6)).dataflow
    assert [n.output_type.name for n in dataflow.layers if isinstance(n, Thresholding)] == ["BINARY", "BINARY"]


@pytest.mark.parametrize("zero", [3.0, 128.0, -2.0])
def test_zero_points(zero: float) -> None:
    net = Net((3, 6, 6))
    y = net.conv(net.quant("x", 0.1, 8, zero=zero), 3, 4, bits=4, pads=[1] * 4)
    y = net.quant(net.node("LeakyRelu", y, alpha=0.2), 0.1, 4, zero=2.0)
    same_as_qonnx(net.model(net.quant(net.conv(y, 4, 2, bits=2), 0.2, 4, signed=True)), net.images(3))


@pytest.mark.parametrize("groups", [1, 3])
def test_a_zero_point_that_is_no_integer_is_a_bias(groups: int) -> None:
    net = Net((3, 6, 6))
    y = net.conv(net.quant("x", 0.1, 8, zero=2.5), 3, 3, bits=4, groups=groups)
    same_as_qonnx(net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3))


@pytest.mark.parametrize("version", [1, 2])
def test_trunc_drops_low_bits(version: int) -> None:
    net = Net((2, 4, 4))
    x = net.quant("x", 0.25, 6)
    total = net.node("GlobalAveragePool", x)
    scaled = net.node("Mul", total, net.value(16.0))
    parameters = [0.25, 0.0, 10.0, *([4.0, 6.0] if version == 2 else [6.0])]
    y = net.node(
        "Trunc", scaled, *(net.value(v) for v in parameters), domain="qonnx.custom_op.general", rounding_mode="FLOOR",
        **({"signed": 0} if version == 2 else {}),
    )  # fmt: skip
    model = net.model(y)
    model.opset_import[1].version = version
    same_as_qonnx(model, net.images(4, 5.0))


def test_brevitas_domain() -> None:
    net = Net((2, 4, 4))
    model = net.model(net.quant(net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4), 0.2, 4, signed=True))
    for node in model.graph.node:
        if node.domain:
            node.domain = "onnx.brevitas"
    model.opset_import[1].domain = "onnx.brevitas"
    same_as_qonnx(model, net.images(3))


def test_functions_on_both_sides_of_a_transpose_that_is_taken_back() -> None:
    net = Net((2, 4, 4))
    y = net.node("Relu", net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4))
    y = net.node("Transpose", net.node("Transpose", y, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    same_as_qonnx(net.model(net.quant(net.batchnorm(y, 3), 0.2, 4, signed=True)), net.images(3))


def test_channels_last_graphs() -> None:
    net = Net((5, 6, 3))
    y = net.conv(net.node("Transpose", net.quant("x", 0.5, 4), perm=[0, 3, 1, 2]), 3, 4, bits=2)
    y = net.quant(net.node("Relu", net.batchnorm(y, 4)), 0.3, 2)
    y = net.node("Reshape", net.node("Transpose", y, perm=[0, 2, 3, 1]), net.value([-1, 48], np.int64))
    same_as_qonnx(net.model(net.dense(y, 48, 5)), net.images(4))


@pytest.mark.parametrize("before", ["Pad, Transpose", "Transpose, Pad", "Transpose, Slice"])
def test_channels_last_graphs_that_pad_or_cut_their_images_first(before: str) -> None:
    """As Keras' ZeroPadding2D does."""
    net = Net((5, 6, 3))
    y, corners = net.quant("x", 0.5, 4), ([0, 0], [9, 9], [2, 3], [2, 2])
    for op in before.split(", "):
        if op == "Pad":
            pads = [0, 1, 1, 0] if before.startswith("Pad") else [0, 0, 1, 1]
            y = net.node(op, y, net.value(pads * 2, np.int64))
        elif op == "Slice":
            y = net.node(op, y, *(net.value(v, np.int64) for v in corners))
        else:
            y = net.node(op, y, perm=[0, 3, 1, 2])
    same_as_qonnx(net.model(net.quant(net.conv(y, 3, 4, (2, 2)), 0.3, 4, signed=True)), net.images(3))


def test_one_dimensional_convolutions() -> None:
    net = Net((3, 16))
    y = net.conv(net.quant("x", 0.5, 4), 3, 4, (3,), bits=2, pads=[1, 1], strides=[2])
    y = net.node("MaxPool", net.quant(net.node("Relu", net.batchnorm(y, 4)), 0.3, 2), kernel_shape=[2], strides=[2])
    dataflow = same_as_qonnx(net.model(net.dense(net.node("Flatten", y), 16, 5)), net.images(4)).dataflow
    assert dataflow.inputs[0].shape == (1, 16, 3)


def test_fully_connected_networks() -> None:
    net = Net((1, 4, 4))
    y = net.node("Reshape", net.bipolar(net.node("Sub", "x", net.value(0.1)), 1.0), net.value([-1, 16], np.int64))
    weights = net.node("Transpose", net.weights((8, 16), 1, per_channel=False), perm=[1, 0])
    y = net.bipolar(net.batchnorm(net.node("MatMul", y, weights), 8), 1.0)
    dataflow = same_as_qonnx(net.model(net.dense(y, 8, 4, bits=1)), net.images(20)).dataflow
    assert kinds(dataflow) == {"MVAU": 2, "Thresholding": 1, "LabelSelect": 1}


def classifier(bias: list[float] | None, per_channel: bool = False) -> tuple[Net, onnx.ModelProto]:
    net = Net((6, 1, 1), seed=1)
    x = net.node("Flatten", net.quant("x", 0.125, 4, signed=True))
    weights = net.quant(
        net.value(net.random.integers(-3, 4, (4, 6))), [[1], [2], [3], [4]] if per_channel else 1.0, 3, signed=True
    )
    return net, net.model(net.node("Gemm", x, weights, *([net.value(bias)] if bias else []), transB=1))


@pytest.mark.parametrize(
    ("bias", "added"),
    [
        (None, []),
        ([0.5, 0.5, 0.5, 0.5], []),
        ([0.5, -1.0, 0.0, 2.0], ["add"]),
        ([0.3, -0.31, 0.05, 0.05], ["mul", "add"]),
    ],
)
def test_the_class_is_selected_whatever_the_bias(bias: list[float] | None, added: list[str]) -> None:
    net, model = classifier(bias)
    dataflow = same_as_qonnx(model, net.images(200)).dataflow
    assert [n.function for n in dataflow.layers if isinstance(n, ChannelwiseOp)] == added
    assert isinstance(dataflow.layers[-1], LabelSelect)
    assert execute(dataflow, net.images(5)).shape == (5, 1, 1, 1)


def test_the_class_of_negated_outputs() -> None:
    net, model = classifier([0.5, -1.0, 0.0, 2.0])
    logits = model.graph.output[0].name
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(-0.5), "half"))
    model.graph.node.append(helper.make_node("Mul", [logits, "half"], ["negated"]))
    model.graph.output[0].name = "negated"
    assert isinstance(same_as_qonnx(model, net.images(50)).dataflow.layers[-1], LabelSelect)


@pytest.mark.parametrize("turned", [0, 1])
def test_the_factors_of_a_gemm(turned: int) -> None:
    net = Net((6,))
    weights = net.weights((4, 6) if turned else (6, 4), 4, per_channel=False)
    bias = net.value([0.5, -1.0, 0.0, 2.0])
    y = net.node("Gemm", net.quant("x", 0.25, 4, signed=True), weights, bias, transB=turned, alpha=0.75, beta=-2.0)
    same_as_qonnx(net.model(net.quant(y, 0.2, 6, signed=True)), net.images(50))


def test_scales_that_differ_between_classes_leave_the_choice_to_the_host() -> None:
    net, model = classifier(None, per_channel=True)
    lowered = same_as_qonnx(model, net.images(20))
    assert isinstance(lowered.dataflow.layers[-1], MVAU)
    assert "no LabelSelect" in lowered.notes[0]
    (logits,) = lowered.dataflow.outputs
    np.testing.assert_allclose(logits.scale, 0.125 * np.array([1, 2, 3, 4]))


@pytest.mark.parametrize("last", ["Gemm", "Quant"])
def test_what_the_output_s_integers_stand_for_is_the_graph_s_output(last: str) -> None:
    net = Net((4,))
    y = net.dense(net.quant("x", 0.25, 4, signed=True), 4, 3)
    logits = net.node("Mul", net.quant(y, 0.5, 6, signed=True) if last == "Quant" else y, net.value([3.0, -1.0, 0.25]))
    images, model = net.images(20), net.model(logits)
    dataflow = same_as_qonnx(model, images).dataflow
    (stream,) = dataflow.outputs
    integers = execute(dataflow, images).reshape(-1, 3)
    theirs = qonnx_execution.execute(model, images)[logits]
    np.testing.assert_allclose(stream.scale * integers + stream.bias, theirs, rtol=1e-5, atol=1e-6)


def test_a_quantiser_that_changes_no_integer_says_what_they_stand_for() -> None:
    net = Net((2, 4, 4))
    y = net.node("MaxPool", net.quant("x", 0.25, 4, signed=True), kernel_shape=[2, 2])
    last = net.quant(net.node("Mul", y, net.value(2.0)), 0.5, 4, signed=True)
    (stream,) = same_as_qonnx(net.model(last), net.images(3)).dataflow.outputs
    assert stream.tensor == last
    np.testing.assert_array_equal(stream.scale, [0.5, 0.5])


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax", "ArgMax", "TopK"])
def test_what_ends_a_classifier_is_taken_off(end: str) -> None:
    net, model = classifier([0.5, -1.0, 0.0, 2.0])
    logits = model.graph.output[0].name
    attributes = {"axis": 1} if end != "TopK" else {"axis": 1, "largest": 1}
    inputs, outputs = [logits, *(["one"] if end == "TopK" else [])], ["value", "place"] if end == "TopK" else ["place"]
    model.graph.node.append(helper.make_node(end, inputs, outputs, **attributes))
    if end == "TopK":
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    model.graph.output[0].name = outputs[-1]
    if end in ("ArgMax", "TopK"):
        model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    same_as_qonnx(model, net.images(50))


def test_without_classes_accumulators_leave() -> None:
    _, model = classifier([0.5, -1.0, 0.0, 2.0])
    dataflow = lower(model, classify=False).dataflow
    assert [n.op for n in dataflow.layers] == ["MVAU"]
    np.testing.assert_allclose(dataflow.outputs[0].bias, [0.5, -1.0, 0.0, 2.0])


def test_a_channel_that_a_scale_of_zero_switches_off_is_its_bias() -> None:
    net = Net((2, 4, 4))
    y = net.node("Mul", net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1)), net.value(np.reshape([0, 1, -1], (3, 1, 1))))
    same_as_qonnx(net.model(y), net.images(3))


def test_a_pooled_output_is_compared() -> None:
    net = Net((2, 4, 4))
    y = net.node("MaxPool", net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1)), kernel_shape=[2, 2])
    (stream,) = same_as_qonnx(net.model(y), net.images(3)).dataflow.outputs
    assert stream.tensor == y


def test_thresholds_that_are_not_the_graph_s_are_found() -> None:
    net = Net((2, 4, 4))
    model = net.model(net.quant(net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4), 0.2, 4, signed=True))
    lowered, images = lower(model), net.images(3)
    layer = only(lowered.dataflow, Thresholding)
    wrong = replace(layer, thresholds=layer.thresholds + 1, progression=None)
    dataflow = replace(lowered.dataflow, layers=(*lowered.dataflow.layers[:-1], wrong))
    assert compare(model, lowered, images).equal
    assert not compare(model, replace(lowered, dataflow=dataflow), images).equal


def test_a_network_that_is_not_the_one_lowered_is_found() -> None:
    """Its dataflow is what float64 judges; what qonnx makes is no rounding away."""
    net = Net((2, 4, 4))
    y = net.node("Add", net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4), net.value(0.0))
    model, images = net.model(net.quant(y, 0.2, 4, signed=True)), net.images(3)
    lowered = lower(model)
    (shift,) = [n.input[1] for n in model.graph.node if n.op_type == "Add"]
    next(i for i in model.graph.initializer if i.name == shift).CopyFrom(
        onnx.numpy_helper.from_array(np.float32(0.3), shift)
    )
    assert not compare(model, lowered, images).equal


def test_classes_that_are_not_the_network_s_are_found() -> None:
    net, model = classifier([0.5, -1.0, 0.0, 2.0])
    lowered, logits = lower(model), model.graph.output[0].name
    bias = next(i for i in model.graph.initializer if i.name == model.graph.node[-1].input[2])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([99, -1, 0, 2]), bias.name))
    assert compare(model, lowered, net.images(20)).mismatches[f"{logits}_class"] > 10


def test_what_no_output_needs_is_left_out() -> None:
    net = Net((2, 4, 4))
    x = net.quant("x", 0.5, 4)
    net.quant(net.conv(x, 2, 3, (1, 1)), 0.2, 4)
    y = net.quant(net.conv(x, 2, 3, (1, 1)), 0.2, 4)
    assert kinds(lower(net.model(y)).dataflow) == {"MVAU": 1, "Thresholding": 1}


@pytest.mark.parametrize("name", ["/features.{}/0conv::x", "layer/" * 60 + "{}"])
def test_layers_have_names_that_any_language_and_file_system_takes(name: str) -> None:
    net = Net((2, 4, 4))
    model = net.model(net.quant(net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1)), 0.2, 4))
    for i, node in enumerate(model.graph.node):
        node.name = name.format(i)
    dataflow = lower(model).dataflow
    names = [n.name for n in dataflow.layers] + [s.name for s in dataflow.streams]
    assert all(name.isidentifier() and name.isascii() for name in names)
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 110


def test_no_layer_is_called_as_the_fifo_of_a_stream_will_be() -> None:
    net = Net((2, 4, 4))
    x = net.quant("x", 0.5, 4)
    model = net.model(net.node("Add", net.quant(net.conv(x, 2, 2, (1, 1)), 0.5, 4, signed=True), x))
    model.graph.node[-1].name = f"{x}_1_fifo"
    dataflow = lower(model).dataflow
    with_fifos = insert_fifos(dataflow, {stream.name: 8 for stream in dataflow.streams})
    assert {f"{x}_1_fifo", f"{x}_1_fifo_node"} < {layer.name for layer in with_fifos.layers}


@pytest.mark.parametrize("opset", [9, 13])
def test_batchnorm_and_computed_reshapes_of_older_exporters(opset: int) -> None:
    net = Net((2, 3, 3))
    x = net.quant(net.node("Sub", net.node("Mul", "x", net.value(2.0)), net.value(0.5)), 0.25, 4, signed=True)
    first = net.node("Gather", net.node("Shape", x), net.value(0, np.int64), axis=0)
    first = (
        net.node("Unsqueeze", first, axes=[0]) if opset < 13 else net.node("Unsqueeze", first, net.value([0], np.int64))
    )
    shape = net.node("Concat", first, net.value([-1], np.int64), axis=0)
    weights = net.node("Transpose", net.weights((5, 18), 2), perm=[1, 0])
    y = net.batchnorm(net.node("MatMul", net.node("Reshape", x, shape), weights), 5)
    model = net.model(net.quant(net.node("Relu", y), 0.3, 3), opset, batch=1)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(helper.make_attribute("momentum", 0.9))
    same_as_qonnx(model, net.images(20))


@pytest.mark.parametrize("other", ["a constant", "a branch"])
def test_a_sum_of_two_is_an_add(other: str) -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 3, (1, 1), bits=4)
    beside = net.node("Relu", y) if other == "a branch" else net.value(np.array([1, 0, -2]).reshape(3, 1, 1))
    y = net.conv(net.quant(net.node("Sum", y, beside), 0.3, 4, signed=True), 3, 3, (1, 1), bits=4)
    same_as_qonnx(net.model(net.node("Sum", y, net.value(0.5))), net.images(3))


def test_a_stream_is_added_to_itself_behind_a_quantiser_that_changes_nothing() -> None:
    net = Net((2, 4, 4))
    x = net.quant("x", 0.5, 4)
    y = net.node("Add", x, net.quant(net.node("Relu", x), 0.5, 4))
    dataflow = same_as_qonnx(net.model(net.quant(y, 0.7, 4)), net.images(3)).dataflow
    assert [layer.op for layer in dataflow.layers] == ["DuplicateStreams", "ElementwiseAdd", "Thresholding"]


def test_a_quantised_constant_is_added() -> None:
    net = Net((2, 3, 3))
    y = net.conv(net.quant("x", 0.25, 4), 2, 4, (1, 1), bits=3)
    y = net.node("Add", y, net.quant(net.value(net.random.normal(size=(1, 4, 1, 1))), 0.125, 6, signed=True))
    same_as_qonnx(net.model(net.quant(net.node("Relu", y), 0.3, 3)), net.images(5))


@pytest.mark.parametrize(
    ("name", "low", "high"), [("UINT8", 0, 255), ("INT4", -8, 7), ("BIPOLAR", -1, 1), ("BINARY", 0, 1)]
)
def test_inputs_that_an_annotation_says_to_be_integers(name: str, low: int, high: int) -> None:
    net = Net((2, 3, 3))
    y = net.quant(net.conv(net.node("Div", "x", net.value(16.0)), 2, 4, (1, 1), bits=3), 0.3, 3)
    model = net.model(y)
    entry = onnx.StringStringEntryProto(key="finn_datatype", value=name)
    model.graph.quantization_annotation.append(
        onnx.TensorAnnotation(tensor_name="x", quant_parameter_tensor_names=[entry])
    )
    images = net.random.integers(low, high + 1, (10, 2, 3, 3)).astype(np.float32)
    images[images == 0] = 1 if name == "BIPOLAR" else 0
    dataflow = same_as_qonnx(model, images).dataflow
    (stream,) = dataflow.inputs
    assert stream.type == named("BINARY" if name == "BIPOLAR" else name)
    sent = stream.scale * prepare(dataflow, images) + stream.bias
    np.testing.assert_array_equal(sent, images.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("rows", [1, 4])
def test_finn_s_own_thresholds(rows: int) -> None:
    net = Net((2, 3, 3))
    y = net.conv(net.quant("x", 0.25, 4), 2, 4, (1, 1), bits=3)
    thresholds = net.value(np.sort(net.random.normal(size=(rows, 5)), axis=1))
    grid = {"out_scale": 0.5, "out_bias": -1.0, "out_dtype": "INT4"}
    y = net.node("MultiThreshold", y, thresholds, domain="qonnx.custom_op.general", **grid)
    same_as_qonnx(net.model(net.quant(net.conv(y, 4, 2, (1, 1), bits=2), 0.3, 4, signed=True)), net.images(5))
