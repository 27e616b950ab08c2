"""`fold-batchnorm`: the layer takes over what the BatchNormalization after it made."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from graphops.models import build
from passes import FoldBatchNorm, ModelError
from tests.passes.net import Net, assert_same_function, count, weights_of


def folded(net: Net, tolerance: float = 1e-5) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The network before and after, proved to be one function, with no BatchNormalization left."""
    model = net.model()
    result = FoldBatchNorm().apply(model)
    assert result.changed
    assert result.notes == ()
    assert count(result.model, "BatchNormalization") == 0
    assert_same_function(model, result.model, tolerance)
    return model, result.model


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15, 17, 21])
@pytest.mark.parametrize("bias", [True, False])
def test_conv(opset: int, bias: bool) -> None:
    net = Net(opset=opset)
    net.output(net.bn(net.conv(net.input(["N", 3, 9, 9]), 3, 5, bias=bias), 5))
    folded(net)


@pytest.mark.parametrize(("rank", "size"), [(1, [12]), (2, [7, 8]), (3, [4, 5, 6])])
@pytest.mark.parametrize("group", [1, 2, 4])
def test_ranks_and_groups(rank: int, size: list[int], group: int) -> None:
    net = Net()
    net.output(net.bn(net.conv(net.input(["N", 4, *size]), 4, 8, rank=rank, group=group, strides=[2] * rank), 8))
    folded(net)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_conv(group: int, bias: bool) -> None:
    net = Net()
    parts = [net.input(["N", 4, 5, 5]), net.weight([4, 6 // group, 3, 3])] + ([net.vector(6)] if bias else [])
    net.output(net.bn(net.op("ConvTranspose", parts, group=group, strides=[2, 2]), 6))
    folded(net)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize(("opset", "bias"), [(9, [6]), (9, []), (13, None), (13, [6]), (13, [1, 6]), (13, [1])])
def test_gemm(turned: int, opset: int, bias: list[int] | None) -> None:
    net = Net(opset=opset)
    x, weight = net.input(["N", 4]), net.weight([6, 4] if turned else [4, 6])
    parts = [x, weight] + ([] if bias is None else [net.constant(net.random.standard_normal(bias))])
    net.output(net.bn(net.op("Gemm", parts, alpha=0.5, beta=3.0, transB=turned), 6))
    folded(net)


@pytest.mark.parametrize("bias", [True, False])
def test_matmul_gets_an_add_for_the_shift(bias: bool) -> None:
    net = Net()
    y = net.op("MatMul", [net.input(["N", 4]), net.weight([4, 6])])
    if bias:
        y = net.op("Add", [net.constant(np.ones((1, 6))), y])
    net.output(net.bn(y, 6))
    _, after = folded(net)
    assert [n.op_type for n in after.graph.node] == ["MatMul", "Add"]


def test_an_added_constant_between_goes_into_the_bias() -> None:
    net = Net()
    y = net.op("Add", [net.conv(net.input(["N", 3, 9, 9]), 3, 5), net.constant(np.ones((5, 1, 1)))])
    net.output(net.bn(y, 5))
    _, after = folded(net)
    assert [n.op_type for n in after.graph.node] == ["Conv"]


def test_two_in_a_row() -> None:
    net = Net()
    net.output(net.bn(net.bn(net.conv(net.input(["N", 3, 9, 9]), 3, 5), 5), 5))
    folded(net)


def test_scale_zero() -> None:
    net = Net()
    y = net.conv(net.input(["N", 3, 9, 9]), 3, 2)
    zero = [net.constant(np.zeros(2)), net.vector(2), net.vector(2), net.constant(np.ones(2))]
    net.output(net.op("BatchNormalization", [y, *zero]))
    folded(net)


@pytest.mark.parametrize(
    ("weights", "opset"), [("constant", 9), ("half", 13), ("int8", 10), ("int8", 17), ("int8", 21)]
)
def test_computed_weights_become_initialisers(weights: str, opset: int) -> None:
    net = Net(weights=weights, opset=opset)
    net.output(net.bn(net.conv(net.input(["N", 3, 9, 9]), 3, 5), 5))
    _, after = folded(net)
    assert [n.op_type for n in after.graph.node] == ["Conv"]
    assert weights_of(after)[after.graph.node[0].input[1]].dtype == np.float32


def test_half_precision() -> None:
    net = Net(dtype=np.float16)
    net.output(net.bn(net.conv(net.input(["N", 3, 9, 9]), 3, 5), 5))
    _, after = folded(net, tolerance=5e-3)
    assert {v.dtype for v in weights_of(after).values()} == {np.dtype(np.float16)}


def test_shared_weights_are_copied_first() -> None:
    net = Net()
    x, weight = net.input(["N", 4, 6, 6]), net.weight([4, 4, 3, 3])
    first = net.relu(net.bn(net.conv(x, 4, 4, weight=weight), 4))
    second = net.relu(net.bn(net.conv(first, 4, 4, weight=weight), 4))
    net.output(net.conv(second, 4, 4, weight=weight))
    before, after = folded(net)
    assert np.array_equal(weights_of(after)[weight], weights_of(before)[weight])
    assert len({n.input[1] for n in after.graph.node if n.op_type == "Conv"}) == 3


def test_what_it_does_not_touch_stays_as_it_was() -> None:
    net = Net()
    x = net.input(["N", 3, 9, 9])
    y = net.relu(net.bn(net.conv(x, 3, 5), 5))
    net.output(y, net.conv(y, 5, 2))
    model = net.model()
    model.graph.value_info.append(helper.make_tensor_value_info("batchnormalization8.out", 1, ["N", 5, 9, 9]))
    before = {n.name: n for n in model.graph.node}
    bn = next(n for n in model.graph.node if n.op_type == "BatchNormalization")
    model.graph.value_info[0].name = bn.output[0]
    after = FoldBatchNorm().apply(model).model
    assert [n.name for n in after.graph.node] == [n for n in before if n != bn.name]
    conv, relu, last = after.graph.node
    assert conv.output[0] == bn.output[0]
    assert (relu, last) == (before[relu.name], before[last.name])
    assert after.graph.value_info == model.graph.value_info
    assert after.metadata_props == model.metadata_props
    assert after.graph.output == model.graph.output
    kept = weights_of(after)
    assert all(np.array_equal(kept[i], weights_of(model)[i]) for i in last.input[1:])


def left_alone(net: Net) -> str:
    """The one note about the BatchNormalization that has to stay; the model is what it was."""
    model = net.model()
    result = FoldBatchNorm().apply(model)
    assert not result.changed
    assert result.model == model
    (note,) = result.notes
    return note


def test_stays_where_others_read_the_layer() -> None:
    net = Net()
    y = net.conv(net.input(["N", 3, 9, 9]), 3, 5)
    net.output(net.bn(y, 5), net.relu(y))
    assert f"{y!r}, has other readers" in left_alone(net)


def test_stays_where_the_layer_makes_an_output() -> None:
    net = Net()
    y = net.conv(net.input(["N", 3, 9, 9]), 3, 5)
    net.output(y, net.bn(y, 5))
    assert f"{y!r}, is an output of the graph" in left_alone(net)


def test_stays_after_an_activation_and_at_the_input() -> None:
    net = Net()
    net.output(net.bn(net.relu(net.conv(net.input(["N", 3, 9, 9]), 3, 5)), 5))
    assert "it follows Relu" in left_alone(net)
    net = Net()
    net.output(net.bn(net.input(["N", 3, 9, 9]), 3))
    assert "it follows the graph input 'x'" in left_alone(net)


def test_stays_in_training_mode() -> None:
    net = Net()
    net.output(net.bn(net.conv(net.input(["N", 3, 9, 9]), 3, 5), 5, training_mode=1, outputs=3))
    assert "normalises by the batch" in left_alone(net)
    for opset, outputs in ((9, 5), (6, 1)):  # before opset 7 an attribute would say that it does not
        net = Net(opset=opset)
        net.output(net.bn(net.conv(net.input(["N", 3, 9, 9]), 3, 5), 5, outputs=outputs))
        assert "normalises by the batch" in left_alone(net)


def test_stays_where_the_channels_are_not_those_of_the_matrix() -> None:
    net = Net()
    net.output(net.bn(net.op("MatMul", [net.input(["N", 6, 4]), net.weight([4, 6])]), 6))
    assert "tensor of two axes" in left_alone(net)


def test_stays_where_weights_come_from_an_input() -> None:
    net = Net()
    x, weight = net.input(["N", 3, 9, 9]), net.input([5, 3, 3, 3], "w")
    net.output(net.bn(net.conv(x, 3, 5, weight=weight), 5))
    assert "depends on 'w'" in left_alone(net)


def test_stays_where_the_variance_is_not_positive() -> None:
    net = Net()
    y = net.conv(net.input(["N", 3, 9, 9]), 3, 2)
    parts = [net.vector(2), net.vector(2), net.vector(2), net.constant(np.array([1.0, -1.0]))]
    net.output(net.op("BatchNormalization", [y, *parts]))
    assert "is not positive" in left_alone(net)


def test_stays_where_the_product_would_overflow() -> None:
    net = Net(dtype=np.float16)
    y = net.conv(net.input(["N", 3, 9, 9]), 3, 2)
    parts = [net.constant(np.array([6e4, 1.0])), net.vector(2), net.vector(2), net.constant(np.full(2, 1e-4))]
    net.output(net.op("BatchNormalization", [y, *parts]))
    assert "would not fit into float16" in left_alone(net)


def test_weights_that_were_not_loaded() -> None:
    net = Net()
    net.output(net.bn(net.conv(net.input(["N", 3, 9, 9]), 3, 5), 5))
    model = net.model()
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(ModelError, match="load the model with its external data"):
        FoldBatchNorm().apply(model)


@pytest.mark.parametrize("family", ["resnet", "shortresnet", "nonresnet"])
def test_whole_networks_and_twice(family: str) -> None:
    model = build(family, depth=8, width=4, image=(3, 8, 8), shortcut="B")
    once = FoldBatchNorm().apply(model)
    assert count(once.model, "BatchNormalization") == 0
    assert_same_function(model, once.model)
    twice = FoldBatchNorm().apply(once.model)
    assert not twice.changed
    assert twice.notes == ()
