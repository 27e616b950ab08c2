"""What cannot become hardware is refused in one sentence that names the node and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from hls_backend import LoweringError, lower
from passes.errors import ModelError, UserError
from tests.hls_backend.graphs import Net


def refused(model: onnx.ModelProto) -> str:
    with pytest.raises(UserError) as raised:
        lower(model)
    text = str(raised.value)
    assert text.endswith("."), "one sentence"
    assert "\n" not in text
    return text


def test_a_float_network() -> None:
    net = Net((2, 4, 4))
    weights = net.value(net.random.normal(size=(2, 2, 1, 1)))
    with pytest.raises(ModelError, match=r"holds floats only.*graphops quantize"):
        lower(net.model(net.node("Conv", "x", weights)))


def test_float_weights() -> None:
    net = Net((2, 4, 4))
    weights = net.value(net.random.normal(size=(2, 2, 1, 1)))
    text = refused(net.model(net.node("Conv", net.quant("x", 0.5, 4), weights)))
    assert re.search(r"Conv 'n_conv1' .*weights 'c0' are floats; put a Quant on them", text)


def test_a_float_input() -> None:
    net = Net((2, 4, 4))
    text = refused(net.model(net.conv("x", 2, 2, (1, 1))))
    assert re.search(r"Conv 'n_conv1' .*its input 'x' is not quantised; put a Quant on the graph's input", text)


def test_a_float_between_two_convolutions() -> None:
    net = Net((2, 4, 4))
    y = net.node("Relu", net.batchnorm(net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1)), 2))
    text = refused(net.model(net.conv(y, 2, 2, (1, 1))))
    assert re.search(r"Conv 'n_conv6' .*made by Relu 'n_relu4' after the last quantiser; put a Quant after Relu", text)


def test_a_join_of_unequal_scales() -> None:
    net = Net((2, 4, 4))
    x = net.quant("x", 0.5, 4)
    y = net.quant(net.conv(x, 2, 2, (1, 1)), 0.25, 4, signed=True)
    text = refused(net.model(net.node("Add", y, x)))
    assert re.search(r"Add 'n_add4' .*scales of 'quant3' \(0.25\) and 'quant0' \(0.5\) differ; give .* one scale", text)


def test_a_join_of_different_shapes() -> None:
    net = Net((2, 4, 4))
    x = net.quant("x", 0.5, 4)
    pooled = net.quant(net.node("GlobalAveragePool", x), 0.5, 4)
    assert "FINN adds streams of one shape only" in refused(net.model(net.node("Add", x, pooled)))


@pytest.mark.parametrize(
    ("operator", "said"),
    [("Add", "it adds tensors whose axes are N, H, W, C and N, C, H, W"), ("Mul", "two streams of their own")],
)
def test_a_tensor_and_itself_transposed(operator: str, said: str) -> None:
    """Of one size, but of other pixels."""
    net = Net((4, 4, 4))
    x = net.quant("x", 0.5, 4)
    turned = net.node("Transpose", x, perm=[0, 2, 3, 1])
    other = net.quant(net.conv(x, 4, 4, (1, 1)), 0.5, 4) if operator == "Add" else x
    assert said in refused(net.model(net.quant(net.node(operator, turned, other), 0.5, 4)))


def test_a_gemm_that_transposes_its_data() -> None:
    net = Net((8,))
    made = net.node("Gemm", net.quant("x", 0.5, 4), net.weights((8, 8), 4), transA=1)
    assert "its input is no vector an image; flatten images before it" in refused(net.model(made, batch=8))


@pytest.mark.parametrize("function", ["Abs", "Cos", "Mish", "Selu"])
def test_functions_that_rise_and_fall(function: str) -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4, signed=True), 2, 2, (1, 1), bits=4)
    if function == "Mish":
        y = net.node("Mul", y, net.node("Tanh", net.node("Softplus", y)))
    else:
        y = net.node(function, y, **({"alpha": -1.0} if function == "Selu" else {}))
    text = refused(net.model(net.quant(y, 0.02, 8, signed=True)))
    assert "it rises and falls, and thresholds only count upwards; use ReLU" in text
    assert ("Mul" if function == "Mish" else function) in text


@pytest.mark.parametrize("function", ["Log", "Sqrt"])
def test_functions_that_are_not_defined_everywhere(function: str) -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4, signed=True), 2, 2, (1, 1), bits=4)
    y = net.node("Relu", net.node(function, net.node("HardSwish", net.node("Mul", y, net.value(0.5)))))
    text = refused(net.model(net.quant(y, 0.02, 8)))
    assert re.match(f"{function} .* it makes no number of some integers that it may be given; put a Clip", text)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda net, x: net.node("Resize", x, "", net.value([1, 1, 2, 2])), "Resize"),
        (lambda net, x: net.node("Concat", x, x, axis=1), "Concat"),
        (lambda net, x: net.node("InstanceNormalization", x, net.value([1, 1]), net.value([0, 0])), "InstanceNormal"),
        (lambda net, x: net.node("ConvTranspose", x, net.weights((2, 2, 2, 2), 4)), "ConvTranspose"),
    ],
)
def test_operators_that_finn_does_not_have(make: Callable[[Net, str], str], named: str) -> None:
    net = Net((2, 4, 4))
    text = refused(net.model(net.quant(make(net, net.quant("x", 0.5, 4)), 0.5, 4)))
    assert f"FINN has no counterpart of {named}" in text


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "said"),
    [
        ("Pad", [[0, 0, 1, 1] * 2, 1.0], {}, "it does more than add zeros"),
        ("Pad", [[0, 0, 1, 1] * 2], {"mode": "reflect"}, "it does more than add zeros"),
        ("Pad", [[0, 0, -1, 0, 0, 0, 0, 0]], {}, "it does more than add zeros"),
        ("Pad", [[1, 0, 0, 0] * 2], {}, "it pads the batch"),
        ("Slice", [[0], [3], [2]], {}, "it cuts axis H from 0 to 3"),
        ("Slice", [[1], [9], [3]], {}, "it cuts axis W from 1 to 9"),
        ("Slice", [[0], [9], [1], [2]], {}, "it cuts axis C from 0 to 9"),
        ("Slice", [[0], [9], [2], [-1]], {}, "it cuts axis H from 0 to 9"),
        ("Transpose", [], {"perm": [1, 0, 2, 3]}, "it moves the batch axis"),
        ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, "gives it a partial window"),
        ("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}, "its window is dilated"),
        ("AveragePool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}, "its window is dilated"),
        ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1] * 4}, "it counts no padding"),
        ("ReduceMean", [[1]], {}, "it averages over C"),
    ],
)
def test_operators_that_do_more_than_hardware(
    operator: str, inputs: list[Any], attributes: dict[str, Any], said: str
) -> None:
    """Read as the simpler ones, they would give other integers."""
    net = Net((2, 4, 4))
    read = [net.value(v, np.float32 if isinstance(v, float) else np.int64) for v in inputs]
    y = net.node(operator, net.quant("x", 0.5, 4), *read, **attributes)
    assert said in refused(net.model(net.quant(y, 0.5, 4), opset=19))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda net, x: net.node("Pad", x, net.value([0, 0, 1, 1] * 2, np.int64)), "it does more than add zeros"),
        (lambda net, x: net.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1), "padding"),
    ],
)
def test_zeros_beside_a_grid_without_zero(make: Callable[[Net, str], str], said: str) -> None:
    net = Net((2, 4, 4))
    assert said in refused(net.model(make(net, net.quant("x", 0.5, 4, zero=2.5))))


def test_weights_on_a_grid_without_zero() -> None:
    net = Net((2, 4, 4))
    weights = net.quant(net.value(net.random.normal(size=(3, 2, 1, 1))), 0.1, 4, signed=True, zero=0.5)
    text = refused(net.model(net.node("Conv", net.quant("x", 0.5, 4), weights)))
    assert "zero is not on its grid; give weights an integral zero point" in text


def test_weights_quantised_twice() -> None:
    net = Net((2, 4, 4))
    weights = net.quant(net.weights((3, 2, 1, 1), 4), 0.1, 4, signed=True)
    text = refused(net.model(net.node("Conv", net.quant("x", 0.5, 4), weights)))
    assert "it quantises what is quantised; keep one of the two quantisers" in text


def test_truncation_to_other_bits_on_some_channels() -> None:
    net = Net((2, 4, 4))
    grid = [net.value(v) for v in (0.25, 0.0, 6.0, np.reshape([0.5, 1.0], (2, 1, 1)), 4.0)]
    y = net.node("Trunc", net.quant("x", 0.25, 6), *grid, domain="qonnx.custom_op.general", rounding_mode="FLOOR")
    assert "it drops more bits of some channels; give it one scale" in refused(net.model(y))


def test_an_input_truncated_to_no_bounds() -> None:
    net = Net((2, 4, 4))
    grid = [net.value(v) for v in (0.25, 0.0, 6.0, 4.0)]
    x = net.node("Trunc", "x", *grid, domain="qonnx.custom_op.general", rounding_mode="FLOOR")
    text = refused(net.model(net.conv(x, 2, 2, (1, 1))))
    assert "it sets no bounds to the input's integers; put a Quant before it" in text


@pytest.mark.parametrize(("thresholds", "scale"), [([[1, 3, 2]], 1.0), ([[1, 2, 3]], -1.0)])
def test_thresholds_that_do_not_rise(thresholds: list[list[int]], scale: float) -> None:
    net = Net((2, 4, 4))
    y, grid = net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1)), {"out_dtype": "UINT2", "out_scale": scale}
    made = net.node("MultiThreshold", y, net.value(thresholds), domain="qonnx.custom_op.general", **grid)
    assert "its thresholds do not rise; sort each channel's" in refused(net.model(made))


def test_products_of_two_streams() -> None:
    net = Net((2, 4, 4))
    x = net.quant("x", 0.5, 4)
    y = net.quant(net.conv(x, 2, 2, (1, 1)), 0.5, 4)
    assert "two streams of their own" in refused(net.model(net.quant(net.node("Mul", x, y), 0.5, 4)))


def test_bipolar_activations_before_zero_padding() -> None:
    net = Net((2, 4, 4))
    x = net.bipolar("x", 1.0)
    text = refused(net.model(net.quant(net.conv(x, 2, 2, pads=[1] * 4), 0.5, 4)))
    assert re.search(
        r"Conv 'n_conv2' .*pads with zeros.* unsigned activations of 1 bit \(Quant\) in place of Bip", text
    )


def test_max_pooling_that_pads_what_can_be_negative() -> None:
    net = Net((2, 4, 4))
    y = net.node("MaxPool", net.quant("x", 0.5, 4, signed=True), kernel_shape=[3, 3], pads=[1] * 4)
    assert "pads integers that can be negative; put a ReLU" in refused(net.model(net.conv(y, 2, 2, (1, 1))))


def test_scales_that_differ_between_the_inputs_of_a_sum() -> None:
    net = Net((2, 4, 4))
    x = net.batchnorm(net.quant("x", 0.5, 4), 2)
    text = refused(net.model(net.quant(net.conv(x, 2, 2, (1, 1)), 0.5, 4)))
    assert "the scale of its input 'batchnormalization1' differs between channels" in text


def test_weights_whose_scale_differs_between_inputs() -> None:
    net = Net((2, 4, 4))
    weights = net.quant(net.value(net.random.normal(size=(3, 2, 1, 1))), [[[[0.1]], [[0.2]]]], 4, signed=True)
    text = refused(net.model(net.node("Conv", net.quant("x", 0.5, 4), weights)))
    assert "scale of its weights differs between inputs" in text


def test_two_quantisers_of_the_input() -> None:
    net = Net((2, 4, 4))
    a, b = net.quant("x", 0.5, 4), net.quant("x", 0.25, 4)
    text = refused(net.model(net.node("Add", a, net.quant(net.conv(b, 2, 2, (1, 1)), 0.5, 4))))
    assert "quantise the input once, before it forks" in text


def test_two_inputs() -> None:
    net = Net((2, 4, 4))
    model = net.model(net.node("Add", net.quant("x", 0.5, 4), net.quant("z", 0.5, 4)))
    model.graph.input.append(helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["N", 2, 4, 4]))
    assert refused(model) == "The model has 2 inputs; a dataflow has one."


def test_an_output_that_no_quantiser_feeds() -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1))
    assert "put a Quant after it" in refused(net.model(net.node("Relu", y)))


def test_sizes_that_are_not_known() -> None:
    net = Net((2, 4, 4))
    model = net.model(net.quant(net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1)), 0.5, 4))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"
    assert "shape of 'quant0' is not known; fix the sizes of the input" in refused(model)


def test_integer_operators() -> None:
    net = Net((2, 4, 4))
    net.value(0, np.uint8)
    node = net.node("ConvInteger", "x", net.value(np.ones((2, 2, 1, 1)), np.uint8))
    assert "export the network in QDQ format" in refused(net.model(node))


def test_integer_operators_between_quantisers() -> None:
    """As onnxruntime writes its other format: the QuantizeLinear before them is half of a pair, but not at fault."""
    net = Net((2, 4, 4))
    grid = [net.value(0.5), net.value(0, np.uint8)]
    weights = net.value(np.ones((2, 2, 1, 1)), np.uint8)
    made = net.node("QLinearConv", net.node("QuantizeLinear", "x", *grid), *grid, weights, *grid, *grid)
    text = refused(net.model(net.node("DequantizeLinear", made, *grid)))
    assert text.startswith("QLinearConv ")
    assert "export the network in QDQ format" in text


def test_too_many_levels() -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 8), 2, 2, (3, 3), bits=8)
    text = refused(net.model(net.quant(y, 0.001, 16, signed=True)))
    assert "levels of an accumulator; quantise activations to 8 bits" in text


def test_a_level_more_than_the_search_has_stages_for() -> None:
    net = Net((1,))
    y = net.node("MatMul", net.quant("x", 1.0, 11), net.value([[1.0]]))
    assert "it makes 1025 levels" in refused(net.model(net.quant(y, 2.0, 16)))


def test_scales_that_make_no_grid() -> None:
    net = Net((2, 4, 4))
    assert "its scale is not positive" in refused(net.model(net.quant("x", 0.0, 4)))
    net = Net((2, 4, 4))
    scale = net.node("ReduceMax", "x")
    zero, bits = net.value(0), net.value(4)
    text = refused(net.model(net.node("Quant", "x", scale, zero, bits, domain="qonnx.custom_op.general")))
    assert "its scale is not constant; freeze the quantisers" in text


def test_a_refusal_is_an_error_of_the_user() -> None:
    error = LoweringError("Add 'a'", "it cannot", "mend it")
    assert isinstance(error, UserError)
    assert str(error) == "Add 'a' cannot become hardware: it cannot; mend it."


def test_a_window_larger_than_its_image() -> None:
    net = Net((2, 2, 2))
    text = refused(net.model(net.conv(net.quant("x", 0.5, 4), 2, 2, (3, 3))))
    assert "its window of 3 x 3 does not fit into an image of 2 x 2" in text


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(3, 2, 1), (2, 3, 2)])
def test_weights_for_other_channels(inputs: int, outputs: int, groups: int) -> None:
    net = Net((2, 4, 4))
    weights = net.weights((outputs, inputs // groups, 1, 1), 2)
    text = refused(net.model(net.node("Conv", net.quant("x", 0.5, 4), weights, group=groups)))
    said = f"its weights {[outputs, inputs // groups, 1, 1]} in {groups} groups do not fit an input of 2 channels"
    assert said in text


def test_an_image_larger_than_any() -> None:
    net = Net((2, 2**15, 2**15))
    text = refused(net.model(net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1))))
    assert "it makes 2,147,483,648 integers an image" in text


def test_a_weight_of_no_type() -> None:
    net = Net((2, 4, 4))
    model = net.model(net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1)))
    next(i for i in model.graph.initializer if len(i.dims) == 4).data_type = 1000
    assert "is of a type that ONNX does not have, 1000" in refused(model)


@pytest.mark.parametrize("pooling", ["GlobalAveragePool", "GlobalMaxPool"])
def test_pooling_images_whose_channels_come_last(pooling: str) -> None:
    net = Net((2, 4, 4))
    y = net.quant(net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1)), 0.5, 4)
    text = refused(net.model(net.node(pooling, net.node("Transpose", y, perm=[0, 2, 3, 1]))))
    assert "it slides over a tensor of axes N, H, W, C; keep images as N, C, H, W" in text


def test_pooling_vectors() -> None:
    net = Net((8,))
    text = refused(net.model(net.node("GlobalAveragePool", net.quant("x", 0.5, 4))))
    assert "it slides over a tensor of axes N, C; keep images" in text


def test_a_model_without_a_layer() -> None:
    net = Net((3, 4, 4))
    text = refused(net.model(net.node("Flatten", net.quant("x", 0.5, 4))))
    assert text == "The model does no more than quantise its input, which is the host's part; give it a layer."


def test_products_that_begin_with_the_weights() -> None:
    net = Net((8,))
    text = refused(net.model(net.node("MatMul", net.weights((8, 8), 4), net.quant("x", 0.5, 4))))
    assert "its input 'quant0' is a constant; put what comes from the image first" in text


def test_a_squeeze_without_axes() -> None:
    net = Net((8, 4, 4))
    pooled = net.node("GlobalAveragePool", net.quant("x", 0.5, 4))
    text = refused(net.model(net.dense(net.node("Squeeze", pooled), 8, 3)))
    assert "it takes the batch axis away; keep the batch first; a Squeeze needs axes" in text


@pytest.mark.parametrize("operator", ["Conv", "MaxPool"])
def test_automatic_padding_that_crops(operator: str) -> None:
    """As onnxruntime does where a window moves by two pixels more than it is wide."""
    net = Net((2, 6, 6))
    x, found = net.quant("x", 0.5, 4), {"auto_pad": "SAME_UPPER", "strides": [3, 3], "kernel_shape": [1, 1]}
    y = net.conv(x, 2, 2, (1, 1), **found) if operator == "Conv" else net.node("MaxPool", x, **found)
    assert "its pads are negative; crop outside of the network" in refused(net.model(net.quant(y, 0.5, 4)))


@pytest.mark.parametrize("shape", [(8,), (1, 8, 5)])
def test_products_with_what_is_no_matrix(shape: tuple[int, ...]) -> None:
    net = Net((8,))
    text = refused(net.model(net.node("MatMul", net.quant("x", 0.5, 4), net.weights(shape, 4, per_channel=False))))
    assert f"its weights are {list(shape)}; give it one matrix" in text


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"mode": "FOO"}, "nobody knows its rounding mode 'FOO'; use ROUND"),
        ({"bits": np.nan}, "its bit width is no finite number"),
        ({"bits": 64}, "its bit width is [64.0]; give it one whole number of bits, 32 at most"),
        ({"scale": np.inf}, "its scale is no finite number"),
        ({"zero": np.nan}, "its zero point is no finite number"),
    ],
)
def test_parameters_that_make_no_quantiser(parameters: dict[str, Any], said: str) -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1))
    assert said in refused(net.model(net.quant(y, **{"scale": 0.5, "bits": 4, **parameters})))


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("XYZ", "its data layout 'XYZ' has no channels; name one such as NCHW"),
        ("NHWC", "its data layout is not that of its input, N, C, H, W; make them agree"),
    ],
)
def test_thresholds_whose_channels_are_not_found(layout: str, said: str) -> None:
    net = Net((2, 4, 4))
    y = net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1))
    domain, thresholds = "qonnx.custom_op.general", net.value([[1, 2, 3], [2, 3, 4]])
    made = net.node("MultiThreshold", y, thresholds, domain=domain, out_dtype="UINT2", data_layout=layout)
    assert said in refused(net.model(made))


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["weights", "bias", "batch norm"])
def test_what_a_diverged_training_leaves(part: str, number: float) -> None:
    net = Net((2, 4, 4))
    x, broken = net.quant("x", 0.5, 4), net.value(np.full((2, 2, 1, 1) if part == "weights" else 2, number))
    weights = net.quant(broken, 0.1, 4, signed=True) if part == "weights" else net.weights((2, 2, 1, 1), 4)
    y = net.node("Conv", x, weights, *([broken] if part == "bias" else []))
    if part == "batch norm":
        ones = net.value([1, 1])
        y = net.node("BatchNormalization", y, broken, ones, ones, ones)
    text = refused(net.model(net.quant(y, 0.5, 4)))
    assert text.startswith(f"The constant {broken!r} cannot become hardware: it holds numbers that are not finite")


def test_sums_beyond_exact_arithmetic() -> None:
    net = Net((64,))
    text = refused(net.model(net.dense(net.quant("x", 1e-4, 32), 64, 4, bits=24)))
    assert re.search(r"The stream 'quant0' .* sum up to 1.\de\+18, and 9e\+15 is the most; use fewer bits", text)


def test_the_class_of_one() -> None:
    net = Net((8,))
    text = refused(net.model(net.node("ArgMax", net.dense(net.quant("x", 0.5, 4), 8, 1), axis=1)))
    assert text == "ArgMax that makes 'argmax3' cannot become hardware: its input is of one class; take it off."


def test_the_last_of_the_largest() -> None:
    net = Net((8,))
    logits = net.dense(net.quant("x", 0.5, 4), 8, 3)
    text = refused(net.model(net.node("ArgMax", logits, axis=1, select_last_index=1)))
    assert "it does more than pick the class of the largest output" in text


@pytest.mark.parametrize(("count", "output", "largest"), [(2, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_the_largest_values(count: int, output: int, largest: int) -> None:
    net = Net((8,))
    logits, names = net.dense(net.quant("x", 0.5, 4), 8, 3), ["values", "places"]
    model = net.model(logits)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([count]), "count"))
    model.graph.node.append(helper.make_node("TopK", [logits, "count"], names, name="top", largest=largest))
    model.graph.output[0].name = names[output]
    assert "TopK 'top' cannot become hardware: it does more than pick the class of the largest" in refused(model)


def test_the_largest_of_an_image() -> None:
    net = Net((2, 4, 4))
    y = net.node("Flatten", net.conv(net.quant("x", 0.5, 4), 2, 2, (1, 1)))
    text = refused(net.model(net.node("ArgMax", y, axis=1)))
    assert "its input is a flattened image, and a class is one channel of one pixel; take it off" in text


def test_the_class_of_scales_that_differ() -> None:
    net = Net((8,))
    text = refused(net.model(net.node("ArgMax", net.dense(net.quant("x", 0.5, 4), 8, 3, per_channel=True), axis=1)))
    assert "its input's scales differ between classes; take it off" in text
