"""Channels that weigh least go, wherever they lie between two convolutions, until few enough parameters are left."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from passes import MergeSkips, PassError, PruneChannels, find_skips
from tests.passes.net import assert_same_function, feeds, run, weights_of
from tests.passes.networks import Net, cifar_resnet
from tests.passes.proof import applied


def chain(normalised: bool = True, fork: bool = False, places: bool = False) -> onnx.ModelProto:
    """Three convolutions of 8, 6 and 4 channels.

    Args:
        normalised: whether a batch norm follows the first.
        fork: whether what the first makes is an output as well.
        places: whether the places of the maxima that the second one's channels are pooled to are outputs as well.
    """
    net = Net()
    x = net.image(3, 8)
    first = x = net.conv(x, "a", 8, bias=True)
    if normalised:
        x = net.bn(x, "a.bn")
    x = net.op("Relu", [x], "a.relu")
    x = net.conv(x, "b", 6)
    x = net.op("MaxPool", [x], "b.pool", kernel_shape=[2, 2], strides=[2, 2])
    x = net.conv(x, "c", 4, kernel=1)
    model = net.model(*([x, first] if fork else [x]))
    if places:
        (pool,) = [n for n in model.graph.node if n.op_type == "MaxPool"]
        pool.output.append("places")
        model.graph.output.append(onnx.helper.make_tensor_value_info("places", onnx.TensorProto.INT64, ["N", 6, 4, 4]))
    return model


def size(model: onnx.ModelProto) -> int:
    return sum(w.size for name, w in weights_of(model).items() if not name.endswith((".mean", ".var")))


def with_dead(model: onnx.ModelProto, reader: str, channels: list[int]) -> onnx.ModelProto:
    """A copy in which these input channels of a convolution weigh nothing."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.name == f"{reader}.w":
            value = numpy_helper.to_array(tensor).copy()
            value[:, channels] = 0
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return copy


@pytest.mark.parametrize("normalised", [True, False])
def test_channels_that_weigh_nothing_go_first_and_without_a_trace(normalised: bool) -> None:
    model = with_dead(with_dead(chain(normalised), "b", [1, 4, 5]), "c", [0])
    # A channel of a holds 27 weights, a bias, its normalisation and 6 x 9 weights of b; one of b 8 x 9 and 4.
    dead = 3 * (27 + 1 + 2 * normalised + 6 * 9) + 1 * (5 * 9 + 4)
    pruned = applied(PruneChannels(parameters=size(model) - dead), model).model
    assert [weights_of(pruned)[f"{n}.w"].shape for n in "abc"] == [(5, 3, 3, 3), (5, 5, 3, 3), (4, 5, 1, 1)]
    assert size(pruned) == size(model) - dead
    assert_same_function(model, pruned, tolerance=1e-6)
    np.testing.assert_array_equal(weights_of(pruned)["a.w"], weights_of(model)["a.w"][[0, 2, 3, 6, 7]])


def test_what_others_read_stays() -> None:
    """What the first convolution makes is an output, so only channels of the second go."""
    model = chain(fork=True)
    pruned = applied(PruneChannels(parameters=size(model) - 70), model).model
    assert weights_of(pruned)["a.w"].shape == (8, 3, 3, 3)
    assert weights_of(pruned)["b.w"].shape == (5, 8, 3, 3)


def test_channels_whose_maxima_have_places_that_are_read_stay() -> None:
    model = chain(places=True)
    pruned = applied(PruneChannels(parameters=size(model) - 200), model).model
    assert weights_of(pruned)["b.w"].shape[0] == 6


@pytest.mark.parametrize(("op", "slot"), [("Conv", 1), ("Conv", 2), ("BatchNormalization", 1)])
def test_what_layers_share_stays_whole(op: str, slot: int) -> None:
    """Else each would need a cut copy, which is more than the one."""
    net = Net()
    x = net.image(4, 8)
    for name in "abcd":
        x = net.relu(net.conv_bn(x, name, 4, bias=True), f"{name}.relu")
    first, second = [node for node in net.nodes if node.op_type == op][1:3]
    net.weights = [w for w in net.weights if w.name != second.input[slot]]
    shared = second.input[slot] = first.input[slot]
    model = net.model(net.conv(x, "e", 4))
    pruned = applied(PruneChannels(parameters=size(model) - 200), model).model
    assert size(pruned) <= size(model) - 200
    assert all(w.shape[0] == 4 for n, w in weights_of(pruned).items() if n in ("b.w", "c.w", shared))


def test_a_resnet_keeps_the_channels_of_its_skips() -> None:
    model = cifar_resnet(2)
    pruned = applied(PruneChannels(parameters=int(0.7 * size(model))), model).model
    assert len(find_skips(pruned)) == 6
    assert size(pruned) <= 0.7 * size(model)
    assert [o.shape for o in run(pruned, feeds(model))] == [o.shape for o in run(model, feeds(model))]


def test_merged_then_pruned_has_what_the_network_had() -> None:
    model = cifar_resnet(2)
    merged = MergeSkips().apply(model).model
    assert size(merged) > size(model)
    pruned = applied(PruneChannels(parameters=size(model)), merged).model
    assert size(pruned) <= size(model)
    assert not find_skips(pruned)


def test_few_enough_is_left_as_it_is() -> None:
    result = applied(PruneChannels(parameters=10_000), chain())
    assert not result.changed
    assert "which is few enough" in result.notes[0]


@pytest.mark.parametrize(
    ("parameters", "sentence"), [(0, "it is not said how many may be left"), (10, "are left when each of the 2 pairs")]
)
def test_what_cannot_be_reached_is_said(parameters: int, sentence: str) -> None:
    with pytest.raises(PassError, match=sentence):
        PruneChannels(parameters=parameters).apply(chain())
