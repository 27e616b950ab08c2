"""Constants computed once: the same outputs, and nothing stored that had better not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from passes import FoldConstants, HalfWeights, ModelError, find_skips
from tests.passes.net import assert_same_function, feeds, run
from tests.passes.networks import FLOAT, Net, cifar_resnet, densenet
from tests.passes.proof import applied, assert_equal

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@pytest.fixture
def net() -> Net:
    return Net()


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    result = applied(FoldConstants(), model)
    assert result.changed
    assert result.notes == ()
    assert_same_function(model, result.model, tolerance=1e-6)
    return result.model


def operators(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node]


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def test_a_chain_becomes_one_weight_of_its_last_name(net: Net) -> None:
    turned = net.op("Transpose", [net.weight([3, 2], "w")], "turned", perm=[1, 0])
    twice = net.op("Mul", [turned, net.constant(2.0, "two")], "twice")
    model = net.model(net.op("MatMul", [net.input("x", ["N", 2]), twice], "y"))
    result = folded(model)
    assert operators(result) == ["MatMul"]
    assert list(weights(result)) == ["twice.out"]
    np.testing.assert_array_equal(weights(result)["twice.out"], weights(model)["w"].T * 2)


def test_what_others_need_stays(net: Net) -> None:
    w = net.weight([4, 1, 1], "w")
    x = net.op("Add", [net.image(4), net.op("Exp", [w], "exp")], "a")
    result = folded(net.model(net.op("Mul", [x, w], "b")))
    assert list(weights(result)) == ["w", "exp.out"]


def test_scalars_stay_scalars(net: Net) -> None:
    """A Gather by a scalar index gives one axis less."""
    index = net.op("Cast", [net.constant(1.0, "one")], "index", to=TensorProto.INT64)
    result = folded(net.model(net.op("Gather", [net.image(4), index], "y", axis=1)))
    assert weights(result)["index.out"].shape == ()


def test_several_outputs_and_shared_ancestors(net: Net) -> None:
    x = net.image(4)
    base = net.op("Exp", [net.weight([8, 1, 1], "w")], "base")
    net.nodes.append(helper.make_node("Split", [base], ["left", "right"], name="split", axis=0))
    y = net.op("Add", [net.op("Mul", [x, "left"], "mul", 4), "right"], "add")
    assert set(weights(folded(net.model(y)))) == {"left", "right"}


def test_an_output_that_nothing_reads_goes_with_the_one_that_is_computed(net: Net) -> None:
    weight, two = net.weight([4, 3, 1, 1], "w"), net.constant([2], "two")
    net.nodes.append(helper.make_node("TopK", [weight, two], ["most", "where"], name="top", axis=1))
    result = folded(net.model(net.op("Conv", [net.image(2), "most"], "y", 4)))
    assert (operators(result), list(weights(result))) == (["Conv"], ["most"])


def test_an_output_that_leaves_the_graph_keeps_its_node_whole(net: Net) -> None:
    """TopK must make both, also where the one is computed and the other an output."""
    weight, two = net.weight([4, 3, 1, 1], "w"), net.constant([2], "two")
    net.nodes.append(helper.make_node("TopK", [weight, two], ["most", "where"], name="top", axis=1))
    y = net.op("Conv", [net.image(2), "most"], "y", 4)
    outputs = [
        helper.make_tensor_value_info(y, FLOAT, ["N", 4, 16, 16]),
        helper.make_tensor_value_info("where", TensorProto.INT64, [4, 2, 1, 1]),
    ]
    graph = helper.make_graph(net.nodes, "g", net.inputs, outputs, net.weights)
    folded(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("opset", "changes"), [(11, False), (13, True)])
def test_softmax_of_an_opset_in_which_it_took_several_axes_as_one_stays(op: str, opset: int, changes: bool) -> None:
    """onnx's reference takes a single axis, whatever the opset."""
    net = Net(opset=opset)
    shares = net.op(op, [net.weight([4, 16, 16], "w")], "shares", axis=1)
    model = net.model(net.op("Add", [net.image(4), shares], "y"))
    result = FoldConstants().apply(model)
    assert result.changed is changes
    assert_same_function(model, result.model, tolerance=1e-6)


@pytest.mark.parametrize(("opset", "changes"), [(9, False), (13, False), (15, True)])
def test_batch_norm_of_a_constant_stays_where_its_reference_takes_the_batch(opset: int, changes: bool) -> None:
    net = Net(opset=opset)
    net.channels["w"] = 4
    normal = net.bn(net.weight([1, 4, 16, 16], "w"), "bn")
    model = net.model(net.op("Add", [net.image(4), normal], "y"))
    result = FoldConstants().apply(model)
    assert result.changed is changes
    assert_same_function(model, result.model, tolerance=1e-6)


def test_local_response_normalisation_of_a_constant_stays() -> None:
    """onnx's reference normalises as many channels as there are images."""
    net = Net()
    normal = net.op("LRN", [net.weight([1, 4, 16, 16], "w")], "lrn", size=3, alpha=1.0)
    model = net.model(net.op("Add", [net.image(4), normal], "y"))
    result = FoldConstants().apply(model)
    assert not result.changed
    assert result.notes == ("'lrn.out' stays: LRN 'lrn' cannot be computed: there is no reference for it in opset 17.",)


def test_constant_nodes_stay_and_what_is_computed_from_them_goes(net: Net) -> None:
    two = net.op("Constant", [], "two", value_float=2.0)
    y = net.op("Mul", [net.op("Mul", [net.image(4), two], "once"), net.op("Sqrt", [two], "root")], "y")
    assert operators(folded(net.model(y))) == ["Constant", "Mul", "Mul"]


def test_what_depends_on_an_input_stays_even_by_its_shape_alone(net: Net) -> None:
    x = net.image(4)
    shape = net.op("Shape", [x], "shape")
    model = net.model(net.op("Add", [x, net.op("ConstantOfShape", [shape], "zeros")], "y"))
    assert not FoldConstants().apply(model).changed


def test_quantisers_stay(net: Net) -> None:
    scale = net.constant(0.1, "scale")
    w = net.op("QuantizeLinear", [net.weight([4, 4, 1, 1], "w"), scale], "q")
    w = net.op("DequantizeLinear", [w, scale], "dq")
    assert not applied(FoldConstants(), net.model(net.op("Conv", [net.image(4), w], "conv", 4))).changed


def test_chance_and_dropout_stay(net: Net) -> None:
    noise = net.op("RandomNormalLike", [net.weight([4, 1, 1], "w")], "noise", seed=1.0)
    kept = net.op("Dropout", [net.weight([4, 1, 1], "v")], "dropout")
    y = net.op("Add", [net.op("Add", [net.image(4), noise], "a"), kept], "b")
    assert not FoldConstants().apply(net.model(y)).changed


def test_other_domains_and_functions_stay(net: Net) -> None:
    strange = net.op("Strange", [net.weight([4, 1, 1], "w")], "strange", 4, domain="somebody")
    y = net.op("Add", [net.image(4), strange], "y")
    graph = helper.make_graph(net.nodes, "g", net.inputs, [helper.make_tensor_value_info(y, FLOAT, None)], net.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("somebody", 1)]
    assert not FoldConstants().apply(helper.make_model(graph, opset_imports=opsets, ir_version=8)).changed


def test_graph_outputs_stay_computed(net: Net) -> None:
    """Some tools take no weight for an output."""
    constant = net.op("Exp", [net.weight([4, 1, 1], "w")], "exp")
    model = net.model(net.op("Add", [net.image(4), constant], "y"), constant)
    assert not FoldConstants().apply(model).changed


def test_what_subgraphs_read_is_folded_under_its_name(net: Net) -> None:
    constant = net.op("Exp", [net.weight([4, 1, 1], "w")], "exp")
    x = net.image(4)
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, [x, constant], [name], name=name)], name, [],
            [helper.make_tensor_value_info(name, FLOAT, ["N", 4, 16, 16])],
        )
        for name, op in (("then", "Add"), ("else", "Mul"))
    }  # fmt: skip
    model = net.model(net.op("If", [net.input("flag", [], TensorProto.BOOL)], "if", 4, **branches))
    result = applied(FoldConstants(), model).model
    assert list(weights(result)) == ["exp.out"]
    np.testing.assert_allclose(run(result, feeds(model))[0], run(model, feeds(model))[0], atol=1e-5)


def test_weights_at_half_the_size_come_back() -> None:
    """Constant folding undoes the Casts; the values are those that float16 has."""
    model = cifar_resnet(1)
    half = applied(HalfWeights(above=50), model).model
    back = folded(half)
    assert operators(back) == operators(model)
    before, after = weights(model), weights(back)
    assert before.keys() == after.keys()
    for name, value in before.items():
        rounded = (
            value.astype(np.float16).astype(np.float32) if value.size > 50 and value.dtype == np.float32 else value
        )
        np.testing.assert_array_equal(after[name], rounded)
    assert [(s.kind, s.span) for s in find_skips(back)] == [(s.kind, s.span) for s in find_skips(model)]


def test_densenet_by_caffe() -> None:
    result = folded(densenet())
    assert "Unsqueeze" not in operators(result)


@pytest.mark.parametrize("name", ["squeezenet", "inception_v2"])
def test_published_topologies(name: str) -> None:
    """Their weights are computed by ConstantOfShape, their operators those of opset 9."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    result = FoldConstants().apply(model)
    assert result.notes == ()
    assert not {"ConstantOfShape", "Unsqueeze"} & set(operators(result.model))
    onnx.checker.check_model(result.model)
    inputs = feeds(model)
    for a, b in zip(run(model, inputs), run(result.model, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_long_chains() -> None:
    net = Net()
    w = net.weight([4, 1, 1], "w")
    for i in range(1000):
        w = net.op("Neg", [w], f"neg{i}")
    assert operators(folded(net.model(net.op("Add", [net.image(4), w], "y")))) == ["Add"]


def test_many_taps_on_one_chain() -> None:
    """Each link is computed once, however many read it."""
    net = Net()
    x, w = net.image(4), net.weight([4, 1, 1], "w")
    for i in range(300):
        w = net.op("Abs", [w], f"abs{i}")
        x = net.op("Add", [x, w], f"add{i}")
    assert set(operators(folded(net.model(x)))) == {"Add"}


# -- what had better not be folded --------------------------------------------------------------------------------


def enormous(net: Net, *dims: int) -> onnx.ModelProto:
    big = net.op("ConstantOfShape", [net.constant(np.array(dims), "dims")], "big")
    mean = net.op("ReduceMean", [big], "mean", keepdims=0)
    return net.model(net.op("Add", [net.image(4), mean], "y"))


def test_enormous_constants_stay(net: Net) -> None:
    result = FoldConstants().apply(enormous(net, 2**20, 2**20))
    assert not result.changed
    assert result.notes == (
        "ConstantOfShape 'big' stays: what it makes is too large to store (1,099,511,627,776 elements).",
    )


def test_many_large_constants_stay_together(net: Net) -> None:
    """Each alone would do; 2^28 elements in all are a gigabyte. (They are never made, as nothing else may be.)"""
    x = net.image(4)
    dims = net.constant(np.array([2**13, 2**13 + 1]), "dims")
    for i in range(3):
        mean = net.op("ReduceMean", [net.op("ConstantOfShape", [dims], f"big{i}")], f"mean{i}", keepdims=0)
        x = net.op("Add", [x, mean], f"y{i}")
    result = FoldConstants().apply(net.model(x))
    assert not result.changed
    assert len(result.notes) == 3


def test_unknown_sizes_stay(net: Net) -> None:
    places = net.op("NonZero", [net.weight([4], "w")], "places")
    first = net.op("ReduceMin", [net.op("Cast", [places], "cast", to=FLOAT)], "first", keepdims=0)
    result = FoldConstants().apply(net.model(net.op("Add", [net.image(4), first], "y")))
    assert result.notes == ("NonZero 'places' stays: the size of what it makes is unknown before it runs.",)


def test_slow_references_stay(net: Net) -> None:
    image = net.weight([1, 3, 400, 400], "w")
    kernel = net.weight([3, 3, 9, 9], "kernel")
    blurred = net.op("Conv", [image, kernel], "blur", 3, pads=[4] * 4)
    result = FoldConstants().apply(net.model(net.op("Add", [net.input("x", ["N", 3, 400, 400]), blurred], "y")))
    assert result.notes == ("Conv 'blur' stays: it would take too long here.",)


def test_what_cannot_be_computed_stays(net: Net) -> None:
    """An index out of range: the runtime will say so, if it ever comes there."""
    picked = net.op("Gather", [net.weight([4, 1, 1], "w"), net.constant(np.array([9]), "nine")], "picked", axis=0)
    result = FoldConstants().apply(net.model(net.op("Add", [net.image(4), picked], "y")))
    assert not result.changed
    assert result.notes[0].startswith("'picked.out' stays: Gather 'picked' cannot be computed: ")


def test_weights_that_are_not_in_memory(net: Net) -> None:
    model = net.model(net.op("Add", [net.image(4), net.op("Exp", [net.weight([4, 1, 1], "w")], "exp")], "y"))
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    with pytest.raises(ModelError) as raised:
        FoldConstants().apply(model)
    assert str(raised.value) == ("The weight 'w' lies in an external file; load the model with its external data.")


def test_weights_that_are_cut_off(net: Net) -> None:
    model = net.model(net.op("Add", [net.image(4), net.op("Exp", [net.weight([4, 1, 1], "w")], "exp")], "y"))
    model.graph.initializer[0].raw_data = b"123"
    result = FoldConstants().apply(model)
    assert result.notes[0].startswith("'exp.out' stays: The weight 'w' cannot be read: ")


# -- half-weights -------------------------------------------------------------------------------------------------


def test_half_weights_are_stored_small_and_made_large_before_their_first_reader() -> None:
    model = cifar_resnet(1)
    result = applied(HalfWeights(above=500), model).model
    assert operators(result)[:1] == ["Conv"]
    casts = [n for n in result.graph.node if n.op_type == "Cast"]
    assert [(list(n.input), list(n.output)) for n in casts] == [
        ([f"{w}_half"], [w]) for w in ("s1b0.2.w", "s2b0.1.w", "s2b0.2.w")
    ]
    assert_same_function(model, result, tolerance=2e-2)
    size = sum(i.ByteSize() for i in model.graph.initializer)
    assert sum(i.ByteSize() for i in result.graph.initializer) < 0.65 * size


@pytest.mark.parametrize("opset", [4, 5, 6])
def test_half_weights_casts_as_old_opsets_do(net: Net, opset: int) -> None:
    model = net.model(net.op("MatMul", [net.input("x", ["N", 4]), net.weight([4, 4], "w")], "y"))
    model.opset_import[0].version, model.ir_version = opset, 4
    result = HalfWeights(above=4).apply(model).model
    onnx.checker.check_model(result, full_check=True)
    assert "Cast" in operators(result)


def test_half_weights_leaves_small_ones_and_other_types(net: Net) -> None:
    x = net.image(4)
    net.constant(np.ones([4, 1, 1]).astype(np.int64), "whole")
    y = net.op("Add", [x, net.op("Cast", ["whole"], "cast", to=FLOAT)], "y")
    model = net.model(net.op("Add", [y, net.weight([4, 1, 1], "w")], "z"))
    assert not HalfWeights().apply(model).changed
    assert_equal(HalfWeights(above=4).apply(model).model, model)


def test_half_weights_keeps_what_float16_cannot_hold(net: Net) -> None:
    w = net.constant(np.full([4, 16, 16], 1e6), "w")
    result = applied(HalfWeights(), net.model(net.op("Add", [net.image(4), w], "y")))
    assert (result.changed, result.notes) == (False, ("'w' stays float32: float16 cannot hold 1e+06.",))


def test_half_weights_keeps_what_a_subgraph_reads(net: Net) -> None:
    x, w = net.image(4), net.weight([4, 16, 16], "w")
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Add", [x, w], [name], name=name)], name, [],
            [helper.make_tensor_value_info(name, FLOAT, ["N", 4, 16, 16])],
        )
        for name in ("then", "else")
    }  # fmt: skip
    model = net.model(net.op("If", [net.input("flag", [], TensorProto.BOOL)], "if", 4, **branches))
    result = HalfWeights().apply(model)
    assert result.notes == ("'w' stays float32: it is an output, or read inside a subgraph.",)


def test_sizes_that_follow_from_what_was_computed(net: Net) -> None:
    """As PyTorch's exporter before opset 13 pads: how many zeros to make is a constant that is computed."""
    four = net.op("Exp", [net.constant([np.log(4.2)], "log")], "four")
    zeros = net.op("ConstantOfShape", [net.op("Cast", [four], "count", to=TensorProto.INT64)], "zeros")
    ones = net.op(
        "Add", [net.op("Reshape", [zeros, net.constant([4, 1, 1], "s")], "r"), net.constant(1.0, "1")], "ones"
    )
    result = folded(net.model(net.op("Mul", [net.image(4), ones], "y")))
    assert operators(result) == ["Mul"]
