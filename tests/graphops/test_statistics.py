"""What a model costs, on graphs small enough to count by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops.models import build
from graphops.statistics import joins_left, macs, operators, parameters, skip_buffer_bits
from passes.errors import ModelError
from passes.skips import find_skips

IMAGE = ["N", 3, 8, 8]


def model(
    *nodes: onnx.NodeProto, x: list[Any] = IMAGE, opsets: tuple[str, ...] = (), **weights: np.ndarray
) -> onnx.ModelProto:
    """A model from ``x``, of that shape, to ``y``."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in opsets)]
    return helper.make_model(graph, ir_version=8, opset_imports=imports)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], **attributes)


CONV = node("Conv", "x w b", strides=[2, 2], pads=[1, 1, 1, 1])


def test_a_convolution() -> None:
    conv = model(CONV, w=floats(4, 3, 3, 3), b=floats(4))
    assert parameters(conv) == 4 * 27 + 4
    assert macs(conv) == 4 * 4 * 4 * 27  # a 4x4 map of 4 channels
    assert operators(conv) == {"Conv": 1}


def test_a_grouped_convolution() -> None:
    conv = model(node("Conv", "x w", group=3), w=floats(6, 1, 3, 3))
    assert macs(conv) == 6 * 6 * 6 * 9


def test_a_transposed_convolution() -> None:
    up = model(node("ConvTranspose", "x w", strides=[2, 2]), w=floats(3, 5, 2, 2))
    assert parameters(up) == 60
    assert macs(up) == 3 * 64 * 5 * 4  # each input value meets 5 kernels of 2x2


@pytest.mark.parametrize(
    ("layer", "x", "weight", "expected"),
    [
        (node("QLinearConv", "x xs xz w ws wz ys yz"), IMAGE, (4, 3, 3, 3), (4 * 27, 4 * 36 * 27)),
        (node("ConvInteger", "x w"), IMAGE, (4, 3, 3, 3), (4 * 27, 4 * 36 * 27)),
        (node("QLinearMatMul", "x xs xz w ws wz ys yz"), ["N", 10, 6], (6, 4), (24, 240)),
        (node("MatMulInteger", "x w"), ["N", 10, 6], (6, 4), (24, 240)),
        (node("Gemm", "x w", transA=1), ["N", 5], (1, 7), (7, 35)),
        (node("PRelu", "x w"), IMAGE, (3, 1, 1), (3, 0)),
        (node("LayerNormalization", "x w w"), ["N", 6], (6,), (6, 0)),
        (node("InstanceNormalization", "x w w"), IMAGE, (3,), (3, 0)),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_layers_of_other_kinds(
    layer: onnx.NodeProto, x: list[Any], weight: tuple[int, ...], expected: tuple[int, int]
) -> None:
    kind = TensorProto.UINT8 if layer.op_type.startswith(("QLinear", "ConvI", "MatMulI")) else TensorProto.FLOAT
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    points = {name: np.zeros((), np.uint8) for name in ("xz", "wz", "yz")}
    scales = {name: np.ones((), np.float32) for name in ("xs", "ws", "ys")}
    graph = model(layer, x=x, w=np.ones(weight, dtype), **points, **scales)
    graph.graph.input[0].type.tensor_type.elem_type = kind
    assert (parameters(graph), macs(graph)) == expected


def test_an_embedding_counts_and_multiplies_nothing() -> None:
    graph = model(node("Gather", "w x"), x=["N", 6], w=floats(50, 4))
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert (parameters(graph), macs(graph)) == (200, 0)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_fully_connected_layer(transposed: int) -> None:
    weight = floats(7, 5) if transposed else floats(5, 7)
    gemm = model(node("Gemm", "x w b", transB=transposed), x=["N", 5], w=weight, b=floats(7))
    assert parameters(gemm) == 42
    assert macs(gemm) == 35


def test_matrix_products_with_weights_and_with_data() -> None:
    product = model(node("MatMul", "x w"), x=["N", 10, 6], w=floats(6, 4))
    assert (parameters(product), macs(product)) == (24, 10 * 6 * 4)
    square = model(node("MatMul", "x x"), x=["N", 6, 6])
    assert (parameters(square), macs(square)) == (0, 6 * 6 * 6)
    vector = model(node("MatMul", "x w"), x=["N", 10, 6], w=floats(6))
    assert (parameters(vector), macs(vector)) == (6, 10 * 6)


def test_a_fixed_batch_counts_once() -> None:
    assert macs(model(CONV, x=[5, 3, 8, 8], w=floats(4, 3, 3, 3), b=floats(4))) == 4 * 4 * 4 * 27


def test_a_batch_without_a_name_and_one_inside_a_reshape_count_once() -> None:
    layers = [node("Reshape", "x shape", "flat"), node("MatMul", "flat w")]
    nameless = model(*layers, x=[None, 10, 6], shape=np.array([-1, 6]), w=floats(6, 4))
    assert macs(nameless) == 10 * 6 * 4


def test_running_statistics_are_no_parameters() -> None:
    norm = model(node("BatchNormalization", "x s b m v"), s=floats(3), b=floats(3), m=floats(3), v=floats(3))
    assert parameters(norm) == 6


def test_a_shared_weight_counts_once_but_works_twice() -> None:
    twice = model(node("Gemm", "x w", "z"), node("Gemm", "z w"), x=["N", 5], w=floats(5, 5))
    assert (parameters(twice), macs(twice)) == (25, 50)


def test_added_and_multiplied_constants_count_but_scalars_and_normalisation_do_not() -> None:
    graph = model(
        node("Sub", "x mean", "a"),
        node("Div", "a std", "b"),
        node("Mul", "b gate", "c"),
        node("Mul", "c layerscale", "d"),
        node("Add", "d bias", "e"),
        node("Clip", "e low", "y"),
        mean=floats(3, 1, 1),
        std=floats(3, 1, 1),
        gate=floats(),
        layerscale=floats(3, 1, 1),
        bias=floats(3, 1, 1),
        low=floats(),
    )
    assert parameters(graph) == 6


def test_weights_that_are_cast_reshaped_or_quantised_count() -> None:
    graph = model(
        node("Cast", "half", "w1", to=TensorProto.FLOAT),
        node("Reshape", "w1 shape", "w2"),
        node("Quant", "w2 scale zero bits", "w3", domain="qonnx.custom_op.general"),
        node("Conv", "x w3"),
        opsets=("qonnx.custom_op.general",),
        half=np.ones((2, 27), np.float16),
        shape=np.array([2, 3, 3, 3]),
        scale=floats(2, 1, 1, 1),
        zero=floats(),
        bits=floats(),
    )
    assert parameters(graph) == 54
    assert macs(graph) == 2 * 36 * 27
    assert operators(graph)["qonnx.custom_op.general.Quant"] == 1


def test_an_unknown_shape_is_said() -> None:
    with pytest.raises(ModelError, match=r"The shape of 'y' at Conv that makes 'y' cannot be inferred"):
        macs(model(CONV, x=["N", 3, "H", "W"], w=floats(4, 3, 3, 3), b=floats(4)))
    with pytest.raises(ModelError, match=r"The shape of 'x' at Gemm that makes 'y' cannot be inferred"):
        macs(model(node("Gemm", "x w"), x=[], w=floats(2, 2)))


def test_functions_are_looked_into() -> None:
    body = helper.make_function(
        "local", "Layer", ["i", "k"], ["o"], [node("Conv", "i k", "o")], [helper.make_opsetid("", 17)]
    )
    called = model(node("Layer", "x w", domain="local"), opsets=("local",), w=floats(4, 3, 3, 3))
    called.functions.append(body)
    assert (parameters(called), macs(called)) == (108, 4 * 36 * 27)
    assert operators(called) == {"local.Layer": 1}


def test_joins_are_additions_of_two_tensors_of_data() -> None:
    graph = model(
        node("Relu", "x", "a"),
        node("Add", "a x", "b"),
        node("Add", "b bias", "c"),
        node("Sum", "c a", "d"),
        node("Sum", "d a x", "e"),
        node("Mul", "e a"),
        bias=floats(3, 1, 1),
    )
    assert joins_left(graph) == 2


def test_the_networks_costs() -> None:
    full, short, none = build("resnet20"), build("shortresnet20"), build("nonresnet20")
    assert [joins_left(net) for net in (full, short, none)] == [9, 9, 0]
    assert parameters(full) == parameters(short) == parameters(none) == 269_722
    assert macs(full) == macs(short) == macs(none) == 40_551_040
    assert skip_buffer_bits(none) == 0
    assert 0 < skip_buffer_bits(short) < skip_buffer_bits(full)
    assert skip_buffer_bits(full) == sum(skip.streaming_bits or 0 for skip in find_skips(full))
    assert skip_buffer_bits(full, bits=4) * 8 == skip_buffer_bits(full, bits=32)


def test_a_buffer_of_unknown_shape_is_said() -> None:
    net = build("resnet8")
    for dim in net.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "size"
    with pytest.raises(ModelError, match="The buffer of skip 1 is unknown"):
        skip_buffer_bits(net)


def test_the_published_resnet20(published_resnet20: onnx.ModelProto) -> None:
    assert parameters(published_resnet20) == 269_722
    assert macs(published_resnet20) == 40_551_040
    assert joins_left(published_resnet20) == 9
