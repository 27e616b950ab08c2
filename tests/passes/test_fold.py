"""`fold-skips`: a linear skip becomes part of the weights it spans."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphops.models import build
from passes import FoldSkips, GateSkips, PassError, ShortenSkips, find_skips
from tests.passes.net import Net, assert_same_function, count, weights_of


def folded(net: Net | onnx.ModelProto, tolerance: float = 1e-5, adds: int = 0, batch: int = 2) -> onnx.ModelProto:
    """The network without its skips, proved to be one function; again, and nothing changes."""
    model = net.model() if isinstance(net, Net) else net
    result = FoldSkips().apply(model)
    assert result.changed
    assert result.notes == ()
    assert find_skips(result.model) == []
    assert count(result.model, "Add") == adds
    assert_same_function(model, result.model, tolerance, batch)
    again = FoldSkips().apply(result.model)
    assert not again.changed
    return result.model


def refusal(net: Net | onnx.ModelProto) -> str:
    model = net.model() if isinstance(net, Net) else net
    with pytest.raises(PassError) as error:
        FoldSkips().apply(model)
    return str(error.value)


# -- identity skips -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [9, 13, 17, 21])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bn", [True, False])
def test_identity(opset: int, bias: bool, bn: bool) -> None:
    net = Net(opset=opset)
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.conv(x, 4, 4, bias=bias)
    net.output(net.relu(net.add(net.bn(y, 4) if bn else y, x)))
    folded(net)


@pytest.mark.parametrize(("rank", "size"), [(1, [9]), (2, [7, 6]), (3, [4, 5, 6])])
@pytest.mark.parametrize("group", [1, 2, 6])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_ranks_groups_and_kernels(rank: int, size: list[int], group: int, kernel: int) -> None:
    net = Net()
    x = net.input(["N", 6, *size])
    net.output(net.add(x, net.bn(net.conv(x, 6, 6, kernel, rank=rank, group=group), 6)))
    after = folded(net)
    assert weights_of(after)[after.graph.node[0].input[1]].shape == (6, 6 // group, *[kernel] * rank)


def test_the_fork_may_be_the_graph_input_and_the_join_its_output() -> None:
    net = Net()
    x = net.input(["N", 4, 8, 8])
    net.output(net.add(net.conv(x, 4, 4), x))
    model = net.model()
    after = folded(model)
    assert after.graph.output == model.graph.output
    assert [n.op_type for n in after.graph.node] == ["Conv"]


def test_dilation_with_a_tap_at_the_middle() -> None:
    net = Net()
    x = net.input(["N", 4, 11, 11])
    net.output(net.add(net.conv(x, 4, 4, dilations=[2, 3]), x))
    folded(net)


def test_dilation_without_a_tap_at_the_middle() -> None:
    net = Net()
    x = net.input(["N", 4, 11, 11])
    net.output(net.add(net.conv(x, 4, 4, 2, dilations=[2, 2], pads=[1, 1, 1, 1]), x))
    assert "kernel has no tap at offset 0x0" in refusal(net)


def test_even_kernels_padded_on_one_side() -> None:
    for pads in ([1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0]):
        net = Net()
        x = net.input(["N", 4, 8, 8])
        net.output(net.add(net.conv(x, 4, 4, 2, pads=pads), x))
        folded(net)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_padding_stays_as_it_is(mode: str) -> None:
    for kernel, size in ((2, 8), (3, 8), (4, 8), (3, "H")):
        net = Net()
        x = net.input(["N", 4, size, size])
        net.output(net.add(net.conv(x, 4, 4, kernel, auto_pad=mode), x))
        after = folded(net)
        assert [a.name for a in after.graph.node[0].attribute if a.name in ("auto_pad", "pads")] == ["auto_pad"]


@pytest.mark.parametrize("opset", [9, 13, 18])
def test_a_pad_in_front_of_the_layer_becomes_its_own(opset: int) -> None:
    net = Net(opset=opset)
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.conv(net.pad(x, [0, 0, 2, 1, 0, 0, 0, 1]), 4, 4, pads=[0] * 4)
    net.output(net.add(y, x))
    after = folded(net)
    assert [n.op_type for n in after.graph.node] == ["Relu", "Conv"]


def test_images_of_unknown_size() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, "H", "W"]))
    y = net.conv(net.pad(x, [0, 0, 1, 1, 0, 0, 1, 1]), 4, 4, pads=[0] * 4)
    net.output(net.add(y, x))
    folded(net)


def test_images_whose_unknown_size_is_written_as_minus_one() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, "H", "W"]))
    pick = net.op("MaxPool", [x], kernel_shape=[1, 1], strides=[2, 2])
    net.output(net.add(net.conv(x, 4, 4, strides=[2, 2], auto_pad="SAME_UPPER"), pick))
    model = net.model()
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = -1
    assert "depends on an image size that is not known" in refusal(model)
    assert find_skips(model)[0].map_bits is None


def test_constants_on_either_path_go_into_the_bias() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.op("Sub", [net.constant(np.ones((4, 1, 1))), net.conv(x, 4, 4)])
    z = net.op(
        "Div", [net.op("Neg", [net.op("Add", [x, net.constant(0.5)])]), net.constant(np.full((1, 4, 1, 1), 3.0))]
    )
    net.output(net.op("Sum", [z, net.op("Mul", [y, net.vector(1)])]))
    folded(net)


def test_batch_norm_on_the_skip_path_and_parallel_layers() -> None:
    """A RepVGG block: 3x3, 1x1 and identity, each with batch normalisation."""
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    wide, narrow = net.bn(net.conv(x, 4, 4, bias=False), 4), net.bn(net.conv(x, 4, 4, 1, bias=False), 4)
    net.output(net.relu(net.add(net.add(narrow, wide), net.bn(x, 4))))
    after = folded(net)
    assert count(after, "Conv") == 1


def test_scale_zero() -> None:
    net = Net()
    x = net.input(["N", 2, 8, 8])
    zero = [net.constant(np.zeros(2)), net.vector(2), net.vector(2), net.constant(np.ones(2))]
    net.output(net.add(net.op("BatchNormalization", [net.conv(x, 2, 2), *zero]), x))
    folded(net)


@pytest.mark.parametrize("gate", [1.0, 0.25, 0.0, -2.0])
def test_gates_are_read(gate: float) -> None:
    model = build("shortresnet", depth=8, width=4, image=(3, 8, 8))
    gated = GateSkips().apply(model).model
    for proto in gated.graph.initializer:
        if proto.name.endswith("_gate"):
            proto.CopyFrom(onnx.numpy_helper.from_array(np.array(gate, np.float32), proto.name))
    after = folded(gated)
    assert count(after, "Mul") == 0


# -- padding skips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [9, 10, 13, 17])
@pytest.mark.parametrize("size", [8, 9])
def test_strided_slice_and_channel_padding(opset: int, size: int) -> None:
    net = Net(opset=opset)
    x = net.relu(net.input(["N", 4, size, size]))
    z = net.pad(net.subsample(x), [0, 2, 0, 0, 0, 2, 0, 0])
    net.output(net.add(net.bn(net.conv(x, 4, 8, strides=[2, 2]), 8), z))
    folded(net)


def test_strided_slice_of_an_image_of_unknown_size() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, "H", "W"]))
    net.output(net.add(net.conv(x, 4, 4, strides=[2, 2]), net.subsample(x)))
    folded(net)


def test_slice_from_the_second_pixel_on() -> None:
    """The other pixels of each pair lie under other taps of the kernel, or under none."""

    def net(first: int, kernel: int) -> Net:
        net = Net()
        x = net.relu(net.input(["N", 4, 8, 8]))
        z = net.slice(x, [first, first], [2**62] * 2, [-2, -1], [2, 2])
        net.output(net.add(net.conv(x, 4, 4, kernel, strides=[2, 2]), z))
        return net

    folded(net(1, 3))
    assert "has no tap at offset 1x1" in refusal(net(1, 1))


@pytest.mark.parametrize("how", ["zeros", "times zero", "ConstantOfShape", "ConstantOfShape of 3"])
def test_channels_of_one_number_by_concat(how: str) -> None:
    net = Net()
    x = net.relu(net.input([2, 4, 8, 8]))
    half = net.subsample(x)
    if how == "zeros":
        zeros = net.constant(np.zeros((2, 4, 4, 4)))
    elif how == "times zero":
        zeros = net.op("Mul", [half, net.constant(0.0)])
    else:
        fill = {"value": onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, [1], [3])} if how.endswith("3") else {}
        zeros = net.op("ConstantOfShape", [net.op("Shape", [half])], **fill)
    net.output(net.add(net.conv(x, 4, 8, strides=[2, 2]), net.op("Concat", [half, zeros], axis=1)))
    folded(net)


@pytest.mark.parametrize(("before", "after", "value"), [(1, 1, 2.0), (-1, -1, 0.0), (-2, 1, 0.5)])
def test_channels_padded_by_a_number_and_cropped(before: int, after: int, value: float) -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 6, 6]))
    z = net.pad(x, [0, before, 0, 0, 0, after, 0, 0], value)
    net.output(net.add(net.conv(x, 4, 4 + before + after), z))
    folded(net)


def test_channels_taken_and_reordered() -> None:
    net = Net()
    x = net.relu(net.input(["N", 8, 6, 6]))
    order = net.op("Gather", [x, net.constant(np.array([3, 0, -1, 5]))], axis=1)
    net.output(net.add(net.conv(x, 8, 4), order))
    folded(net)


def test_split_into_unequal_parts() -> None:
    net = Net(opset=18)
    x = net.relu(net.input(["N", 5, 6, 6]))
    net.output(net.add(net.conv(x, 5, 3), net.op("Split", [x], outputs=2, axis=1, num_outputs=2)))
    folded(net)


def test_split_of_channels_in_reverse() -> None:
    for opset in (11, 13, 18):
        net = Net(opset=opset)
        x = net.relu(net.input(["N", 8, 6, 6]))
        turned = net.slice(x, [7], [-(2**31)], [1], [-1])
        more = {"num_outputs": 2} if opset >= 18 else {}
        net.output(net.add(net.conv(x, 8, 4), net.op("Split", [turned], outputs=2, axis=1, **more)))
        folded(net)


@pytest.mark.parametrize("size", [8, 9])
def test_average_pool_under_the_kernel(size: int) -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, size, size]))
    y = net.conv(x, 4, 4, 3, strides=[2, 2], pads=[1, 1, 1 - size % 2, 1 - size % 2])
    net.output(net.add(y, net.op("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])))
    folded(net)


def test_average_pool_that_counts_its_padding() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    pooled = net.op("AveragePool", [x], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    net.output(net.add(net.conv(x, 4, 4), pooled))
    folded(net)


def test_average_pool_that_does_not_count_its_padding() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    net.output(net.add(net.conv(x, 4, 4), net.op("AveragePool", [x], kernel_shape=[3, 3], pads=[1] * 4)))
    assert "averages over fewer pixels at the border" in refusal(net)


def test_average_pool_with_ceil_mode() -> None:
    def net(size: int | str) -> Net:
        net = Net()
        x = net.relu(net.input(["N", 4, size, size]))
        pooled = net.op("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        net.output(net.add(net.conv(x, 4, 4, strides=[2, 2]), pooled))
        return net

    folded(net(8))
    assert "may hang over the border" in refusal(net(9))
    assert "give the model's input a fixed size" in refusal(net("H"))


def test_average_pool_larger_than_the_kernel() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    pooled = net.op("AveragePool", [x], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    net.output(net.add(net.conv(x, 4, 4, 1), pooled))
    assert "1x1 kernel has no tap" in refusal(net)


def test_max_pool_of_one_pixel_is_a_slice_and_of_more_is_not_linear() -> None:
    def net(kernel: int) -> Net:
        net = Net()
        x = net.relu(net.input(["N", 4, 8, 8]))
        z = net.op("MaxPool", [x], kernel_shape=[kernel] * 2, strides=[2, 2])
        net.output(net.add(net.conv(x, 4, 4, strides=[2, 2]), z))
        return net

    folded(net(1))
    assert "MaxPool" in refusal(net(2))
    assert "it is not linear" in refusal(net(2))


@pytest.mark.parametrize("size", [8, "H"])
def test_a_crop_over_an_unpadded_layer(size: int | str) -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, size, size]))
    net.output(net.add(net.conv(x, 4, 4, pads=[0] * 4), net.slice(x, [1, 1], [-1, -1], [2, 3], [1, 1])))
    folded(net)


def test_a_crop_of_pixels_that_the_stride_steps_over() -> None:
    def net(size: int) -> Net:
        net = Net()
        x = net.relu(net.input(["N", 4, size]))
        y = net.conv(net.slice(x, [0], [-1], [2], [1]), 4, 4, 1, rank=1, strides=[2])
        net.output(net.add(y, net.subsample(net.slice(x, [0], [size - 1], [2], [1]), axes=[2])))
        return net

    folded(net(8))
    assert "crops the image, which padding cannot" in refusal(net(9))


# -- matrices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_gemm(turned: int, bias: bool) -> None:
    net = Net()
    x = net.relu(net.input(["N", 6]))
    parts = [x, net.weight([6, 6])] + ([net.vector(6)] if bias else [])
    net.output(net.add(net.op("Gemm", parts, alpha=0.5, beta=2.0, transB=turned), x))
    folded(net)


def test_a_gemm_of_turned_data() -> None:
    net = Net()
    x = net.relu(net.input([6, 6]))
    net.output(net.add(net.op("Gemm", [x, net.weight([6, 6])], transA=1), x))
    assert "transposes its data" in refusal(net)


@pytest.mark.parametrize("shape", [["N", 6], ["N", 5, 6], [2, 3, 5, 6], [6]])
@pytest.mark.parametrize("bias", [True, False])
def test_matmul(shape: list[int | str], bias: bool) -> None:
    net = Net()
    x = net.relu(net.input(shape))
    y = net.op("MatMul", [x, net.weight([6, 6])])
    net.output(net.add(x, net.add(net.vector(6), y) if bias else y))
    folded(net, adds=int(bias))


def test_matmul_gets_a_bias_where_the_skip_path_has_one() -> None:
    net = Net()
    x = net.relu(net.input(["N", 6]))
    net.output(net.add(net.op("MatMul", [x, net.weight([6, 6])]), net.bn(x, 6)))
    folded(net, adds=1)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_a_pool_beside_a_matrix_over_the_last_axis(op: str) -> None:
    net = Net()
    x = net.relu(net.input(["N", 3, 5, 6]))
    net.output(net.add(net.op("MatMul", [x, net.weight([6, 6])]), net.op(op, [x], kernel_shape=[1, 1])))
    assert f"at {op} '{op.lower()}4', it has its channels on another axis" in refusal(net)


def test_a_constant_that_differs_from_position_to_position() -> None:
    net = Net()
    x = net.relu(net.input(["N", 5, 6]))
    y = net.add(net.constant(np.arange(30.0).reshape(5, 6)), net.op("MatMul", [x, net.weight([6, 6])]))
    net.output(net.add(x, y))
    assert "[5, 6] is not one number a channel" in refusal(net)


# -- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["constant", "half", "int8"])
def test_computed_weights(weights: str) -> None:
    net = Net(weights=weights)
    x = net.relu(net.input(["N", 4, 8, 8]))
    net.output(net.add(net.conv(x, 4, 4), x))
    after = folded(net)
    assert [n.op_type for n in after.graph.node] == ["Relu", "Conv"]


def test_half_precision() -> None:
    net = Net(dtype=np.float16)
    x = net.relu(net.input(["N", 4, 8, 8]))
    net.output(net.add(net.conv(x, 4, 4), x))
    after = folded(net, tolerance=5e-3)
    assert {v.dtype for v in weights_of(after).values()} == {np.dtype(np.float16)}


def test_shared_weights_are_copied_first() -> None:
    net = Net()
    x, weight = net.input(["N", 4, 8, 8]), net.weight([4, 4, 3, 3])
    first = net.relu(net.add(net.conv(x, 4, 4, weight=weight, bias=False), x))
    second = net.relu(net.add(net.conv(first, 4, 4, weight=weight, bias=False), first))
    net.output(net.conv(second, 4, 4, weight=weight, bias=False))
    model = net.model()
    after = folded(model)
    assert np.array_equal(weights_of(after)[weight], weights_of(model)[weight])
    assert len({n.input[1] for n in after.graph.node if n.op_type == "Conv"}) == 3


# -- what stands around ---------------------------------------------------------------------------------------------


def test_chained_nested_and_named() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    for _ in range(3):
        x = net.relu(net.add(x, net.bn(net.conv(x, 4, 4), 4)))
    net.output(x)
    model = net.model()
    folded(model)
    second = FoldSkips(skips=("2",)).apply(model).model
    assert [s.number for s in find_skips(second)] == ["1", "3"]
    assert_same_function(model, second)
    rest = FoldSkips().apply(second).model
    assert find_skips(rest) == []
    assert_same_function(model, rest)
    assert [r["number"] for r in json.loads(rest.metadata_props[-1].value)] == ["1", "2", "3"]


def test_names_and_everything_else_stay() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    joined = net.add(net.bn(net.conv(x, 4, 4), 4), x)
    net.output(joined, net.conv(net.relu(joined), 4, 4))
    model = net.model()
    after = folded(model)
    relu, conv, *rest = after.graph.node
    before = {n.name: n for n in model.graph.node}
    assert conv.output[0] == joined
    assert conv.attribute == before[conv.name].attribute
    assert conv.input[1:] == before[conv.name].input[1:]
    assert [relu, *rest] == [before[n.name] for n in (relu, *rest)]
    assert {p.key: p.value for p in after.metadata_props}["origin"] == "a test"
    kept = weights_of(after)
    assert all(np.array_equal(kept[i], weights_of(model)[i]) for i in rest[-1].input[1:])


def test_what_the_main_path_makes_must_not_be_read_by_others() -> None:
    def net(look: Callable[[Net, str, str], str]) -> Net:
        net = Net()
        x = net.relu(net.input(["N", 4, 8, 8]))
        y = net.conv(x, 4, 4)
        z = net.bn(y, 4)
        net.output(net.add(z, x), look(net, y, z))
        return net

    assert "is also read by Relu" in refusal(net(lambda net, y, z: net.relu(y)))
    assert "is also read by Relu" in refusal(net(lambda net, y, z: net.relu(z)))
    assert "is an output of the graph" in refusal(net(lambda net, y, z: y))


def test_what_the_skip_path_makes_may_be_read_by_others() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    z = net.subsample(x)
    net.output(net.add(net.conv(x, 4, 4, strides=[2, 2]), z), net.relu(z))
    folded(net)


def test_a_shift_before_a_padded_layer() -> None:
    """Pre-activation without its activation: what batch norm adds is not there in the zero padding."""

    def net(kernel: int) -> Net:
        net = Net()
        x = net.relu(net.input(["N", 4, 8, 8]))
        net.output(net.add(net.conv(net.bn(x, 4), 4, 4, kernel), x))
        return net

    folded(net(1))
    assert "a shift would reach into the zero padding" in refusal(net(3))


def test_joins_that_broadcast() -> None:
    def net(shape: list[int | str], kernel: int = 3, **attributes: object) -> Net:
        net = Net()
        x = net.relu(net.input(shape))
        net.output(net.add(net.conv(x, 4, 4, kernel, **attributes), x))
        return net

    def channels() -> Net:
        net = Net()
        x = net.relu(net.input(["N", 1, 8, 8]))
        net.output(net.add(net.conv(x, 1, 4), x))
        return net

    folded(channels())
    assert "one path brings 1x1 pixels, the other 3x3" in refusal(net(["N", 4, 3, 3], pads=[0] * 4))
    assert "only for some image sizes" in refusal(net(["N", 4, "H", "W"], pads=[0] * 4))
    assert "one path steps by 2x2 pixels" in refusal(net(["N", 4, 2, 2], strides=[2, 2], pads=[1, 1, 2, 2]))


def test_nonlinear_paths() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    net.output(net.add(net.relu(net.conv(x, 4, 4)), x))
    assert "its main path is not one linear kernel: it passes through Relu" in refusal(net)
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    net.output(net.add(net.conv(x, 4, 4), net.op("Sigmoid", [x])))
    assert "its skip path is not one linear kernel: it passes through Sigmoid" in refusal(net)


@pytest.mark.parametrize(
    ("aside", "reason"),
    [
        (lambda net, x: net.op("Pad", [x, net.constant(np.array([0, 0, 1, 1] * 2))], mode="edge"), "pads by edge"),
        (lambda net, x: net.pad(x, [0, 0, 1, 1] * 2, 0.5), "pads pixels with 0.5"),
        (lambda net, x: net.pad(net.op("Dropout", [x, net.constant(0.5), net.constant(np.array(True))]),
                                [0, 0, 1, 1] * 2), "drops values at random"),
        (lambda net, x: net.pad(net.op("Div", [net.constant(2.0), x]), [0, 0, 1, 1] * 2), "divides by data"),
        (lambda net, x: net.pad(net.op("Div", [x, net.constant(0.0)]), [0, 0, 1, 1] * 2), "divides by zero"),
        (lambda net, x: net.pad(net.op("Gather", [x, net.constant(np.arange(8)[::-1])], axis=2), [0, 0, 1, 1] * 2),
         "takes a part of another axis than channels"),
        (lambda net, x: net.op("Concat", [net.pad(net.slice(x, [0], [4], [1], [1]), [0, 0, 1, 1] * 2),
                                          net.weight([2, 4, 10, 10])], axis=1), "is not one number a channel"),
    ],
)  # fmt: skip
def test_skip_paths_that_only_look_linear(aside: Callable[[Net, str], str], reason: str) -> None:
    """Read as what they look like, they would fold into another function."""
    net = Net()
    x = net.relu(net.input([2, 8, 8, 8]))
    net.output(net.add(net.conv(x, 8, 8, pads=[2] * 4), aside(net, x)))
    assert reason in refusal(net)


def test_a_dropout_of_an_old_opset_drops_unless_it_says_otherwise() -> None:
    net = Net(opset=6)
    x = net.relu(net.input(["N", 4, 8, 8]))
    net.output(net.add(net.conv(x, 4, 4), net.op("Dropout", [x])))
    assert "it drops values at random" in refusal(net)


def test_batch_norm_of_another_axis_than_the_layers() -> None:
    net = Net()
    x = net.relu(net.input(["N", 6, 6]))
    net.output(net.add(net.bn(net.op("MatMul", [x, net.weight([6, 6])]), 6), x))
    assert "it has its channels on another axis than the rest" in refusal(net)


def test_longer_skips_are_for_other_passes() -> None:
    assert "spans 2 layers; make it short" in refusal(build("resnet", depth=8, width=4, image=(3, 8, 8)))


def test_groups_that_the_skip_would_mix() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    shuffled = net.op("Gather", [x, net.constant(np.array([2, 3, 0, 1]))], axis=1)
    net.output(net.add(net.conv(x, 4, 4, group=2), shuffled))
    assert "mixes channels of different groups, of which the layer has 2" in refusal(net)


def test_groups_that_do_not_divide_the_channels_around_the_layer() -> None:
    """Four of six channels are read, or three of four are kept."""
    net = Net()
    x = net.relu(net.input(["N", 6, 8, 8]))
    first, last = (net.op("Gather", [x, net.constant(np.arange(i, i + 4))], axis=1) for i in (0, 2))
    net.output(net.add(net.conv(first, 4, 4, group=4), last))
    assert "mixes channels of different groups, of which the layer has 4" in refusal(net)
    net = Net()
    x = net.relu(net.input(["N", 6, 8, 8]))
    y, z = (net.op("Gather", [t, net.constant(np.arange(3))], axis=1) for t in (net.conv(x, 6, 4, group=2), x))
    net.output(net.add(y, z))
    assert "mixes channels of different groups, of which the layer has 2" in refusal(net)


def test_weights_out_of_a_sequence_of_unequal_ones() -> None:
    net = Net()
    x = net.relu(net.input(["N", 5]))
    parts = net.op("SplitToSequence", [net.weight([5, 8]), net.constant(np.array([5, 3]))], axis=1)
    weight = net.op("SequenceAt", [parts, net.constant(np.array(0))])
    net.output(net.add(net.op("MatMul", [x, weight]), x))
    assert "SplitToSequence 'splittosequence4' cannot be computed" in refusal(net)


def test_batch_norm_in_training_mode() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.bn(net.conv(x, 4, 4), 4, training_mode=1, outputs=3)
    net.output(net.add(y, x))
    assert "normalises by the batch it sees" in refusal(net)


def test_weights_from_an_input() -> None:
    net = Net()
    x, weight = net.relu(net.input(["N", 4, 8, 8])), net.input([4, 4, 3, 3], "w")
    net.output(net.add(net.conv(x, 4, 4, weight=weight), x))
    assert "depends on 'w'" in refusal(net)


def test_a_fork_of_unknown_shape() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    net.output(net.add(net.conv(x, 4, 4), x))
    model = net.model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "the shape of its fork 'relu1.out' cannot be inferred; give the model's input a shape" in refusal(model)


def test_a_second_input_on_the_way() -> None:
    net = Net()
    x, mask = net.relu(net.input(["N", 4, 8, 8])), net.input(["N", 4, 8, 8], "mask")
    net.output(net.add(net.op("Mul", [net.conv(x, 4, 4), mask]), x))
    assert "depends on 'mask'" in refusal(net)


def test_those_that_cannot_go_are_noted_or_when_named_raised() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.relu(net.add(net.conv(x, 4, 4), x))
    z = net.relu(net.add(net.relu(net.conv(y, 4, 4)), y))
    net.output(z)
    model = net.model()
    result = FoldSkips().apply(model)
    assert_same_function(model, result.model)
    (note,) = result.notes
    assert note.startswith("fold-skips: skip 2 at ")
    with pytest.raises(PassError, match="skip 2 at "):
        FoldSkips(skips=("1", "2")).apply(model)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_shortened_networks(shortcut: str) -> None:
    """What `shorten-skips` leaves, folds: no Add is left, and no more weights than a network without skips has."""
    model = build("resnet", depth=14, width=4, image=(3, 8, 8), shortcut=shortcut)
    short = ShortenSkips().apply(model).model
    after = folded(short)
    plain = build("nonresnet", depth=14, width=4, image=(3, 8, 8))
    assert count(after, "Conv") == count(plain, "Conv")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_finite_numbers_are_refused_without_a_warning(value: float) -> None:
    net = Net()
    x = net.input([1, 16])
    net.output(net.op("Add", [net.op("MatMul", [x, net.constant(np.full((16, 16), value))]), x]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = refusal(net)
    assert "would not fit into float32" in text
