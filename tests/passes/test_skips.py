"""Which skip connections networks have: number, kind, span and linearity as their papers draw them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, parser

from passes import GateSkips, RemoveSkips, find_skips, gates
from tests.passes import networks
from tests.passes.networks import BOOL, FLOAT, INT64, Net

I, P, O = "identity", "padding", "projection"  # noqa: E741
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def drawn(model: onnx.ModelProto) -> list[tuple[str, int, bool]]:
    return [(s.kind, s.span, s.linear) for s in find_skips(model)]


def nonlinear(model: onnx.ModelProto) -> list[tuple[str, int]]:
    """Kind and span of each skip, of which none may be linear and none gated."""
    found = find_skips(model)
    assert not any(s.linear or s.gate for s in found)
    return [(s.kind, s.span) for s in found]


def test_operators_may_go_by_the_long_name_of_their_domain() -> None:
    model = networks.cifar_resnet(1)
    expected = find_skips(model)
    for named in (*model.opset_import, *model.graph.node):
        named.domain = "ai.onnx"
    assert find_skips(model) == expected
    assert find_skips(RemoveSkips().apply(model).model) == []


# -- networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "kind"), [("A", P), ("B", O)])
def test_cifar_resnet(option: str, kind: str) -> None:
    """Two blocks a stage; the first of stages 2 and 3 halves the size and doubles the width."""
    model = networks.cifar_resnet(2, option)
    assert nonlinear(model) == [(I, 2), (I, 2), (kind, 2), (I, 2), (kind, 2), (I, 2)]
    first, halving = find_skips(model)[0], find_skips(model)[2]
    assert (first.number, first.node, first.fork, first.skip) == ("1", "s0b0.join", "stem.relu.out", "stem.relu.out")
    assert (first.join, first.main, first.shape) == ("s0b0.join.out", "s0b0.2.bn.out", ("N", 4, 16, 16))
    assert (halving.fork, halving.shape) == ("s0b1.relu.out", ("N", 8, 8, 8))


@pytest.mark.parametrize(
    ("depth", "blocks", "projected"), [(18, 8, 3), (34, 16, 3), (50, 16, 4), (101, 33, 4), (152, 50, 4)]
)
def test_imagenet_resnet(depth: int, blocks: int, projected: int) -> None:
    """Basic blocks need a projection where the size halves, bottlenecks also in the first block of all."""
    found = nonlinear(networks.imagenet_resnet(depth))
    span = 2 if depth < 50 else 3
    firsts = np.cumsum((0, *networks.IMAGENET[depth][:3]))
    projections = {int(f) for f in firsts if depth >= 50 or f}
    assert len(projections) == projected
    assert found == [(O if i in projections else I, span) for i in range(blocks)]


def test_resnext_differs_from_resnet_in_its_groups_alone() -> None:
    assert drawn(networks.imagenet_resnet(50, groups=2)) == drawn(networks.imagenet_resnet(50))


def test_joins_written_as_sum() -> None:
    assert drawn(networks.imagenet_resnet(50, op="Sum")) == drawn(networks.imagenet_resnet(50))


def test_preactivation() -> None:
    """Identities reach from join to join; projections start behind BN and ReLU."""
    found = find_skips(networks.preactivation(2))
    assert [(s.kind, s.span) for s in found] == [(I, 2), (I, 2), (O, 2), (I, 2), (O, 2), (I, 2)]
    assert (found[1].fork, found[2].fork) == ("s0b0.join.out", "s1b0.relu1.out")


def test_wide_resnet() -> None:
    """WRN-10-2: every block widens or halves, so that every shortcut is a projection."""
    assert nonlinear(networks.preactivation(1, widen=2, dropout=True)) == [(O, 2)] * 3


def test_squeeze_and_excitation_adds_its_two_layers_and_no_skip() -> None:
    """The gate is a Mul of two computed tensors; the longest way leads through it."""
    assert nonlinear(networks.se_resnet()) == [(I, 4), (I, 4), (O, 4), (I, 4)]


def test_mobilenet_v2() -> None:
    """Stages of 1, 2, 3, 4, 3, 3, 1 blocks, all but the first of each with a skip."""
    assert nonlinear(networks.mobilenet_v2()) == [(I, 3)] * 10


def test_efficientnet_b0() -> None:
    """Stages of 1, 2, 2, 3, 3, 4, 1 blocks; expansion, depthwise, two of squeeze-and-excitation, projection."""
    assert nonlinear(networks.efficientnet_b0()) == [(I, 5)] * 9


def test_convnext() -> None:
    """The scale per channel is on the main path: no gate."""
    assert nonlinear(networks.convnext()) == [(I, 3)] * 18


def test_unet_with_sums() -> None:
    """The inner skip passes bottom (2) and upsampling (1); the outer one adds two encoder and two decoder layers and
    another upsampling."""
    assert nonlinear(networks.unet(2)) == [(I, 3), (I, 8)]


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("mask", [None, "input", "ids"])
def test_transformer_encoder(mask: str | None, norm_first: bool) -> None:
    """Attention: one projection and the output layer; FFN: two layers. Scores plus mask are no skip."""
    assert nonlinear(networks.encoder(3, mask, norm_first)) == [(I, 2)] * 6


@pytest.mark.parametrize("cache", [False, True])
def test_transformer_decoder(cache: bool) -> None:
    """Of cross-attention, query and output layer lie on the way; keys and values come from the side."""
    assert nonlinear(networks.decoder(3, cache)) == [(I, 2)] * 9


def test_quartznet() -> None:
    """Five repeats of a depthwise and a pointwise convolution, bridged by a pointwise one."""
    assert nonlinear(networks.quartznet(3, 5)) == [(O, 10)] * 3


def test_inception_resnet() -> None:
    """The longest branch has three convolutions, the 1x1 behind the concatenation is the fourth."""
    assert nonlinear(networks.inception_resnet()) == [(I, 4)] * 4


def test_densenet_has_none() -> None:
    assert find_skips(networks.densenet()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bvlc_alexnet", []),
        ("densenet121", []),
        ("inception_v1", []),
        ("inception_v2", []),
        ("resnet50", [(O if i in (0, 3, 7, 13) else I, 3) for i in range(16)]),
        ("shufflenet", [(I, 3)] * 13),  # 16 units, of which the first of each of three stages concatenates
        ("squeezenet", []),
        ("vgg19", []),
        ("zfnet512", []),
    ],
)
def test_published_topologies(name: str, expected: list[tuple[str, int]]) -> None:
    """Their weights are outputs of ConstantOfShape, ResNet's and ShuffleNet's joins are Sums."""
    assert nonlinear(onnx.load(LIGHT / f"light_{name}.onnx")) == expected


def test_published_resnet20(published_resnet20: onnx.ModelProto) -> None:
    assert nonlinear(published_resnet20) == [(P if i in (3, 6) else I, 2) for i in range(9)]


# -- single joins -------------------------------------------------------------------------------------------------


@pytest.fixture
def net() -> Net:
    return Net()


def test_one_convolution_is_a_linear_skip(net: Net) -> None:
    x = net.image(4)
    y = net.op("Add", [x, net.conv_bn(x, "conv", 4)], "join")
    assert drawn(net.model(y)) == [(I, 1, True)]


def test_the_skip_path_comes_first_or_second(net: Net) -> None:
    x = net.image(4)
    (skip,) = find_skips(net.model(net.op("Add", [x, net.conv(x, "conv", 4)], "join")))
    assert (skip.main, skip.skip, skip.fork) == ("conv.out", "image", "image")


def test_an_activation_on_either_path_is_not_linear(net: Net) -> None:
    x = net.image(4)
    main = net.op("Add", [net.relu(net.conv(x, "a", 4), "r"), x], "main")
    skip = net.op("Add", [net.conv(main, "b", 4), net.relu(main, "s")], "skip")
    assert drawn(net.model(skip)) == [(I, 1, False), ("other", 1, False)]


@pytest.mark.parametrize("test", ["Greater", "GreaterOrEqual"])
def test_a_rectifier_written_as_a_product_is_not_affine(net: Net, test: str) -> None:
    x = net.image(4)
    y = net.conv(x, "conv", 4)
    positive = net.op("Cast", [net.op(test, [y, net.constant(0.0, "zero")], "test")], "cast", to=FLOAT)
    assert drawn(net.model(net.op("Add", [net.op("Mul", [y, positive], "mul"), x], "join"))) == [(I, 1, False)]


def test_batch_statistics_are_not_affine() -> None:
    net = Net(opset=17)
    x = net.image(4)
    y = net.bn(net.conv(x, "conv", 4), "bn")
    model = net.model(net.op("Add", [y, x], "join"))
    assert drawn(model) == [(I, 1, True)]
    bn = model.graph.node[1]
    bn.attribute.append(helper.make_attribute("training_mode", 1))
    bn.output.extend(["mean", "var"])
    assert drawn(model) == [(I, 1, False)]


def test_equal_depth_is_no_skip(net: Net) -> None:
    x = net.image(4)
    assert drawn(net.model(net.op("Add", [net.conv(x, "a", 4), net.relu(net.conv(x, "b", 4), "r")], "join"))) == []


def test_the_longest_way_decides(net: Net) -> None:
    """A path with branches of one and three layers is longer than one of two."""
    x = net.image(4)
    long = net.conv(net.conv(net.conv(x, "a", 2), "b", 2), "c", 2)
    main = net.op("Concat", [net.conv(x, "d", 2), long], "concat", 4, axis=1)
    skip = net.conv(net.conv(x, "e", 4), "f", 4)
    (found,) = find_skips(net.model(net.op("Add", [skip, main], "join")))
    assert (found.main, found.span, found.kind) == ("concat.out", 3, O)


def test_a_tensor_added_to_itself_is_no_skip(net: Net) -> None:
    x = net.conv(net.image(4), "conv", 4)
    assert drawn(net.model(net.op("Add", [x, x], "double"))) == []


def test_added_constants_are_no_skips(net: Net) -> None:
    x = net.conv(net.image(4), "conv", 4)
    computed = net.op("Exp", [net.weight([4, 1, 1], "c")], "exp")
    given = net.op("Constant", [], "given", value=onnx.numpy_helper.from_array(np.ones(1, np.float32)))
    for i, constant in enumerate((net.weight([1], "d"), computed, given)):
        x = net.op("Add", [x, constant], f"add{i}")
    assert drawn(net.model(x)) == []


def test_what_depends_on_shapes_alone_carries_no_data(net: Net) -> None:
    x = net.image(4)
    y = net.conv(x, "conv", 4)
    shape = net.op("Shape", [x], "shape")
    y = net.op("Add", [y, net.op("ConstantOfShape", [shape], "zeros")], "add")
    assert drawn(net.model(net.op("Add", [y, net.op("RandomNormalLike", [x], "noise")], "add2"))) == []


def test_products_and_differences_are_no_joins(net: Net) -> None:
    x = net.image(4)
    y = net.op("Mul", [net.conv(x, "a", 4), x], "mul")
    assert drawn(net.model(net.op("Sub", [net.conv(y, "b", 4), y], "sub"))) == []


def test_a_sum_of_three_is_no_join(net: Net) -> None:
    x = net.image(4)
    assert drawn(net.model(net.op("Sum", [net.conv(x, "a", 4), net.conv(x, "b", 4), x], "sum"))) == []


def test_a_sum_of_two_is_a_join(net: Net) -> None:
    x = net.image(4)
    assert drawn(net.model(net.op("Sum", [net.conv(x, "a", 4), x], "sum"))) == [(I, 1, True)]


def test_two_inputs_share_no_fork(net: Net) -> None:
    x, z = net.image(4), net.input("other", ["N", 4, 16, 16])
    assert drawn(net.model(net.op("Add", [net.conv(x, "conv", 4), z], "join"))) == []


def test_inputs_that_have_met_fork_together(net: Net) -> None:
    x, z = net.image(4), net.input("other", ["N", 4, 16, 16])
    met = net.op("Add", [x, z], "met")
    (skip,) = find_skips(net.model(net.op("Add", [net.conv(met, "conv", 4), met], "join")))
    assert (skip.fork, skip.kind, skip.span) == ("met.out", I, 1)


def test_an_input_with_a_default_is_a_constant() -> None:
    net = Net()
    x = net.image(4)
    bias = net.constant(np.zeros([1, 4, 1, 1]), "bias")
    net.input("bias", [1, 4, 1, 1])
    assert drawn(net.model(net.op("Add", [net.conv(x, "conv", 4), bias], "join"))) == []


def test_an_input_without_a_default_is_data(net: Net) -> None:
    """A bias that is fed is an input like any other, and shares no fork with the image."""
    x = net.image(4)
    assert drawn(net.model(net.op("Add", [net.conv(x, "conv", 4), net.input("bias", [1, 4, 1, 1])], "join"))) == []


def test_a_time_step_added_in_every_block_is_no_skip(net: Net) -> None:
    """As diffusion models have it: from the second block on it reaches both operands, yet it bridges nothing."""
    x, time = net.image(4), net.input("time", ["N", 4], channels=4)
    for i in range(3):
        axes = net.constant(np.array([2, 3]), f"axes{i}")
        step = net.op("Unsqueeze", [net.dense(time, f"time{i}", 4), axes], f"step{i}")
        main = net.op("Add", [net.conv(x, f"a{i}", 4), step], f"condition{i}")
        x = net.op("Add", [net.conv(net.relu(main, f"relu{i}"), f"b{i}", 4), x], f"join{i}")
    found = find_skips(net.model(x))
    assert [(s.node, s.kind, s.span) for s in found] == [(f"join{i}", I, 2) for i in range(3)]


def test_chained_joins(net: Net) -> None:
    """Add(Add(f(x), x), x): both fork at x, and the inner join is affine in the outer one's eyes."""
    x = net.image(4)
    inner = net.op("Add", [net.conv(x, "conv", 4), x], "inner")
    found = find_skips(net.model(net.op("Add", [inner, x], "outer")))
    assert [(s.node, s.fork, s.main, s.kind, s.span, s.linear) for s in found] == [
        ("inner", "image", "conv.out", I, 1, True),
        ("outer", "image", "inner.out", I, 1, True),
    ]


def test_nested_joins(net: Net) -> None:
    """A skip around two blocks, each with a skip of its own."""
    x = net.image(4)
    a = net.relu(net.op("Add", [net.conv(net.conv(x, "a1", 4), "a2", 4), x], "a"), "relu")
    b = net.op("Add", [net.conv(net.conv(a, "b1", 4), "b2", 4), a], "b")
    found = find_skips(net.model(net.op("Add", [b, x], "outer")))
    assert [(s.node, s.fork, s.span) for s in found] == [("a", "image", 2), ("b", "relu.out", 2), ("outer", "image", 4)]


def test_a_skip_inside_a_projection_path(net: Net) -> None:
    x = net.image(4)
    main = net.conv(net.conv(net.conv(x, "m1", 4), "m2", 4), "m3", 4)
    side = net.conv(x, "p", 4)
    side = net.op("Add", [net.conv(side, "q", 4), side], "inner")
    found = find_skips(net.model(net.op("Add", [main, side], "outer")))
    assert [(s.node, s.fork, s.kind, s.span) for s in found] == [("inner", "p.out", I, 1), ("outer", "image", O, 3)]


def test_the_join_before_may_be_the_fork(net: Net) -> None:
    x = net.image(4)
    one = net.op("Add", [net.conv(x, "a", 4), x], "one")
    found = find_skips(net.model(net.op("Add", [net.conv(one, "b", 4), one], "two")))
    assert [s.fork for s in found] == ["image", "one.out"]


def test_branches_through_split(net: Net) -> None:
    """Both branches fork at what Split reads; splitting is slicing."""
    x = net.image(8)
    net.nodes.append(helper.make_node("Split", [x], ["left", "right"], name="split", axis=1))
    net.channels |= {"left": 4, "right": 4}
    found = find_skips(net.model(net.op("Add", [net.conv("left", "conv", 4), "right"], "join")))
    assert [(s.fork, s.kind, s.span, s.linear) for s in found] == [("image", P, 1, True)]


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_pooling_is_padding_and_only_the_mean_is_linear(net: Net, op: str) -> None:
    x = net.image(4)
    pooled = net.op(op, [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    assert drawn(net.model(net.op("Add", [net.conv(x, "conv", 4, stride=2), pooled], "join"))) == [
        (P, 1, op == "AveragePool")
    ]


def test_zeros_by_concatenation_are_padding(net: Net) -> None:
    """Option A as some write it: the image and the image times zero."""
    x = net.image(4)
    zeros = net.op("Mul", [x, net.constant(0.0, "zero")], "zeros")
    skip = net.op("Concat", [x, zeros], "concat", 8, axis=1)
    (found,) = find_skips(net.model(net.op("Add", [net.conv(x, "conv", 8), skip], "join")))
    assert (found.kind, found.gate) == (P, None)


def test_quantisers_are_identities_on_a_skip_path(net: Net) -> None:
    x = net.image(4)
    scale, zero = net.constant(0.1, "scale"), net.constant(np.array(0, np.int8), "zero")
    quantised = net.op("QuantizeLinear", [x, scale, zero], "q")
    skip = net.op("DequantizeLinear", [quantised, scale, zero], "dq")
    assert drawn(net.model(net.op("Add", [net.conv(x, "conv", 4), skip], "join"))) == [(I, 1, False)]


def test_any_constant_operand_makes_a_weighted_product(net: Net) -> None:
    x = net.input("x", [4, 4])
    left = net.op("MatMul", [net.weight([4, 4], "w"), x], "left")
    computed = net.op("Transpose", [net.weight([4, 4], "v")], "turned", perm=[1, 0])
    right = net.op("MatMul", [left, computed], "right")
    own = net.op("MatMul", [right, right], "own")
    assert drawn(net.model(net.op("Add", [own, x], "join"))) == [(I, 2, False)]


def test_a_test_of_what_nothing_is_known_of_carries_on_from_either_side() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "custom" : 1]>
        g (float[N,1] x, int64[N,1] ids) => (float[N,1] join) <float[1,1] w = {2}> {
            any = custom.Any (x) same = Equal (any, ids) mask = Cast <to = 1> (same)
            masked = Add (mask, x) dense = MatMul (masked, w) join = Add (dense, mask) }""")
    assert [(s.node, s.fork, s.span) for s in find_skips(model)] == [("join", "mask", 1)]


def test_a_mask_by_cast_cuts_but_a_binary_activation_carries_on(net: Net) -> None:
    """Whole numbers tested are a mask, real numbers tested an activation, as binary networks have it."""
    x, ids = net.image(4), net.input("ids", ["N", 1, 1, 16], INT64)
    mask = net.op("Cast", [net.op("Cast", [ids], "bool", to=BOOL)], "mask", to=FLOAT)
    x = net.op("Add", [x, mask], "masked")
    for i in range(2):
        positive = net.op("GreaterOrEqual", [x, net.constant(0.0, f"zero{i}")], f"test{i}")
        binary = net.op(
            "Where", [positive, net.constant(1.0, f"plus{i}"), net.constant(-1.0, f"minus{i}")], f"sign{i}", 4
        )
        x = net.op("Add", [net.conv(binary, f"conv{i}", 4), x], f"join{i}")
    found = find_skips(net.model(x))
    assert [(s.node, s.fork, s.span) for s in found] == [("join0", "masked.out", 1), ("join1", "join0.out", 1)]


def test_joins_inside_subgraphs_are_not_looked_at_but_what_they_read_flows(net: Net) -> None:
    x = net.image(4)
    inner = Net()
    inner.channels["image"] = 4
    y = inner.op("Add", [inner.conv("image", "inner.conv", 4), "image"], "inner.join")
    kind = helper.make_tensor_value_info(y, FLOAT, ["N", 4, 16, 16])
    then = helper.make_graph(inner.nodes, "then", [], [kind], inner.weights)
    other = helper.make_graph([helper.make_node("Identity", ["image"], ["same"])], "else", [],
                              [helper.make_tensor_value_info("same", FLOAT, ["N", 4, 16, 16])])  # fmt: skip
    chosen = net.op("If", [net.input("flag", [], BOOL)], "if", 4, then_branch=then, else_branch=other)
    found = find_skips(net.model(net.op("Add", [net.conv(chosen, "conv", 4), x], "outer")))
    assert [(s.node, s.fork, s.kind, s.span) for s in found] == [("outer", "image", I, 1)]


def test_unnamed_nodes_are_called_after_what_they_make(net: Net) -> None:
    x = net.image(4)
    model = net.model(net.op("Add", [net.conv(x, "conv", 4), x], "join"))
    for node in model.graph.node:
        node.ClearField("name")
    assert find_skips(model)[0].node == "join.out"


def test_names_do_not_matter() -> None:
    model = networks.se_resnet()
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    names: dict[str, str] = {}
    for node in renamed.graph.node:
        node.name = ""
        node.input[:] = [names.setdefault(n, f"t{len(names)}") if n else n for n in node.input]
        node.output[:] = [names.setdefault(n, f"t{len(names)}") for n in node.output]
    for value in [*renamed.graph.initializer, *renamed.graph.input, *renamed.graph.output]:
        value.name = names[value.name]
    assert drawn(renamed) == drawn(model)


def test_functions_are_not_looked_into(net: Net) -> None:
    x = net.image(4)
    y = net.op("residual", [x], "call", domain="local")
    body = [helper.make_node("Conv", ["a", "w"], ["b"]), helper.make_node("Add", ["a", "b"], ["c"])]
    weight = helper.make_node(
        "Constant", [], ["w"], value=onnx.numpy_helper.from_array(np.zeros([4, 4, 1, 1], np.float32))
    )
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "residual", ["a"], ["c"], [weight, *body], opsets)
    graph = helper.make_graph(net.nodes, "g", net.inputs, [helper.make_tensor_value_info(y, FLOAT, None)])
    model = helper.make_model(graph, functions=[function], opset_imports=[*opsets, helper.make_opsetid("local", 1)])
    assert find_skips(model) == []


# -- gates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [[], [1], [1, 1, 1, 1]])
@pytest.mark.parametrize("first", [True, False])
def test_a_constant_scalar_on_the_skip_path_is_its_gate(net: Net, shape: list[int], first: bool) -> None:
    x = net.image(4)
    gate = net.constant(np.full(shape, 0.5), "gate")
    skip = net.op("Mul", [gate, x] if first else [x, gate], "gated", 4)
    model = net.model(net.op("Add", [net.conv(x, "conv", 4), skip], "join"))
    (found,) = find_skips(model)
    assert (found.gate, found.kind, found.linear) == ("gate", I, True)
    assert gates(model) == ["gate"]


def test_a_constant_node_is_a_gate_that_cannot_be_trained(net: Net) -> None:
    x = net.image(4)
    gate = net.op("Constant", [], "half", value_float=0.5)
    model = net.model(net.op("Add", [net.conv(x, "conv", 4), net.op("Mul", [x, gate], "gated")], "join"))
    assert find_skips(model)[0].gate == "half.out"
    assert gates(model) == []


def test_a_scalar_used_elsewhere_is_a_gate_that_cannot_be_trained(net: Net) -> None:
    x = net.image(4)
    gate = net.constant(0.5, "half")
    main = net.op("Mul", [net.conv(x, "conv", 4), gate], "scaled")
    model = net.model(net.op("Add", [main, net.op("Mul", [x, gate], "gated")], "join"))
    assert find_skips(model)[0].gate == "half"
    assert gates(model) == []


def test_the_gate_nearest_to_the_join_counts(net: Net) -> None:
    x = net.image(4)
    skip = net.op("Mul", [x, net.constant(0.5, "far")], "first")
    skip = net.op("Mul", [skip, net.constant(0.5, "near")], "second")
    assert gates(net.model(net.op("Add", [net.conv(x, "conv", 4), skip], "join"))) == ["near"]


def test_a_gate_must_make_the_whole_skip_path_zero(net: Net) -> None:
    """Behind this factor a bias comes in: with the factor at zero the skip path still adds something."""
    x = net.image(4)
    skip = net.conv_bn(net.op("Mul", [x, net.constant(0.5, "factor")], "scaled"), "projection", 4, 1)
    main = net.conv(net.conv(x, "a", 4), "b", 4)
    assert find_skips(net.model(net.op("Add", [main, skip], "join")))[0].gate is None


@pytest.mark.parametrize(("fill", "gate"), [(0.0, "factor"), (5.0, None)])
def test_behind_a_gate_a_pad_brings_in_zeros(net: Net, fill: float, gate: str | None) -> None:
    x = net.image(2)
    pads = [net.constant(np.array([0, 1, 0, 0, 0, 1, 0, 0]), "pads"), net.constant(fill, "fill")]
    skip = net.op("Pad", [net.op("Mul", [x, net.constant(0.5, "factor")], "scaled"), *pads], "pad", 4)
    assert find_skips(net.model(net.op("Add", [net.conv(x, "conv", 4), skip], "join")))[0].gate == gate


@pytest.mark.parametrize(("op", "gate"), [("Quant", "factor"), ("BipolarQuant", None)])
def test_behind_a_gate_a_quantiser_has_a_zero(net: Net, op: str, gate: str | None) -> None:
    x = net.image(4)
    scaled = net.op("Mul", [x, net.constant(0.5, "factor")], "scaled")
    rounded = net.op("Mul", [scaled, net.constant(0.1, "scale")], "rounded")
    model = net.model(net.op("Add", [net.conv(x, "conv", 4), rounded], "join"))
    quantiser = next(n for n in model.graph.node if n.name == "rounded")
    quantiser.op_type, quantiser.domain = op, "qonnx.custom_op.general"
    assert find_skips(model)[0].gate == gate


def test_vectors_computed_tensors_and_inputs_are_no_gates(net: Net) -> None:
    x = net.image(4)
    factors = {
        "vector": lambda x: net.weight([4, 1, 1], "vector"),
        "computed": lambda x: net.op("ReduceMean", [x], "computed", axes=[1, 2, 3]),
        "input": lambda x: net.input("input", [1]),
        "shape": lambda x: net.op("Cast", [net.op("Size", [x], "size")], "shape", to=FLOAT),
    }
    for name, factor in factors.items():
        x = net.op(
            "Add", [net.conv(x, f"{name}.conv", 4), net.op("Mul", [x, factor(x)], f"{name}.mul")], f"{name}.join"
        )
    found = find_skips(net.model(x))
    assert [(s.node, s.kind, s.gate) for s in found] == [(f"{name}.join", "other", None) for name in factors]


def test_a_gated_network_has_the_same_skips() -> None:
    model = networks.cifar_resnet(2)
    gated = GateSkips().apply(model).model
    assert [(s.number, s.node, s.kind, s.span) for s in find_skips(gated)] == [
        (s.number, s.node, s.kind, s.span) for s in find_skips(model)
    ]
    assert gates(gated) == [s.gate for s in find_skips(gated)]
