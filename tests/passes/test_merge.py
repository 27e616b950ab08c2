"""`merge-skips`: a skip is carried through the layers it spans by channels reserved for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from graphops.data import DataSet
from graphops.evaluate import evaluate
from graphops.models import build
from graphops.statistics import parameters
from passes import FoldBatchNorm, GateSkips, MergeSkips, PassError, find_skips
from tests.passes.net import Net, assert_same_function, count, feeds, run, weights_of

Block = Callable[[Net, str], str]


def merged(net: Net | onnx.ModelProto, tolerance: float = 1e-5, batch: int = 2) -> onnx.ModelProto:
    """The network without its skips, proved to be one function; again, and nothing changes."""
    model = net.model() if isinstance(net, Net) else net
    result = MergeSkips().apply(model)
    assert result.changed
    assert result.notes == ()
    assert find_skips(result.model) == []
    assert_same_function(model, result.model, tolerance, batch)
    assert not MergeSkips().apply(result.model).changed
    return result.model


def refusal(net: Net | onnx.ModelProto) -> str:
    model = net.model() if isinstance(net, Net) else net
    with pytest.raises(PassError) as error:
        MergeSkips().apply(model)
    return str(error.value)


def shapes(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    """The weights of the layers, in order."""
    weights = weights_of(model)
    layers = ("Conv", "Gemm", "MatMul")
    return [weights[n.input[1]].shape for n in model.graph.node if n.op_type in layers]


def block(make: Block, shape: list[int | str] | None = None, **options: object) -> Net:
    """A network of one block behind a Relu, its join read by a Relu."""
    net = Net(**options)
    x = net.relu(net.input(shape or ["N", 4, 8, 8]))
    net.output(net.relu(make(net, x)))
    return net


# -- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [9, 13, 17, 21])
@pytest.mark.parametrize("bn", [True, False])
def test_basic_block(opset: int, bn: bool) -> None:
    def basic(net: Net, x: str) -> str:
        y = net.conv(x, 4, 6)
        y = net.relu(net.bn(y, 6) if bn else y)
        y = net.conv(y, 6, 4)
        return net.add(net.bn(y, 4) if bn else y, x)

    after = merged(block(basic, opset=opset))
    assert [n.op_type for n in after.graph.node] == ["Relu", "Conv", "Relu", "Conv", "Relu"]
    assert shapes(after) == [(10, 4, 3, 3), (4, 10, 3, 3)]


@pytest.mark.parametrize(("depth", "width"), [(8, 4), (14, 3)])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_whole_networks(depth: int, width: int, shortcut: str) -> None:
    merged(build("resnet", depth=depth, width=width, image=(3, 12, 12), shortcut=shortcut))


@pytest.mark.parametrize("size", [8, 9, "H"])
@pytest.mark.parametrize("stride_first", [True, False])
@pytest.mark.parametrize("projection", [True, False])
def test_bottleneck_with_stride(size: int | str, stride_first: bool, projection: bool) -> None:
    """Both ResNet-50s: the stride in the first layer, or in the second."""

    def bottleneck(net: Net, x: str) -> str:
        first, second = (2, 1) if stride_first else (1, 2)
        y = net.relu(net.bn(net.conv(x, 4, 3, 1, strides=[first] * 2), 3))
        y = net.relu(net.bn(net.conv(y, 3, 3, 3, strides=[second] * 2), 3))
        y = net.bn(net.conv(y, 3, 8, 1), 8)
        if projection:
            z = net.bn(net.conv(x, 4, 8, 1, strides=[2, 2]), 8)
        else:
            z = net.pad(net.subsample(x), [0, 2, 0, 0, 0, 2, 0, 0])
        return net.add(z, y)

    merged(block(bottleneck, ["N", 4, size, size]))


@pytest.mark.parametrize("stride_first", [True, False])
def test_average_pool_and_projection(stride_first: bool) -> None:
    """ResNet-D: the pool has to be taken by the layer that steps, the projection by the last."""

    def downsampling(net: Net, x: str) -> str:
        first, second = (2, 1) if stride_first else (1, 2)
        y = net.relu(net.conv(x, 4, 3, 3, strides=[first] * 2))
        y = net.relu(net.conv(y, 3, 3, 3, strides=[second] * 2))
        y = net.conv(y, 3, 8, 1)
        z = net.op("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        return net.add(y, net.bn(net.conv(z, 4, 8, 1), 8))

    merged(block(downsampling))


def test_a_skip_path_is_carried_where_it_is_narrowest() -> None:
    def narrow(net: Net, x: str) -> str:
        y = net.prelu(net.conv(net.prelu(net.conv(x, 8, 6), 6), 6, 6), 6)
        return net.add(net.conv(y, 6, 4), net.conv(net.conv(x, 8, 2, 1), 2, 4, 1))

    assert shapes(merged(block(narrow, ["N", 8, 8, 8]))) == [(8, 8, 3, 3), (8, 8, 3, 3), (4, 8, 3, 3)]


def test_average_pool_that_no_layer_can_take() -> None:
    def downsampling(net: Net, x: str) -> str:
        y = net.conv(net.relu(net.conv(x, 4, 3, 1, strides=[2, 2])), 3, 4)
        return net.add(y, net.op("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2]))

    assert "do not lie under the taps" in refusal(block(downsampling))


@pytest.mark.parametrize(("rank", "size"), [(1, [9]), (3, [4, 5, 6])])
def test_other_ranks(rank: int, size: list[int]) -> None:
    def strided(net: Net, x: str) -> str:
        y = net.relu(net.bn(net.conv(x, 4, 6, rank=rank, strides=[2] * rank), 6))
        y = net.conv(y, 6, 4, rank=rank)
        return net.add(y, net.subsample(x, axes=range(2, 2 + rank)))

    merged(block(strided, ["N", 4, *size]))


def test_many_layers_dilation_and_even_kernels() -> None:
    def long(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 4, 3, dilations=[2, 3]))
        y = net.relu(net.conv(y, 3, 5, 2, pads=[1, 0, 0, 1]))
        y = net.relu(net.conv(y, 5, 2, 4, pads=[1, 2, 2, 1]))
        return net.add(net.conv(y, 2, 4), x)

    merged(block(long))


def test_unpadded_layers_and_a_crop() -> None:
    def valid(net: Net, x: str) -> str:
        y = net.conv(net.relu(net.conv(x, 4, 6, pads=[0] * 4)), 6, 4, pads=[0] * 4)
        return net.add(y, net.slice(x, [2, 2], [-2, -2], [2, 3], [1, 1]))

    merged(block(valid))


@pytest.mark.parametrize("before", [True, False])
def test_pads_and_identities_on_the_way_are_kept(before: bool) -> None:
    def padded(net: Net, x: str) -> str:
        y = net.pad(x, [0, 0, 1, 1, 0, 0, 1, 1]) if before else x
        y = net.relu(net.conv(y, 4, 6, pads=[int(not before)] * 4))
        y = net.op("Identity", [y]) if before else net.pad(y, [0, 0, 1, 1, 0, 0, 1, 1])
        return net.add(net.conv(y, 6, 4, pads=[int(before)] * 4), x)

    after = merged(block(padded))
    assert count(after, "Pad") == 1


def test_scales_and_shifts_on_the_way_go_into_the_layers() -> None:
    def scaled(net: Net, x: str) -> str:
        y = net.op("Mul", [net.conv(x, 4, 6), net.constant(np.full((6, 1, 1), 0.5))])
        y = net.relu(net.op("Sub", [y, net.constant(0.25)]))
        y = net.op("Div", [net.conv(y, 6, 4), net.constant(2.0)])
        return net.op("Sum", [x, net.op("Neg", [y])])

    after = merged(block(scaled))
    assert [n.op_type for n in after.graph.node] == ["Relu", "Conv", "Relu", "Conv", "Relu"]


@pytest.mark.parametrize("opset", [9, 13])
def test_a_dropout_goes_with_the_mask_that_nobody_reads(opset: int) -> None:
    """As exporters of old name it."""

    def dropping(net: Net, x: str) -> str:
        y = net.relu(net.op("Dropout", [net.conv(x, 4, 6)], outputs=2))
        return net.add(net.conv(y, 6, 4), x)

    after = merged(block(dropping, opset=opset))
    assert count(after, "Dropout") == 0


def test_a_dropout_whose_mask_is_read_stays() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.op("Dropout", [net.conv(x, 4, 6)], outputs=2)
    mask = net.op("Cast", [f"{y}1"], to=1)
    net.output(net.add(net.conv(net.relu(y), 6, 4), x), mask)
    assert "has other readers" in refusal(net)


# -- groups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_groups_in_the_middle(stride: int) -> None:
    """ResNeXt: the reserved channels get groups of their own."""

    def aggregated(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 6, 8, 1))
        y = net.relu(net.bn(net.conv(y, 8, 8, 3, group=2, strides=[stride] * 2), 8))
        z = x if stride == 1 else net.bn(net.conv(x, 6, 6, 1, strides=[2, 2]), 6)
        return net.add(net.conv(y, 8, 6, 1), z)

    after = merged(block(aggregated, ["N", 6, 8, 8]))
    assert shapes(after) == [(16, 6, 1, 1), (16, 4, 3, 3), (6, 16, 1, 1)]  # 6 reserved channels and 2 of zeros


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_in_the_middle(multiplier: int) -> None:
    """MobileNet's inverted bottleneck, on a fork that is not negative."""

    def inverted(net: Net, x: str) -> str:
        y = net.relu(net.bn(net.conv(x, 4, 6, 1), 6))
        y = net.relu(net.bn(net.conv(y, 6, 6 * multiplier, group=6), 6 * multiplier))
        return net.add(x, net.bn(net.conv(y, 6 * multiplier, 4, 1), 4))

    merged(block(inverted))


@pytest.mark.parametrize("order", ["dp", "pd", "dpdp", "pdpd", "dd", "dpd", "gpg", "pgg", "gg", "ggp"])
def test_groups_at_either_end(order: str) -> None:
    """Depthwise (d), pointwise (p) and grouped (g) layers one after another; equal groups go together."""

    def mixed(net: Net, x: str) -> str:
        for i, kind in enumerate(order):
            kernel, group = {"d": (3, 4), "p": (1, 1), "g": (3, 2)}[kind]
            x = net.conv(net.relu(x) if i else x, 4, 4, kernel, group=group)
        return x

    merged(block(lambda net, x: net.add(mixed(net, x), x)))


def test_a_constant_added_behind_a_depthwise_layer_keeps_it_depthwise() -> None:
    def inverted(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 4, 6, 1))
        y = net.add(net.conv(y, 6, 6, group=6, bias=False), net.constant(np.arange(6.0).reshape(6, 1, 1)))
        return net.add(x, net.conv(net.relu(y), 6, 4, 1))

    assert shapes(merged(block(inverted))) == [(10, 4, 1, 1), (10, 1, 3, 3), (4, 10, 1, 1)]


def test_groups_that_do_not_go_together() -> None:
    def mixed(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 6, 6, group=3))
        return net.add(net.conv(y, 6, 6, group=2), x)

    assert "groups that do not go together" in refusal(block(mixed, ["N", 6, 8, 8]))


def test_groups_that_the_skip_mixes() -> None:
    def mixed(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 4, 4))
        return net.add(net.conv(y, 4, 4, group=2), net.conv(x, 4, 4, 1))

    assert "mixes channels that its last layer keeps in groups" in refusal(block(mixed))


# -- nonlinearities -------------------------------------------------------------------------------------------------


def between(bend: Block, fork: Block = Net.relu, opset: int = 17) -> Net:
    """Two layers with ``bend`` between them, on a fork that ``fork`` makes."""
    net = Net(opset=opset)
    x = fork(net, net.conv(net.input(["N", 4, 8, 8]), 4, 4))
    net.output(net.add(net.conv(bend(net, net.conv(x, 4, 6)), 6, 4), x))
    return net


@pytest.mark.parametrize("kind", ["Relu", "LeakyRelu", "Elu", "Celu", "Abs"])
def test_identity_where_not_negative(kind: str) -> None:
    def bend(net: Net, y: str) -> str:
        return net.op(kind, [y])

    merged(between(bend))
    if kind != "Abs":
        assert f"{kind} '" in refusal(between(bend, lambda net, x: net.op("Tanh", [x])))


@pytest.mark.parametrize("opset", [9, 13])
def test_clip_needs_an_upper_bound(opset: int) -> None:
    def clip6(net: Net, y: str) -> str:
        return net.clip(y, 0.0, 6.0)

    merged(between(clip6, clip6, opset))
    merged(between(clip6, lambda net, x: net.clip(x, 1.0, 5.0), opset))
    merged(between(clip6, lambda net, x: net.op("Sigmoid", [x]), opset))
    assert "with values in [0, inf]" in refusal(between(clip6, Net.relu, opset))
    assert "with values in [0, 7]" in refusal(between(clip6, lambda net, x: net.clip(x, 0.0, 7.0), opset))
    # Where a kernel looks beyond the border, reserved channels are 0: a lower bound above it would not be exact.
    assert "with values in [2, 6]" in refusal(
        between(lambda n, y: n.clip(y, 1.0, 6.0), lambda n, x: n.clip(x, 2.0, 6.0))
    )


def test_maximum_and_minimum_with_a_number() -> None:
    merged(between(lambda net, y: net.op("Min", [net.op("Max", [y, net.constant(0.0)]), net.constant(6.0)]), _clip6))
    assert "Max '" in refusal(between(lambda net, y: net.op("Max", [y, net.constant(np.zeros((6, 1, 1)))])))


def _clip6(net: Net, x: str) -> str:
    return net.clip(x, 0.0, 6.0)


@pytest.mark.parametrize("fork", ["Relu", "Tanh", "Identity"])
def test_prelu_takes_any_value_as_reserved_channels_get_slope_1(fork: str) -> None:
    merged(between(lambda net, y: net.prelu(y, 6), lambda net, x: net.op(fork, [x])))
    merged(between(lambda net, y: net.op("PRelu", [y, net.constant(0.3)]), lambda net, x: net.op(fork, [x])))


def test_prelu_with_slopes_that_depend_on_the_input() -> None:
    net = Net()
    x, slopes = net.relu(net.input(["N", 4, 8, 8])), net.input([6, 1, 1], "slopes")
    net.output(net.add(net.conv(net.op("PRelu", [net.conv(x, 4, 6), slopes]), 6, 4), x))
    assert "are not constant" in refusal(net)


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "HardSigmoid", "Softplus", "Selu"])
def test_others_are_refused(kind: str) -> None:
    assert f"{kind} '" in refusal(between(lambda net, y: net.op(kind, [y])))


def test_a_fork_that_may_be_negative() -> None:
    """A linear bottleneck's, or a pre-activation block's."""
    assert "with values in [-inf, inf]" in refusal(between(Net.relu, lambda net, x: net.op("Identity", [x])))

    def preactivation(net: Net, x: str) -> str:
        y = net.conv(net.relu(net.bn(x, 4)), 4, 4)
        return net.add(net.conv(net.relu(net.bn(y, 4)), 4, 4), x)

    assert "BatchNormalization '" in refusal(block(preactivation))


def test_an_activation_between_fork_and_first_layer() -> None:
    def early(net: Net, x: str) -> str:
        return net.add(net.conv(net.relu(net.conv(net.relu(x), 4, 6)), 6, 4), x)

    merged(block(early))


def test_a_prelu_between_fork_and_first_layer() -> None:
    """What it bends is the fork itself, not channels that are reserved."""

    def early(net: Net, x: str) -> str:
        x = net.op("Tanh", [net.conv(x, 4, 4)])
        return net.add(net.conv(net.prelu(net.conv(net.prelu(x, 4), 4, 6), 6), 6, 4), x)

    assert "PRelu" in refusal(block(early))
    assert "with values in [-1, 1]" in refusal(block(early))


def test_an_activation_that_lifts_the_zeros_of_a_pad() -> None:
    """It leaves the fork alone, but the pool that the first layer takes over would read what became of the zeros."""
    net = Net()
    x = net.clip(net.input(["N", 4, 8, 8]), 2.0, 5.0)
    y = net.clip(net.pad(x, [0, 0, 1, 1, 0, 0, 1, 1]), 1.0, 6.0)
    y = net.conv(net.relu(net.conv(y, 4, 6, pads=[0] * 4, strides=[2, 2])), 6, 4, 1)
    more = {"pads": [1] * 4, "strides": [2, 2], "count_include_pad": 1}
    net.output(net.add(y, net.op("AveragePool", [x], kernel_shape=[3, 3], **more)))
    assert "with values in [2, 5]" in refusal(net)


@pytest.mark.parametrize(
    "fork",
    [
        lambda net, x: net.op("MaxPool", [net.relu(x)], kernel_shape=[3, 3], pads=[1] * 4),
        lambda net, x: net.op("AveragePool", [net.op("Sigmoid", [x])], kernel_shape=[3, 3], pads=[1] * 4),
        lambda net, x: net.op("Concat", [net.relu(x), net.op("Abs", [x])], axis=1),
        lambda net, x: net.op("Mul", [x, x]),
        lambda net, x: net.add(net.relu(x), net.op("Softmax", [x], axis=1)),
        lambda net, x: net.op("Transpose", [net.op("Exp", [x])], perm=[0, 1, 3, 2]),
        lambda net, x: net.op("Sub", [net.constant(1.0), net.op("Tanh", [x])]),
        lambda net, x: net.pad(net.relu(x), [0, 0, 1, 1, 0, 0, 1, 1], 0.5),
    ],
)
def test_forks_that_are_proved_not_to_be_negative(fork: Block) -> None:
    net = Net()
    x = fork(net, net.input(["N", 2, 8, 8]))
    channels = 4 if "Concat" in net.nodes[-1].op_type else 2
    net.output(net.add(net.conv(net.relu(net.conv(x, channels, 6)), 6, channels), x))
    merged(net)


def test_bytes_are_not_negative() -> None:
    net = Net()
    x = net.op("Cast", [net.input(["N", 2, 8, 8], dtype=np.uint8)], to=1)
    x = net.op("Mul", [x, net.constant(1 / 255)])
    net.output(net.add(net.conv(net.relu(net.conv(x, 2, 6)), 6, 2), x))
    merged(net)


def test_an_unsigned_quantiser_makes_nothing_negative() -> None:
    net = Net(opset=13)
    parts = [net.constant(0.05), net.constant_as(0, np.uint8)]
    x = net.op("DequantizeLinear", [net.op("QuantizeLinear", [net.input(["N", 2, 8, 8]), *parts]), *parts])
    net.output(net.add(net.conv(net.relu(net.conv(x, 2, 6)), 6, 2), x))
    merged(net)


# -- matrices, gates, weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [["N", 6], ["N", 5, 6]])
@pytest.mark.parametrize("bias", [True, False])
def test_matrices(shape: list[int | str], bias: bool) -> None:
    def perceptron(net: Net, x: str) -> str:
        y = net.op("MatMul", [x, net.weight([6, 9])])
        y = net.relu(net.add(y, net.vector(9)) if bias else y)
        y = net.op("MatMul", [y, net.weight([9, 6])])
        return net.add(net.add(net.vector(6), y) if bias else y, x)

    merged(block(perceptron, shape))


def test_matrices_over_positions_are_refused() -> None:
    """As MLP-Mixer mixes tokens, between two transpositions."""

    def mixer(net: Net, x: str) -> str:
        y = net.op("Transpose", [x], perm=[0, 2, 1])
        y = net.op("MatMul", [net.relu(net.op("MatMul", [y, net.weight([5, 9])])), net.weight([9, 5])])
        return net.add(net.op("Transpose", [y], perm=[0, 2, 1]), x)

    assert "has its channels on another axis" in refusal(block(mixer, ["N", 5, 6]))


def test_gemm() -> None:
    def perceptron(net: Net, x: str) -> str:
        y = net.relu(net.op("Gemm", [x, net.weight([9, 6]), net.vector(9)], transB=1, alpha=0.5))
        return net.add(x, net.op("Gemm", [y, net.weight([9, 6]), net.vector(1)], beta=2.0))

    merged(block(perceptron, ["N", 6]))


@pytest.mark.parametrize("gate", [1.0, 0.25, 0.0, -2.0])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_gates_are_read(gate: float, shortcut: str) -> None:
    model = GateSkips().apply(build("resnet", depth=8, width=4, image=(3, 8, 8), shortcut=shortcut)).model
    for proto in model.graph.initializer:
        if proto.name.endswith("_gate"):
            proto.CopyFrom(onnx.numpy_helper.from_array(np.array(gate, np.float32), proto.name))
    after = merged(model)
    plain = FoldBatchNorm().apply(build("nonresnet", depth=8, width=4, image=(3, 8, 8))).model
    assert (shapes(after) == shapes(plain)) is (gate == 0)


@pytest.mark.parametrize("weights", ["constant", "half", "int8"])
def test_computed_weights(weights: str) -> None:
    merged(block(lambda net, x: net.add(net.conv(net.relu(net.conv(x, 4, 6)), 6, 4), x), weights=weights))


def test_half_precision() -> None:
    after = merged(
        block(lambda net, x: net.add(net.conv(net.relu(net.conv(x, 4, 6)), 6, 4), x), dtype=np.float16), tolerance=5e-3
    )
    assert {v.dtype for v in weights_of(after).values()} == {np.dtype(np.float16)}


def test_weights_shared_between_blocks() -> None:
    net = Net()
    x, first, second = net.relu(net.input(["N", 4, 8, 8])), net.weight([6, 4, 3, 3]), net.weight([4, 6, 3, 3])
    for _ in range(3):
        y = net.relu(net.conv(x, 4, 6, weight=first, bias=False))
        x = net.relu(net.add(net.conv(y, 6, 4, weight=second, bias=False), x))
    net.output(x)
    assert shapes(merged(net)) == [(10, 4, 3, 3), (4, 10, 3, 3)] * 3


# -- what stands around ---------------------------------------------------------------------------------------------


def test_nested_skips() -> None:
    """A skip over two blocks that have skips of their own: the inner ones go first."""
    net = Net()
    x = start = net.relu(net.input(["N", 4, 8, 8]))
    for _ in range(2):
        x = net.relu(net.add(net.conv(net.relu(net.conv(x, 4, 6)), 6, 4), x))
    net.output(net.add(net.conv(x, 4, 4), start))
    merged(net)


def test_a_skip_over_one_layer_is_folded() -> None:
    after = merged(build("shortresnet", depth=8, width=4, image=(3, 8, 8)))
    plain = FoldBatchNorm().apply(build("nonresnet", depth=8, width=4, image=(3, 8, 8))).model
    assert shapes(after) == shapes(plain)


def test_named_skips_only() -> None:
    model = build("resnet", depth=8, width=4, image=(3, 8, 8))
    after = MergeSkips(skips=("2",)).apply(model).model
    assert [s.number for s in find_skips(after)] == ["1", "3"]
    assert_same_function(model, after)
    assert find_skips(merged(after)) == []


def test_names_and_everything_else_stay_and_stale_shapes_go() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    joined = net.add(net.conv(net.relu(net.conv(x, 4, 6)), 6, 4), x)
    net.output(joined, net.conv(net.relu(joined), 4, 4))
    model = onnx.shape_inference.infer_shapes(net.model())
    after = merged(model)
    before = {n.name: n for n in model.graph.node}
    relu, first, bend, second, *rest = after.graph.node
    assert second.output[0] == joined
    assert [relu, first, bend, *rest] == [before[n.name] for n in (relu, first, bend, *rest)]
    assert after.graph.output == model.graph.output
    kept = {v.name for v in after.graph.value_info}
    assert kept == {v.name for v in model.graph.value_info} - {
        first.output[0],
        bend.output[0],
        before[second.name].output[0],
    }
    assert {p.key: p.value for p in after.metadata_props}["origin"] == "a test"


def reading(look: Callable[[Net, str, str], list[str]]) -> Net:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.relu(net.conv(x, 4, 6))
    z = net.conv(y, 6, 4)
    net.output(net.add(z, x), *look(net, y, z))
    return net


def test_what_the_main_path_makes_must_not_be_read_by_others() -> None:
    assert "has other readers or is an output" in refusal(reading(lambda net, y, z: [y]))
    assert "has other readers or is an output" in refusal(reading(lambda net, y, z: [z]))
    assert "has other readers or is an output" in refusal(reading(lambda net, y, z: [net.op("Exp", [y])]))


def test_a_main_path_that_is_gated() -> None:
    """Squeeze and excitation."""

    def excited(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 4, 4))
        squeezed = net.op("GlobalAveragePool", [y])
        return net.add(net.op("Mul", [y, net.op("Sigmoid", [net.conv(squeezed, 4, 4, 1)])]), x)

    assert "gates its main path by a computed tensor" in refusal(block(excited))


def test_a_main_path_that_branches() -> None:
    def concatenated(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 4, 4))
        both = net.op("Concat", [net.conv(y, 4, 2), net.conv(y, 4, 2)], axis=1)
        return net.add(net.conv(both, 4, 4), x)

    def added(net: Net, x: str) -> str:
        y = net.relu(net.conv(x, 4, 4))
        return net.add(net.conv(net.add(net.conv(y, 4, 4), net.conv(y, 4, 4)), 4, 4), x)

    assert "concatenates branches of its main path" in refusal(block(concatenated))
    assert "branches before Conv" in refusal(block(added)) or "other readers" in refusal(block(added))


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (lambda net, y: net.op("MaxPool", [y], kernel_shape=[3, 3], pads=[1] * 4), "it is not linear"),
        (lambda net, y: net.op("AveragePool", [y], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1), "change"),
        (lambda net, y: net.op("InstanceNormalization", [y, net.vector(6), net.vector(6)]), "InstanceNormalization"),
        (lambda net, y: net.bn(net.relu(y), 6), "BatchNormalization"),
        (lambda net, y: net.op("Gather", [y, net.constant(np.array([1, 0, 2, 3, 4, 5]))], axis=1), "Gather"),
    ],
)
def test_what_reserved_channels_cannot_pass(bend: Block, reason: str) -> None:
    assert reason in refusal(between(bend))


def test_a_join_behind_an_activation() -> None:
    def late(net: Net, x: str) -> str:
        return net.add(net.relu(net.conv(net.relu(net.conv(x, 4, 6)), 6, 4)), x)

    assert "no layer after Relu" in refusal(block(late))


def test_a_skip_path_that_is_not_linear() -> None:
    def pooled(net: Net, x: str) -> str:
        y = net.conv(net.relu(net.conv(x, 4, 6, strides=[2, 2])), 6, 4)
        return net.add(y, net.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]))

    assert "its skip path is not one linear kernel" in refusal(block(pooled))


def test_joins_that_broadcast() -> None:
    def channel(net: Net, x: str) -> str:
        y = net.conv(net.relu(net.conv(x, 4, 6)), 6, 4)
        return net.add(y, net.conv(x, 4, 1, 1))

    merged(block(channel))

    def pixels(net: Net, x: str) -> str:
        return net.add(net.conv(net.relu(net.conv(x, 4, 6)), 6, 4, 4, pads=[0] * 4, strides=[8, 8]), x)

    assert "one path brings 1x1 pixels, the other 8x8" in refusal(block(pixels))

    def widened(net: Net, x: str) -> str:
        return net.add(net.conv(net.relu(net.conv(x, 4, 6)), 6, 1), x)

    assert "its main path brings 1 channels, its skip path 4" in refusal(block(widened))


def test_those_that_cannot_go_are_noted_or_when_named_raised() -> None:
    net = Net()
    x = net.relu(net.input(["N", 4, 8, 8]))
    y = net.relu(net.add(net.conv(net.relu(net.conv(x, 4, 6)), 6, 4), x))
    net.output(net.add(net.conv(net.op("Sigmoid", [net.conv(y, 4, 6)]), 6, 4), y))
    model = net.model()
    result = MergeSkips().apply(model)
    assert_same_function(model, result.model)
    (note,) = result.notes
    assert note.startswith("merge-skips: skip 2 at ")
    with pytest.raises(PassError, match="skip 2 at "):
        MergeSkips(skips=("1", "2")).apply(model)


def test_nodes_without_names_and_initialisers_listed_as_inputs() -> None:
    """As exporters of old wrote them."""
    model = build("resnet", depth=8, width=4, image=(3, 8, 8))
    for proto in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(proto.name, proto.data_type, list(proto.dims)))
    for node in model.graph.node:
        node.name = ""
    after = merged(model)
    listed = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in after.graph.input}
    assert all(listed[name] == value.shape for name, value in weights_of(after).items() if name in listed)


def test_what_a_subgraph_reads_must_stay() -> None:
    def branch(read: str) -> onnx.GraphProto:
        made = helper.make_tensor_value_info(f"{read}_{branch.__name__}", onnx.TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node("Exp", [read], [made.name])], "branch", [], [made])

    def looked_at(net: Net, y: str, z: str) -> list[str]:
        branches = {"then_branch": branch(y), "else_branch": branch("x")}
        return [net.op("If", [net.constant(np.array(True))], **branches)]

    assert "has other readers" in refusal(reading(looked_at))


# -- the published ResNet20 -----------------------------------------------------------------------------------------


def test_published_resnet20_keeps_all_its_predictions(published_resnet20: onnx.ModelProto, cifar10: DataSet) -> None:
    result = MergeSkips().apply(published_resnet20)
    assert result.notes == ()
    assert count(published_resnet20, "Add") == 9
    assert count(result.model, "Add") == 0
    assert parameters(result.model) == pytest.approx(1.87 * parameters(published_resnet20), rel=0.01)
    inputs = feeds(published_resnet20, batch=64)
    (before,), (after,) = run(published_resnet20, inputs), run(result.model, inputs)
    assert np.abs(before - after).max() < 1e-4
    scores = [evaluate(m, cifar10) for m in (published_resnet20, result.model)]
    assert scores[0].count == 10_000
    assert np.array_equal(scores[0].predictions, scores[1].predictions)
