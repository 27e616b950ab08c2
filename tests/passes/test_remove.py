"""Taking skips out: what is left is the network as it would have been built without them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from passes import FoldConstants, GateSkips, PassError, RemoveSkips, find_skips
from passes.skips import METADATA
from tests.passes.net import assert_same_function, count
from tests.passes.networks import CORPUS, FLOAT, Net, cifar_resnet, unet
from tests.passes.proof import applied, assert_equal

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def removed(model: onnx.ModelProto, **options: object) -> onnx.ModelProto:
    result = applied(RemoveSkips(**options), model)  # type: ignore[arg-type]
    assert result.changed
    return result.model


@pytest.mark.parametrize("name", CORPUS)
def test_each_alone(name: str) -> None:
    build, skips = CORPUS[name]
    for number in sorted({1, 2, 3, skips - 1, skips} & set(range(1, skips + 1))):
        assert_equal(removed(build(), skips=(str(number),)), build(without={number}))


@pytest.mark.parametrize("name", CORPUS)
def test_all(name: str) -> None:
    build, skips = CORPUS[name]
    rest = removed(build())
    assert_equal(rest, build(without=range(1, skips + 1)))
    assert find_skips(rest) == []


@pytest.mark.parametrize("name", ["cifar resnet, option A", "resnet 18", "decoder", "se-resnet"])
def test_stages(name: str) -> None:
    """Stage k of 3 removes the first ceil(n k / 3), whether on the original or on the stage before."""
    build, skips = CORPUS[name]
    staged = build()
    for stage in (1, 2, 3):
        staged = removed(staged, stage=stage)
        assert_equal(staged, build(without=range(1, math.ceil(skips * stage / 3) + 1)))
        assert staged == removed(build(), stage=stage)


def test_stages_of_the_published_resnet20(published_resnet20: onnx.ModelProto) -> None:
    staged = published_resnet20
    for stage, joins in ((1, 6), (2, 3), (3, 0)):
        staged = removed(staged, stage=stage)
        assert count(staged, "Add") == joins
        assert staged == removed(published_resnet20, stage=stage)


@pytest.mark.parametrize(("name", "skips"), [("resnet50", 16), ("shufflenet", 13)])
def test_published_topologies(name: str, skips: int) -> None:
    """Their weights are computed by ConstantOfShape and listed as inputs, as files of version 3 demand."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    rest = removed(model)
    assert count(rest, "Sum") == count(model, "Sum") - skips
    assert {i.name for i in rest.graph.initializer} == {i.name for i in rest.graph.input} - {rest.graph.input[0].name}


def test_from_the_output_side() -> None:
    assert_equal(removed(cifar_resnet(2), stage=1, order="output"), cifar_resnet(2, without={5, 6}))


def test_by_sensitivity() -> None:
    """Those whose removal alone keeps the most accuracy go first; equal ones in order of their numbers."""
    scores = (0.1, 0.9, 0.5, 0.9, 0.2, 0.3)
    for stage, gone in ((1, {2, 4}), (2, {2, 4, 3, 6}), (3, {1, 2, 3, 4, 5, 6})):
        model = removed(cifar_resnet(2), stage=stage, order="sensitivity", scores=scores)
        assert_equal(model, cifar_resnet(2, without=gone))


def test_other_numbers_of_stages() -> None:
    for stages in (1, 2, 4, 6, 9):
        for stage in range(1, stages + 1):
            gone = range(1, math.ceil(6 * stage / stages) + 1)
            model = RemoveSkips(stage=stage, stages=stages).apply(cifar_resnet(2)).model
            assert_equal(model, cifar_resnet(2, without=gone))


def test_several_by_number() -> None:
    assert_equal(removed(cifar_resnet(2), skips=("5", "1")), cifar_resnet(2, without={1, 5}))


def test_a_gate_at_zero_makes_it_exact() -> None:
    model = GateSkips().apply(cifar_resnet(2)).model
    names = {s.gate for s in find_skips(model)}
    for initializer in model.graph.initializer:
        if initializer.name in names:
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.float32), initializer.name))
    rest = removed(model)
    assert_same_function(model, rest, tolerance=1e-6)
    assert_equal(rest, cifar_resnet(2, without=range(7)))


# -- joins in special places --------------------------------------------------------------------------------------


def block(net: Net, x: str, name: str = "") -> str:
    return net.op("Add", [net.conv_bn(x, f"{name}conv", 4), x], f"{name}join")


def test_a_join_that_is_a_graph_output_leaves_its_name_to_the_main_path() -> None:
    net = Net()
    rest = removed(net.model(block(net, net.image(4))))
    assert [n.op_type for n in rest.graph.node] == ["Conv", "BatchNormalization"]
    assert list(rest.graph.node[1].output) == ["join.out"]


def test_where_both_names_must_live_an_identity_stands_between_them() -> None:
    net = Net()
    join = block(net, net.image(4))
    rest = removed(net.model(join, "conv.bn.out"))
    assert [(n.op_type, *n.input, *n.output) for n in rest.graph.node][-1] == ("Identity", "conv.bn.out", "join.out")


def test_an_output_that_other_nodes_read_too() -> None:
    net = Net()
    join = block(net, net.image(4))
    rest = removed(net.model(join, net.relu(join, "relu")))
    assert list(rest.graph.node[1].output) == ["join.out"]
    assert list(rest.graph.node[2].input) == ["join.out"]


def test_numbers_survive_a_join_that_takes_over_an_output_name() -> None:
    """The outer join is the graph's output and its main path the inner one, which takes its name."""
    net = Net()
    x = net.image(4)
    inner = block(net, x)
    model = net.model(net.op("Add", [inner, x], "outer"))
    rest = removed(model, skips=("2",))
    assert [(s.number, s.join) for s in find_skips(rest)] == [("1", "outer.out")]
    assert RemoveSkips(skips=("2",)).apply(rest).notes == ("Skip 2 is out already.",)
    assert count(removed(rest, skips=("1",)), "Add") == 0


def test_a_join_read_by_a_subgraph_keeps_its_name() -> None:
    net = Net()
    join = block(net, net.image(4))
    shape = ["N", 4, 16, 16]
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, [join], [op], name=op)], op, [], [helper.make_tensor_value_info(op, FLOAT, shape)]
        )
        for name, op in (("then", "Relu"), ("else", "Neg"))
    }
    flag = net.input("flag", [], onnx.TensorProto.BOOL)
    model = net.model(net.op("If", [flag], "if", 4, **branches))
    rest = removed(model)
    assert list(rest.graph.node[1].output) == ["join.out"]
    assert rest.graph.node[2] == model.graph.node[3]


def test_what_only_a_subgraph_on_the_skip_path_used_goes() -> None:
    net = Net()
    x = net.image(4)
    net.weight([1, 4, 1, 1], "inner.w")
    shape = ["N", 4, 16, 16]
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Add", [x, "inner.w"], [name], name=name)],
            name, [], [helper.make_tensor_value_info(name, FLOAT, shape)],
        )
        for name in ("then", "else")
    }  # fmt: skip
    flag = net.input("flag", [], onnx.TensorProto.BOOL)
    skip = net.op("If", [flag], "if", 4, **branches)
    rest = removed(net.model(net.op("Add", [net.conv(x, "conv", 4), skip], "join")))
    assert [n.op_type for n in rest.graph.node] == ["Conv"]
    assert [i.name for i in rest.graph.initializer] == ["conv.w"]
    assert [i.name for i in rest.graph.input] == ["image", "flag"]


def test_the_fork_may_be_the_graph_input() -> None:
    net = Net()
    rest = removed(net.model(net.relu(block(net, net.image(4)), "relu")))
    assert list(rest.graph.node[2].input) == ["conv.bn.out"]


def test_a_skip_path_through_a_join_that_goes() -> None:
    """Whichever goes, the other reads what stands in its place."""

    def build(without: tuple[int, ...] = ()) -> onnx.ModelProto:
        net = Net(without)
        x = net.image(4)
        one = net.join(net.conv(x, "a", 4), x, "one")
        two = net.join(net.conv(one, "b", 4), one, "two")
        return net.model(net.relu(two, "relu"))

    for gone in ((1,), (2,), (1, 2)):
        assert_equal(removed(build(), skips=tuple(map(str, gone))), build(gone))


def test_a_skip_inside_a_skip_path_goes_with_it() -> None:
    net = Net()
    x = net.image(4)
    main = net.conv(net.conv(net.conv(x, "m1", 4), "m2", 4), "m3", 4)
    model = net.model(net.relu(net.op("Add", [main, block(net, net.conv(x, "p", 4))], "outer"), "relu"))
    assert [s.node for s in find_skips(model)] == ["join", "outer"]
    rest = removed(model, skips=("2",))
    assert [n.name for n in rest.graph.node] == ["m1", "m2", "m3", "relu"]
    assert RemoveSkips(skips=("1",)).apply(rest).notes == ("Skip 1 is out already.",)
    assert rest.graph == removed(model).graph
    assert [n.name for n in removed(model, skips=("1",)).graph.node][3:] == ["p", "conv", "conv.bn", "outer", "relu"]


def test_what_else_reads_the_skip_path_keeps_it() -> None:
    net = Net()
    x = net.image(4)
    side = net.conv(x, "side", 4, 1)
    join = net.op("Add", [net.conv(net.conv(x, "a", 4), "b", 4), side], "join")
    rest = removed(net.model(net.relu(join, "relu"), side))
    assert [n.name for n in rest.graph.node] == ["side", "a", "b", "relu"]


def test_weights_that_others_read_stay() -> None:
    net = Net()
    x = net.image(4)
    shared = net.weight([4, 4, 3, 3], "shared")
    main = net.op("Conv", [net.op("Conv", [x, shared], "a", 4, pads=[1] * 4), shared], "b", 4, pads=[1] * 4)
    rest = removed(net.model(net.op("Add", [main, net.op("Conv", [x, shared], "p", 4, pads=[1] * 4)], "join")))
    assert [i.name for i in rest.graph.initializer] == ["shared"]


def test_what_was_dead_before_stays() -> None:
    net = Net()
    join = block(net, net.image(4))
    net.relu(net.conv("image", "dead", 4), "end")
    net.constant(np.zeros(3), "unused")
    rest = RemoveSkips().apply(net.model(join)).model
    assert [n.name for n in rest.graph.node] == ["conv", "conv.bn", "dead", "end"]
    assert {"dead.w", "unused"} <= {i.name for i in rest.graph.initializer}


def test_a_residual_inside_a_subgraph_survives() -> None:
    net = Net()
    inner = Net()
    inner.channels["image"] = 4
    join = block(inner, net.image(4), "inner.")
    kind = helper.make_tensor_value_info(join, FLOAT, ["N", 4, 16, 16])
    then = helper.make_graph(inner.nodes, "then", [], [kind], inner.weights)
    other = helper.make_graph([helper.make_node("Identity", ["image"], ["same"], name="same")], "else", [],
                              [helper.make_tensor_value_info("same", FLOAT, ["N", 4, 16, 16])])  # fmt: skip
    chosen = net.op("If", [net.input("flag", [], onnx.TensorProto.BOOL)], "if", 4, then_branch=then, else_branch=other)
    rest = removed(net.model(block(net, chosen)))
    assert next(a.g for a in rest.graph.node[0].attribute if a.name == "then_branch") == then


# -- refusals -----------------------------------------------------------------------------------------------------


def refusal(model: onnx.ModelProto, **options: object) -> str:
    before = model.SerializeToString()
    with pytest.raises(PassError) as raised:
        RemoveSkips(**options).apply(model)  # type: ignore[arg-type]
    assert model.SerializeToString() == before
    return str(raised.value)


def context(net: Net, x: str, name: str) -> str:
    """As in GCNet, layers on the mean of the image are added to every pixel."""
    pooled = net.op("GlobalAveragePool", [x], f"{name}.pool")
    return net.op("Add", [x, net.conv(net.conv(pooled, f"{name}.1", 4, 1), f"{name}.2", 4, 1)], f"{name}.join")


@pytest.mark.parametrize("size", [16, "S"])
def test_a_main_path_smaller_than_the_join_cannot_stand_for_it(size: int | str) -> None:
    net = Net()
    model = net.model(context(net, net.input("image", ["N", 4, size, size]), "context"))
    assert refusal(model) == (
        "remove-skips: skip 1 at 'context.join': its main path brings [N, 4, 1, 1] where the join makes "
        f"[N, 4, {size}, {size}]; leave it, as only a main path of the join's shape can stand for the join."
    )


def test_a_size_that_only_folded_constants_tell() -> None:
    """Exporters compute how much to pad."""
    net = Net()
    x = net.input("image", [1, 4, 16, 16])
    pads = net.op("Cast", [net.constant(np.zeros(8), "zeros")], "pads", to=onnx.TensorProto.INT64)
    main = net.conv(net.relu(net.conv(x, "one", 4), "relu"), "two", 4)
    model = net.model(net.op("Add", [main, net.op("Pad", [x, pads], "pad")], "join"))
    assert [s.shape for s in find_skips(model)] == [(None, 4, 16, 16)]
    assert refusal(model) == (
        "remove-skips: skip 1 at 'join': its main path brings [1, 4, 16, 16] where the join makes [?, 4, 16, 16]; run "
        "`fold-constants` first, which may make the unknown size known, or leave it."
    )
    assert find_skips(removed(FoldConstants().apply(model).model)) == []


def test_skips_that_cannot_go_stand_in_the_notes_when_others_can() -> None:
    net = Net()
    model = net.model(context(net, block(net, net.image(4)), "context"))
    result = RemoveSkips().apply(model)
    assert [n.name for n in result.model.graph.node if n.op_type == "Add"] == ["context.join"]
    assert [note.split(":")[1] for note in result.notes] == [" skip 2 at 'context.join'"]
    again = RemoveSkips().apply(result.model)
    assert not again.changed
    assert again.notes == result.notes
    assert "skip 2 at 'context.join'" in refusal(model, skips=("1", "2"))


@pytest.mark.parametrize("opset", [13, 17])
def test_a_shape_that_is_computed_from_another(opset: int) -> None:
    """As PyTorch writes a group normalisation."""
    net = Net()
    x = net.image(4)
    y = net.conv(x, "one", 4)
    flat = net.op("Reshape", [y, net.constant([0, 2, -1], "groups")], "flat")
    flat = net.op(
        "InstanceNormalization", [flat, net.constant([1.0] * 2, "ones"), net.constant([0.0] * 2, "none")], "n"
    )
    y = net.op("Reshape", [flat, net.op("Shape", [y], "shape")], "back", 4)
    model = net.model(net.op("Add", [net.conv(net.relu(y, "relu"), "two", 4), x], "join"))
    model.opset_import[0].version = opset
    assert [s.shape for s in find_skips(model)] == [("N", 4, 16, 16)]
    assert find_skips(removed(model)) == []


def test_an_unknown_shape() -> None:
    net = Net()
    x = net.image(4)
    strange = net.op("Strange", [net.conv(x, "conv", 4)], "strange", 4, domain="somebody")
    join = net.op("Add", [strange, x], "join")
    graph = helper.make_graph(
        net.nodes, "g", net.inputs, [helper.make_tensor_value_info(join, FLOAT, None)], net.weights
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("somebody", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    assert refusal(model) == (
        "remove-skips: skip 1 at 'join': the shape of 'strange.out' cannot be inferred; "
        "give the tensor a value_info that says it."
    )
    model.graph.value_info.append(helper.make_tensor_value_info(strange, FLOAT, ["N", 4, 16, 16]))
    assert [n.op_type for n in RemoveSkips().apply(model).model.graph.node] == ["Conv", "Strange"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"stage": 4}, "remove-skips: stage 4: there are 3 stages; choose one from 1 to 3."),
        ({"stage": -1}, "remove-skips: stage -1: there are 3 stages; choose one from 1 to 3."),
        ({"stages": 0}, "remove-skips: stages=0: it takes a stage at least; give 1 or more."),
        ({"stage": "1"}, "remove-skips: stage='1': it is no int; give one."),
        ({"stage": 1.5}, "remove-skips: stage=1.5: it is no int; give one."),
        ({"faded": "no"}, "remove-skips: faded='no': it is no bool; give one."),
        ({"scores": (0.5, "1")}, "remove-skips: scores=(0.5, '1'): not every one is a float; give such."),
        ({"skips": None}, "remove-skips: skips=None: it is no tuple; give one."),
        ({"stage": 1, "skips": ("1",)}, "remove-skips: stage 1: skips are named as well; give the one or the other."),
        ({"skips": ("7",)}, "remove-skips: skip 7: the graph has no such skip; it has 1, 2, 3, 4, 5, 6."),
        ({"skips": ("1.1",)}, "remove-skips: skip 1.1: the graph has no such skip; it has 1, 2, 3, 4, 5, 6."),
        ({"skips": ("",)}, "remove-skips: skip : the graph has no such skip; it has 1, 2, 3, 4, 5, 6."),
        (
            {"stage": 1, "order": "sensitivity", "scores": (0.5,)},
            "remove-skips: order=sensitivity: 1 scores for 6 skips; give one accuracy for each skip (the command line "
            "measures them with --data).",
        ),
        (
            {"scores": (0.5, float("nan"), 1, 1, 1, 1)},
            "remove-skips: scores: (0.5, nan, 1, 1, 1, 1) are not all numbers; measure them again.",
        ),
        (
            {"stage": 1, "scores": (1, 2, 3, 4, 5, 6)},
            "remove-skips: scores: order=input looks at none; give order=sensitivity as well.",
        ),
        ({"order": "output"}, "remove-skips: order=output: all skips go where no stage is given; give a stage."),
        (
            {"order": "sideways"},
            "remove-skips: order='sideways': there is no such choice; choose 'input' or 'output' or 'sensitivity'.",
        ),
    ],
)
def test_what_is_asked_for_wrongly(options: dict[str, object], sentence: str) -> None:
    assert refusal(cifar_resnet(2), **options) == sentence


def test_a_graph_without_skips() -> None:
    assert refusal(cifar_resnet(2, without=range(7))) == (
        "remove-skips: the graph: it has no skip connection (no Add of two paths of unequal depth from one tensor); "
        "`graphops skips` shows what a graph has."
    )


def test_the_numbers_may_be_given_as_numbers_or_as_one_text() -> None:
    for skips in ((1, 5), "1,5", ("1", "5"), ("1, 5",)):
        assert_equal(RemoveSkips(skips=skips).apply(cifar_resnet(2)).model, cifar_resnet(2, without={1, 5}))  # type: ignore[arg-type]


def test_numbers_of_numpy_are_options_like_others() -> None:
    given = RemoveSkips(stage=np.int64(1), order="sensitivity", scores=np.array([0.5, 0.25]), faded=np.bool_(False))  # type: ignore[arg-type]
    assert repr(given) == repr(RemoveSkips(stage=1, order="sensitivity", scores=(0.5, 0.25)))
    assert repr(RemoveSkips(skips=np.array([1, 5]))) == repr(RemoveSkips(skips=(1, 5)))  # type: ignore[arg-type]


def test_the_record_is_all_that_is_added() -> None:
    model, rest = unet(), RemoveSkips(skips=("2",)).apply(unet()).model
    assert [p.key for p in rest.metadata_props] == [METADATA]
    del rest.metadata_props[:]
    rest.graph.CopyFrom(model.graph)
    assert rest == model
