"""Gates: a product with one on each skip path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from passes import GateSkips, PassError, RemoveSkips, find_skips, gates
from tests.passes.net import assert_same_function, feeds, run
from tests.passes.networks import CORPUS, Net, cifar_resnet
from tests.passes.proof import applied, assert_equal

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@pytest.mark.parametrize("name", CORPUS)
def test_the_outputs_are_the_same_to_the_bit(name: str) -> None:
    build, skips = CORPUS[name]
    model = build()
    gated = applied(GateSkips(), model).model
    inputs = feeds(model)
    for a, b in zip(run(model, inputs), run(gated, inputs), strict=True):
        assert np.array_equal(a, b)
    assert len(gates(gated)) == len(set(gates(gated))) == skips


@pytest.mark.parametrize("name", CORPUS)
def test_gated_and_removed_is_removed(name: str) -> None:
    build, skips = CORPUS[name]
    rest = applied(RemoveSkips(), applied(GateSkips(), build()).model).model
    assert_equal(rest, build(without=range(1, skips + 1)))


def test_the_product_stands_just_before_the_join() -> None:
    model = applied(GateSkips(skips=("2",)), cifar_resnet(1)).model
    names = [n.name for n in model.graph.node]
    join = names.index("s1b0.join")
    product, joined = model.graph.node[join - 1], model.graph.node[join]
    assert (product.op_type, product.name) == ("Mul", "s1b0.join.out_gated")
    assert list(product.input) == ["s1b0.pad.out", "s1b0.join.out_gate"]
    assert list(joined.input) == ["s1b0.2.bn.out", product.output[0]]
    gate = next(i for i in model.graph.initializer if i.name == "s1b0.join.out_gate")
    assert numpy_helper.to_array(gate) == np.float32(1)
    assert list(gate.dims) == []
    assert gates(model) == ["s1b0.join.out_gate"]


def test_the_published_resnet20(published_resnet20: onnx.ModelProto) -> None:
    gated = applied(GateSkips(), published_resnet20).model
    assert_same_function(published_resnet20, gated, tolerance=0)
    assert len(gates(gated)) == 9


def test_files_of_version_3() -> None:
    """ResNet50's joins are Sums; its file lists weights as inputs."""
    model = onnx.load(LIGHT / "light_resnet50.onnx")
    gated = applied(GateSkips(), model, runs=False).model
    assert len(gates(gated)) == 16
    inputs = feeds(model)
    for a, b in zip(run(model, inputs), run(gated, inputs), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_a_gate_has_the_type_of_what_it_gates(dtype: type) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    net = Net()
    x = net.input("image", ["N", 4, 8, 8], kind)
    model = net_of(net, x, kind, numpy_helper.from_array(np.ones([4, 4, 1, 1], dtype), "w"))
    gated = applied(GateSkips(), model, runs=dtype is np.float16).model  # no runtime has a Conv of doubles
    assert next(i for i in gated.graph.initializer if i.name == "join.out_gate").data_type == kind


def test_a_bfloat16_gate() -> None:
    net = Net()
    x = net.input("image", ["N", 4, 8, 8], TensorProto.BFLOAT16)
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [4, 4, 1, 1], np.ones(16))
    net.opset = 22  # the first with a Conv of this type
    gated = applied(GateSkips(), net_of(net, x, TensorProto.BFLOAT16, weight), runs=False).model
    assert next(i for i in gated.graph.initializer if i.name == "join.out_gate").data_type == TensorProto.BFLOAT16


def net_of(net: Net, x: str, kind: int, weight: onnx.TensorProto) -> onnx.ModelProto:
    net.weights.append(weight)
    return net.model(net.op("Add", [net.op("Conv", [x, "w"], "conv"), x], "join"), kind=kind)


def test_old_products_are_told_to_broadcast() -> None:
    """Before opset 7, Mul needs an attribute for it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
        helper.make_node("Add", ["y", "x"], ["z"], name="a"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 8, 8]) for n in "xz"]
    weight = numpy_helper.from_array(np.ones([4, 4, 1, 1], np.float32), "w")
    graph = helper.make_graph(nodes, "old", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=4)
    product = applied(GateSkips(), model, runs=False).model.graph.node[1]
    assert (product.op_type, [(a.name, a.i) for a in product.attribute]) == ("Mul", [("broadcast", 1)])


def test_a_skip_that_has_a_gate_keeps_it() -> None:
    once = GateSkips(skips=("1",)).apply(cifar_resnet(1)).model
    result = applied(GateSkips(), once)
    assert result.notes == ("Skip 1 has the gate 's0b0.join.out_gate' already.",)
    assert len(gates(result.model)) == 3


def test_a_gate_that_others_use_gets_company() -> None:
    """One scalar gates both skips: neither could be faded alone."""
    net = Net()
    x = net.image(4)
    half = net.constant(0.5, "half")
    for i in range(2):
        x = net.op("Add", [net.conv(x, f"conv{i}", 4), net.op("Mul", [x, half], f"mul{i}")], f"join{i}")
    model = net.model(x)
    assert gates(model) == []
    gated = applied(GateSkips(), model).model
    assert gates(gated) == ["join0.out_gate", "join1.out_gate"]
    assert_same_function(model, gated, tolerance=0)


def test_a_join_that_is_a_graph_output() -> None:
    net = Net()
    x = net.image(4)
    model = net.model(net.op("Add", [x, net.conv(x, "conv", 4)], "join"))
    gated = applied(GateSkips(), model).model
    assert [list(n.input) for n in gated.graph.node] == [
        ["image", "conv.w"], ["image", "join.out_gate"], ["join.out_gated_out", "conv.out"],
    ]  # fmt: skip


def test_numbers_stay_when_gated_skips_go_one_by_one() -> None:
    model = GateSkips().apply(cifar_resnet(2)).model
    for number in ("4", "1", "6"):
        model = RemoveSkips(skips=(number,)).apply(model).model
    assert [(s.number, s.node) for s in find_skips(model)] == [
        ("2", "s0b1.join"),
        ("3", "s1b0.join"),
        ("5", "s2b0.join"),
    ]


def test_whole_numbers_cannot_be_gated() -> None:
    net = Net()
    x = net.input("x", ["N", 4], TensorProto.INT32)
    net.constant(np.ones([4, 4], np.int32), "w")
    model = net.model(net.op("Add", [net.op("MatMul", [x, "w"], "product"), x], "join"), kind=TensorProto.INT32)
    with pytest.raises(PassError) as raised:
        GateSkips().apply(model)
    assert str(raised.value) == (
        "gate-skips: skip 1 at 'join': it adds whole numbers, which no gate can fade; "
        "gate it before the model is quantised."
    )


def test_an_unknown_type() -> None:
    net = Net()
    x = net.image(4)
    odd = net.op("Odd", [x], "odd", 4, domain="somebody")
    join = net.op("Add", [net.op("Conv", [odd, net.weight([4, 4, 1, 1], "w")], "conv"), odd], "join")
    end = net.op("Odd", [join], "end", 4, domain="somebody")
    output = helper.make_tensor_value_info(end, TensorProto.FLOAT, None)
    graph = helper.make_graph(net.nodes, "g", net.inputs, [output], net.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("somebody", 1)]
    with pytest.raises(PassError) as raised:
        GateSkips().apply(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    assert str(raised.value) == "gate-skips: skip 1 at 'join': its type is unknown; give 'join.out' a value_info."
