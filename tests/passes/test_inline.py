"""Functions flattened: the same outputs, every node named, weights untouched."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from passes import InlineFunctions, PassError, find_skips
from tests.passes.net import assert_same_function, feeds, run
from tests.passes.networks import FLOAT, Net
from tests.passes.proof import applied

LOCAL = helper.make_opsetid("local", 1)
OPSETS = [helper.make_opsetid("", 17), LOCAL]


def function(name: str, *nodes: onnx.NodeProto, opsets: list | None = None, **more: object) -> onnx.FunctionProto:
    inputs = more.pop("inputs", ["x", "w"])
    return helper.make_function("local", name, inputs, ["y"], list(nodes), opsets or OPSETS, **more)  # type: ignore[arg-type]


def block() -> onnx.FunctionProto:
    """relu(conv(x, w) + x), of which no node has a name."""
    return function(
        "block",
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Add", ["c", "x"], ["a"]),
        helper.make_node("Relu", ["a"], ["y"]),
    )


def network(*functions: onnx.FunctionProto, calls: int = 2, opsets: list | None = None) -> onnx.ModelProto:
    net = Net()
    x = net.image(4)
    for i in range(calls):
        x = net.op("block", [x, net.weight([4, 4, 3, 3], f"w{i}")], f"block{i}", 4, domain="local")
    x = net.relu(x, "last")
    info = helper.make_tensor_value_info(x, FLOAT, ["N", 4, 16, 16])
    graph = helper.make_graph(net.nodes, "g", net.inputs, [info], net.weights)
    model = helper.make_model(graph, functions=functions, opset_imports=opsets or OPSETS, ir_version=10)
    model.metadata_props.add(key="of", value="model")
    return model


def test_skips_hidden_in_functions_come_to_light() -> None:
    model = network(block())
    assert find_skips(model) == []
    result = applied(InlineFunctions(), model)
    assert result.notes == ("1 function inlined.",)
    assert [(s.kind, s.span, s.linear) for s in find_skips(result.model)] == [("identity", 1, True)] * 2
    for a, b in zip(run(model, feeds(model)), run(result.model, feeds(model)), strict=True):
        assert np.array_equal(a, b)


def test_every_node_gets_a_name_and_what_was_outside_keeps_its_own() -> None:
    model = network(block())
    flat = InlineFunctions().apply(model).model
    names = [n.name for n in flat.graph.node]
    assert len(set(names)) == len(names) == 7
    assert all(name.startswith("block/") for name in names[:-1])
    assert flat.graph.node[-1] == model.graph.node[-1]
    assert flat.graph.initializer == model.graph.initializer
    assert flat.metadata_props == model.metadata_props
    assert (flat.graph.input, flat.graph.output) == (model.graph.input, model.graph.output)


def test_functions_that_call_functions_and_take_attributes() -> None:
    inner = function("scale", helper.make_node("LeakyRelu", ["x"], ["y"]), inputs=["x"], attributes=["alpha"])
    reference = onnx.AttributeProto(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    inner.node[0].attribute.append(reference)
    outer = function(
        "block",
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("scale", ["c"], ["y"], domain="local", alpha=0.3),
    )
    result = applied(InlineFunctions(), network(inner, outer))
    assert result.notes == ("2 functions inlined.",)
    assert [round(n.attribute[0].f, 3) for n in result.model.graph.node if n.op_type == "LeakyRelu"] == [0.3, 0.3]
    assert_same_function(network(inner, outer), result.model)


def test_calls_that_leave_an_attribute_to_its_default() -> None:
    model = parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 17, "local" : 1]>
        g (float[N,4] x, bool flag) => (float[N,4] y) {
            a = local.outer (x)
            b = local.outer <alpha = 0.5> (a)
            y = If (flag) <then_branch = t () => (float[N,4] c) { c = local.inner (b) },
                           else_branch = e () => (float[N,4] d) { d = Identity (b) }>
        }
        <domain: "local", opset_import: ["" : 17]>
        inner <alpha: float = 0.25> (x) => (y) { y = LeakyRelu <alpha: float = @alpha> (x) }
        <domain: "local", opset_import: ["" : 17, "local" : 1]>
        outer <alpha: float = 0.125> (x) => (y) { z = local.inner (x) y = Elu <alpha: float = @alpha> (z) }""")
    result = applied(InlineFunctions(), model)
    alphas = [n.attribute[0].f for n in result.model.graph.node if n.op_type != "If"]
    assert alphas == [0.25, 0.125, 0.25, 0.5]
    inputs = feeds(model) | {"flag": np.array(True)}
    assert np.array_equal(run(model, inputs)[0], run(result.model, inputs)[0])


def test_functions_of_one_name() -> None:
    """One overload may call another."""
    plain, loud = block(), function("block", helper.make_node("block", ["x", "w"], ["y"], domain="local"))
    loud.overload = "loud"
    model = network(plain, loud)
    model.graph.node[0].overload = "loud"
    flat = InlineFunctions().apply(model).model
    assert [n.op_type for n in flat.graph.node] == [*["Conv", "Add", "Relu"] * 2, "Relu"]


def test_calls_inside_subgraphs() -> None:
    net = Net()
    x = net.image(4)
    net.weight([4, 4, 3, 3], "w")
    kind = helper.make_tensor_value_info("y", FLOAT, ["N", 4, 16, 16])
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("block", [x, "w"], ["y"], name=name, domain="local")], name, [], [kind]
        )
        for name in ("then", "else")
    }
    y = net.op("If", [net.input("flag", [], onnx.TensorProto.BOOL)], "if", 4, **branches)
    info = helper.make_tensor_value_info(y, FLOAT, ["N", 4, 16, 16])
    graph = helper.make_graph(net.nodes, "g", net.inputs, [info], net.weights)
    model = helper.make_model(graph, functions=[block()], opset_imports=OPSETS, ir_version=10)
    flat = applied(InlineFunctions(), model).model
    assert [n.op_type for n in flat.graph.node[0].attribute[0].g.node] == ["Conv", "Add", "Relu"]


@pytest.mark.parametrize("calls", [1, 2])
def test_a_function_for_another_operator_set_is_converted(calls: int) -> None:
    """ReduceMean took its axes as an attribute before opset 18."""
    old = function(
        "block",
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3]),
        helper.make_node("Sub", ["x", "m"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["y"], pads=[1] * 4),
    )
    model = network(old, calls=calls, opsets=[helper.make_opsetid("", 18), LOCAL])
    flat = applied(InlineFunctions(), model).model
    assert not flat.functions
    assert all(n.name for n in flat.graph.node)
    axes = [n.input[1] for n in flat.graph.node if n.op_type == "ReduceMean"]
    assert axes == [n.output[0] for n in flat.graph.node if n.op_type == "Constant"]
    assert len(axes) == calls


def test_what_functions_import_the_graph_imports() -> None:
    odd = function(
        "block",
        helper.make_node("Odd", ["x", "w"], ["y"], domain="somebody"),
        opsets=[helper.make_opsetid("somebody", 3)],
    )
    flat = applied(InlineFunctions(), network(odd), runs=False).model
    assert [(o.domain, o.version) for o in flat.opset_import] == [("", 17), ("local", 1), ("somebody", 3)]


def test_weights_are_not_looked_at() -> None:
    """Two gigabytes, and more, lie in a file that is not there."""
    model = network(block(), calls=1)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    flat = InlineFunctions().apply(model).model
    assert flat.graph.initializer == model.graph.initializer


def test_without_functions_nothing_changes() -> None:
    net = Net()
    result = InlineFunctions().apply(net.model(net.relu(net.image(4), "relu")))
    assert (result.changed, result.notes) == (False, ())


def test_a_function_that_calls_itself() -> None:
    loop = function("block", helper.make_node("block", ["x", "w"], ["y"], domain="local"))
    with pytest.raises(PassError) as raised:
        InlineFunctions().apply(network(loop))
    assert str(raised.value) == (
        "inline-functions: function 'block': it calls itself, by itself or through others; "
        "export the model without functions."
    )


def test_functions_that_call_each_other() -> None:
    there = function("block", helper.make_node("back", ["x", "w"], ["y"], domain="local"))
    back = function("back", helper.make_node("block", ["x", "w"], ["y"], domain="local"))
    with pytest.raises(PassError, match="it calls itself, by itself or through others"):
        InlineFunctions().apply(network(there, back))


def test_functions_that_multiply() -> None:
    """Forty functions, each calling the next one twice."""
    functions = [
        function(
            "block" if i == 0 else f"f{i}",
            helper.make_node(f"f{i + 1}", ["x", "w"], ["a"], domain="local"),
            helper.make_node(f"f{i + 1}", ["a", "w"], ["y"], domain="local"),
        )
        for i in range(40)
    ]
    last = function("f40", helper.make_node("Add", ["x", "x"], ["y"]))
    with pytest.raises(PassError) as raised:
        InlineFunctions().apply(network(*functions, last))
    assert str(raised.value) == (
        "inline-functions: the graph: its functions stand for more than 2,000,000 nodes; "
        "export the model without functions."
    )


def test_constants_in_functions_survive() -> None:
    value = numpy_helper.from_array(np.full([1], 2, np.float32))
    double = function(
        "block",
        helper.make_node("Constant", [], ["two"], value=value),
        helper.make_node("Mul", ["x", "two"], ["y"]),
    )
    model = network(double)
    assert_same_function(model, applied(InlineFunctions(), model).model, tolerance=0)
