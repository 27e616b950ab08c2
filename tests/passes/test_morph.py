"""Long skips that fade into short ones: the same function at gates of 1, the shortened network at 0."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from passes import FoldSkips, MorphSkips, PassError, RemoveSkips, ShortenSkips, find_skips, gates
from tests.passes.net import assert_same_function
from tests.passes.networks import Net, cifar_resnet, imagenet_resnet
from tests.passes.proof import applied


def with_gates(model: onnx.ModelProto, value: float) -> onnx.ModelProto:
    """A copy with every gate at ``value``."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    names = gates(copy)
    for tensor in copy.graph.initializer:
        if tensor.name in names:
            tensor.CopyFrom(numpy_helper.from_array(np.array(value, np.float32), tensor.name))
    return copy


@pytest.mark.parametrize("option", ["A", "B"])
def test_at_gates_of_one_nothing_changes_and_at_zero_the_skips_are_short(option: str) -> None:
    model = cifar_resnet(2, option)
    morphed = applied(MorphSkips(), model).model
    assert len(gates(morphed)) == 6
    assert_same_function(model, morphed, tolerance=1e-5)
    short = applied(ShortenSkips(keep="last"), model).model
    assert_same_function(short, with_gates(morphed, 0), tolerance=0)


def test_faded_long_skips_go_exactly_and_the_short_ones_fold() -> None:
    model = cifar_resnet(2)
    faded = with_gates(applied(MorphSkips(), model).model, 0)
    short = applied(RemoveSkips(faded=True), faded).model
    assert [skip.number for skip in find_skips(short)] == [f"{n}.1" for n in range(1, 7)]
    assert sorted(n.op_type for n in short.graph.node) == sorted(
        n.op_type for n in ShortenSkips(keep="last").apply(model).model.graph.node
    )
    assert_same_function(faded, short, tolerance=0)
    folded = applied(FoldSkips(), short).model
    assert not find_skips(folded)
    assert_same_function(faded, folded, tolerance=1e-4)


def test_each_skip_becomes_a_short_and_a_long_one() -> None:
    morphed = applied(MorphSkips(skips=("2",)), cifar_resnet(1)).model
    assert [(s.number, s.span) for s in find_skips(morphed)] == [("1", 2), ("2.1", 1), ("2.2", 2), ("3", 2)]
    assert [s.gate for s in find_skips(morphed) if s.gate] == ["s1b0.join.out_gate"]


def test_bottlenecks_cannot_morph() -> None:
    """Their last layer widens, so that no short skip ends where the long one does."""
    with pytest.raises(PassError, match="cannot have a short skip that ends where the long one does"):
        MorphSkips().apply(imagenet_resnet(50))


def test_only_faded_skips_go() -> None:
    model = with_gates(applied(MorphSkips(skips=("1",)), cifar_resnet(1)).model, 0)
    rest = RemoveSkips(faded=True).apply(model).model
    assert [s.number for s in find_skips(rest)] == ["1.1", "2", "3"]
    assert RemoveSkips(faded=True).apply(rest).model == rest


def test_without_a_faded_skip_there_is_nothing_to_remove() -> None:
    with pytest.raises(PassError, match="no skip has a gate of 0"):
        RemoveSkips(faded=True).apply(applied(MorphSkips(), cifar_resnet(1)).model)


@pytest.mark.parametrize("outer", [False, True])
def test_what_others_read_must_not_change(outer: bool) -> None:
    """Of the last layer, or of an inner join that lies behind it."""
    net = Net()
    x = net.image(4)
    y = net.relu(net.conv(net.relu(net.conv(x, "a", 4), "ra"), "b", 4), "rb")
    z = net.conv(y, "c", 4)
    inner = net.op("Add", [z, y], "inner") if outer else z
    model = net.model(net.op("Add", [inner, x], "join"), net.op("Exp", [inner], "reader"))
    with pytest.raises(PassError, match="on its main path has other readers or is an output of the graph"):
        MorphSkips(skips=("2" if outer else "1",)).apply(model)
