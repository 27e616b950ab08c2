"""Shortening: the result is the network as it would have been built with short skips."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from passes import FoldSkips, GateSkips, PassError, RemoveSkips, ShortenSkips, find_skips
from tests.passes.net import assert_same_function, count
from tests.passes.networks import CORPUS, Net, cifar_resnet, imagenet_resnet, mobilenet_v2, shortcut
from tests.passes.proof import applied, assert_equal

BEFORE, AFTER = "before-activation", "after-activation"


def shortened(model: onnx.ModelProto, runs: bool = True, **options: object) -> onnx.ModelProto:
    result = applied(ShortenSkips(**options), model, runs)  # type: ignore[arg-type]
    assert result.changed
    return result.model


def short_resnet(keep: str, join: str, short: range | tuple[int, ...] = range(1, 7)) -> onnx.ModelProto:
    """As `cifar_resnet(2)`, with short skips in the blocks numbered ``short``."""
    net = Net()
    x = net.conv_bn_relu(net.image(), "stem", 4)
    for i in range(6):
        stage, block = divmod(i, 2)
        name, width, stride = f"s{stage}b{block}", 4 << stage, 2 if stage and not block else 1
        if i + 1 in short:
            x = short_block(net, x, name, width, stride, keep, join)
        else:
            main = net.conv_bn_relu(x, f"{name}.1", width, stride=stride)
            main = net.conv_bn(main, f"{name}.2", width)
            x = net.relu(net.join(main, shortcut(net, x, name, width, stride, "A"), f"{name}.join"), f"{name}.relu")
    return net.model(net.classify(x))


def short_block(net: Net, x: str, name: str, width: int, stride: int, keep: str, join: str) -> str:
    fits = keep == "each" and stride == 1
    y = net.conv_bn(x, f"{name}.1", width, stride=stride)
    if join == BEFORE:
        y = net.op("Add", [y, x], f"{y}_join") if fits else y
        y = net.relu(y, f"{name}.1.relu")
        z = net.conv_bn(y, f"{name}.2", width)
        return net.relu(net.op("Add", [z, y], f"{name}.join"), f"{name}.relu")
    y = net.relu(y, f"{name}.1.relu")
    y = net.op("Add", [y, x], f"{y}_join") if fits else y
    z = net.relu(net.conv_bn(y, f"{name}.2", width), f"{name}.relu")
    return net.op("Add", [z, y], f"{z}_join")


def named_as(expected: onnx.ModelProto) -> onnx.ModelProto:
    """New nodes make tensors that end in ``_out`` where the builder writes ``.out``."""
    for node in expected.graph.node:
        for names in (node.input, node.output):
            names[:] = [n.replace("_join.out", "_join_out") for n in names]
    return expected


@pytest.mark.parametrize("join", [BEFORE, AFTER])
@pytest.mark.parametrize("keep", ["last", "each"])
def test_cifar_resnet(keep: str, join: str) -> None:
    """One skip a block over its second layer, or one over each layer but those that halve the size."""
    model = shortened(cifar_resnet(2), keep=keep, join=join)
    assert_equal(model, named_as(short_resnet(keep, join)))
    found = find_skips(model)
    assert [s.number for s in found] == (
        ["1", "2", "3", "4", "5", "6"]
        if keep == "last"
        else ["1.1", "1.2", "2.1", "2.2", "3", "4.1", "4.2", "5", "6.1", "6.2"]
    )
    assert {(s.kind, s.span, s.linear) for s in found} == {("identity", 1, join == BEFORE)}


def test_the_published_resnet20_gets_nine(published_resnet20: onnx.ModelProto) -> None:
    model = shortened(published_resnet20)
    assert [(s.number, s.kind, s.span, s.linear) for s in find_skips(model)] == [
        (str(i), "identity", 1, True) for i in range(1, 10)
    ]
    folded = FoldSkips().apply(model).model
    assert count(folded, "Add") == 0
    assert_same_function(model, folded)


def test_some_by_number() -> None:
    assert_equal(shortened(cifar_resnet(2), skips=("3", "4")), short_resnet("last", BEFORE, (3, 4)))


def test_bottlenecks_keep_a_skip_over_their_middle_layer() -> None:
    """The 1x1 layers change the width; of each stage but the first, the first middle layer halves the size."""
    result = applied(ShortenSkips(), imagenet_resnet(50))
    refused = [note.split(":")[1] for note in result.notes]
    assert refused == [f" skip {n} at 's{s}b0.join'" for n, s in ((4, 1), (8, 2), (14, 3))]
    short = {s.number: s for s in find_skips(result.model)}
    for number, skip in short.items():
        block = skip.node.removesuffix("_join").split(".")[0]
        if number in ("4", "8", "14"):
            assert skip.span == 3
        else:
            assert (skip.span, skip.fork, skip.main) == (1, f"{block}.1.relu.out", f"{block}.2.bn.out")


def test_linear_bottlenecks_keep_a_skip_over_their_depthwise_layer() -> None:
    for skip in find_skips(shortened(mobilenet_v2())):
        block = skip.main.split(".")[0]
        assert (skip.fork, skip.main, skip.span) == (f"{block}.act1.out", f"{block}.2.bn.out", 1)


@pytest.mark.parametrize("keep", ["last", "each"])
@pytest.mark.parametrize("name", sorted(CORPUS.keys() - {"inception-resnet"}))
def test_the_corpus(name: str, keep: str) -> None:
    """What is shortened spans one layer; what is not says why."""
    build, skips = CORPUS[name]
    result = applied(ShortenSkips(keep=keep), build())  # type: ignore[arg-type]
    long = {s.number for s in find_skips(result.model) if s.span > 1}
    assert long == {note.split(":")[1].split()[1] for note in result.notes}
    assert len({s.number.split(".")[0] for s in find_skips(result.model)}) == skips


def test_a_layer_on_each_branch_fits_but_only_the_longest_way_counts() -> None:
    """Inception-ResNet: in block A three branches of two channels make the six that the last 1x1 keeps; in block B
    two make four, so that the 7x1 before, from two to two, is the last that fits."""
    result = applied(ShortenSkips(), CORPUS["inception-resnet"][0]())
    assert result.notes == ()
    assert [(s.fork, s.main) for s in find_skips(result.model)] == [
        ("a0.concat.out", "a0.scaled.out"),
        ("b0.1.1.relu.out", "b0.1.2.bn.out"),
        ("a1.concat.out", "a1.scaled.out"),
        ("b1.1.1.relu.out", "b1.1.2.bn.out"),
    ]


# -- single blocks ------------------------------------------------------------------------------------------------


@pytest.fixture
def net() -> Net:
    return Net()


def joins(model: onnx.ModelProto) -> list[tuple[str, ...]]:
    return [(n.name, *n.input, *n.output) for n in model.graph.node if n.op_type in ("Add", "Sum")]


def test_attention_and_dense_layers(net: Net) -> None:
    """The bias of a dense layer is an Add of a constant: it belongs to the layer."""
    x = net.input("x", ["N", "T", 8], channels=8)
    main = net.dense(net.relu(net.dense(x, "one", 8), "relu"), "two", 8)
    model = net.model(net.op("Add", [main, x], "join"))
    assert joins(shortened(model))[-1] == ("join", "two.out", "relu.out", "join.out")
    first, last = find_skips(shortened(model, keep="each"))
    assert (first.fork, first.main, last.fork, last.main) == ("x", "one.out", "relu.out", "two.out")


def test_a_bias_that_broadcasts_up_does_not_fit(net: Net) -> None:
    x = net.input("x", [8, 8], channels=8)
    main = net.dense(net.relu(net.dense(x, "one", 8), "relu"), "two", 8)
    main = net.op("Add", [main, net.weight([3, 8, 8], "stack")], "wide")
    model = net.model(net.op("Add", [main, x], "join"))
    assert [s.fork for s in find_skips(shortened(model))] == ["x"]


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({"pads": [1, 1, 1, 1]}, True),
        ({"pads": [2, 2, 2, 2], "dilations": [2, 2]}, True),
        ({"pads": [0, 2, 2, 0]}, True),
        ({"auto_pad": "SAME_UPPER"}, True),
        ({"pads": [1, 1, 1, 1], "strides": [2, 2]}, False),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, False),
        ({"pads": [0, 0, 0, 0]}, False),
        ({"auto_pad": "VALID"}, False),
        ({"pads": [2, 2, 2, 2]}, False),
    ],
)
def test_sizes_that_are_not_known_must_be_kept_whatever_they_are(net: Net, more: dict, fits: bool) -> None:
    """The second convolution alone has equal widths; the first one's input is not looked at."""
    x = net.input("image", ["N", 2, "H", "W"])
    inner = net.conv(x, "one", 4, 1)
    weight = net.weight([4, 4, 3, 3], "two.w")
    main = net.conv(net.op("Conv", [net.relu(inner, "relu"), weight], "two", 4, **more), "three", 2, 1)
    model = net.model(net.op("Add", [main, net.conv(x, "skip", 2, 1)], "join"))
    if fits:
        assert [s.fork for s in find_skips(shortened(model, runs=False))] == ["relu.out"]
    else:
        with pytest.raises(PassError, match="none certainly has an input of its output's shape"):
            ShortenSkips().apply(model)


def test_channels_that_are_not_known_are_not_the_layers(net: Net) -> None:
    x = net.input("image", ["N", "C", "H", "W"], channels=2)
    main = net.conv(net.relu(net.conv(x, "one", 2), "relu"), "two", 3)
    model = net.model(net.op("Add", [main, net.conv(x, "skip", 3, 1)], "join"))
    with pytest.raises(PassError, match="none certainly has an input of its output's shape"):
        ShortenSkips().apply(model)


def test_a_pad_before_its_convolution_belongs_to_the_layer(net: Net) -> None:
    x = net.input("image", ["N", 4, "H", "W"])
    y = net.relu(net.conv(x, "one", 4), "relu")
    padded = net.op("Pad", [y, net.constant([0, 0, 1, 1, 0, 0, 1, 1], "pads")], "pad")
    main = net.op("Conv", [padded, net.weight([4, 4, 3, 3], "two.w")], "two", 4)
    model = net.model(net.op("Add", [main, x], "join"))
    assert joins(shortened(model)) == [("join", "two.out", "relu.out", "join.out")]


def test_quantisers_belong_to_the_layer_before_them(net: Net) -> None:
    """A quantiser of the sum would round again: the short skip comes behind the layer's own."""
    x = net.image(4)
    scale = net.constant(0.1, "scale")
    y = net.relu(net.conv(x, "one", 4), "relu")
    z = net.op("QuantizeLinear", [net.conv(y, "two", 4), scale], "q")
    z = net.op("DequantizeLinear", [z, scale], "dq")
    model = net.model(net.relu(net.op("Add", [z, x], "join"), "end"))
    assert joins(shortened(model)) == [("join", "dq.out", "relu.out", "join.out")]


def test_the_join_may_be_an_output_and_have_several_readers(net: Net) -> None:
    x = net.image(4)
    main = net.conv(net.relu(net.conv(x, "one", 4), "relu"), "two", 4)
    join = net.op("Add", [x, main], "join")
    model = net.model(join, net.relu(join, "end"))
    assert joins(shortened(model)) == [("join", "relu.out", "two.out", "join.out")]
    after = shortened(model, join=AFTER)
    assert joins(after) == [("join.out_join", "join.out_before_join.out_join", "relu.out", "join.out")]
    assert [o.name for o in after.graph.output] == ["join.out", "end.out"]
    assert [s.number for s in find_skips(after)] == ["1"]


def test_chained_joins_are_each_shortened(net: Net) -> None:
    x = net.image(4)
    main = net.conv(net.relu(net.conv(x, "one", 4), "relu"), "two", 4)
    outer = net.op("Add", [net.op("Add", [main, x], "inner"), x], "outer")
    model = net.model(net.relu(outer, "end"))
    short = shortened(model)
    assert [(s.number, s.fork, s.span) for s in find_skips(short)] == [("1", "relu.out", 1), ("2", "relu.out", 1)]
    assert joins(RemoveSkips(skips=("2",)).apply(short).model)[0][1:] == ("two.out", "relu.out", "inner.out")


def test_nested_skips_are_each_shortened(net: Net) -> None:
    x = net.image(4)
    y = x
    for i in range(2):
        main = net.conv_bn(net.conv_bn_relu(y, f"{i}.1", 4), f"{i}.2", 4)
        y = net.relu(net.op("Add", [main, y], f"{i}.join"), f"{i}.relu")
    model = net.model(net.op("Add", [y, x], "outer"))
    short = shortened(model)
    assert {(s.number, s.fork, s.span) for s in find_skips(short)} == {
        ("1", "0.1.relu.out", 1),
        ("2", "1.1.relu.out", 1),
        ("3", "1.1.relu.out", 1),
    }


def test_what_spans_one_layer_stays(net: Net) -> None:
    x = net.image(4)
    result = ShortenSkips().apply(net.model(net.op("Add", [net.conv(x, "conv", 4), x], "join")))
    assert (result.changed, result.notes) == (False, ("Skip 1 spans one layer already.",))


def test_none_that_fits(net: Net) -> None:
    x = net.image(4)
    main = net.conv(net.conv(x, "one", 2), "two", 4)
    with pytest.raises(PassError) as raised:
        ShortenSkips().apply(net.model(net.op("Add", [main, x], "join")))
    assert str(raised.value) == (
        "shorten-skips: skip 1 at 'join': of the 2 layers on its main path none certainly has an input of its output's "
        "shape; leave it, or take it out with remove-skips or merge-skips."
    )


def test_a_main_path_that_the_join_repeats(net: Net) -> None:
    """As in GCNet, layers on the mean of the image are added to every pixel."""
    x = net.image(4)
    y = net.relu(net.conv(net.op("GlobalAveragePool", [x], "pool"), "one", 4, 1), "relu")
    with pytest.raises(PassError) as raised:
        ShortenSkips().apply(net.model(net.op("Add", [x, net.conv(y, "two", 4, 1)], "join")))
    assert str(raised.value) == (
        "shorten-skips: skip 1 at 'join': its main path brings [N, 4, 1, 1] where the join makes [N, 4, 16, 16]; leave "
        "it, as only a main path of the join's shape can stand for the join."
    )


def test_a_main_path_through_control_flow_has_only_the_layers_behind_it(net: Net) -> None:
    x = net.image(4)
    branches = {}
    for name in ("then", "else"):
        inner = Net()
        inner.channels[x] = 4
        end = inner.conv(x, f"{name}.conv", 4)
        kind = helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, ["N", 4, 16, 16])
        branches[f"{name}_branch"] = helper.make_graph(inner.nodes, name, [], [kind], inner.weights)
    chosen = net.op("If", [net.input("flag", [], onnx.TensorProto.BOOL)], "if", 4, **branches)
    main = net.conv(net.relu(net.conv(chosen, "one", 4), "relu"), "two", 4)
    short = shortened(net.model(net.op("Add", [main, x], "join")), keep="each")
    assert [s.fork for s in find_skips(short)] == ["if.out", "relu.out"]


def test_the_gate_of_the_long_skip_goes_and_a_note_says_so() -> None:
    result = applied(ShortenSkips(skips=("1",)), GateSkips().apply(cifar_resnet(1)).model)
    assert result.notes == ("The gate 's0b0.join.out_gate' went with the long skip 1.",)
    assert "s0b0.join.out_gate" not in {i.name for i in result.model.graph.initializer}


def test_choices_are_checked() -> None:
    with pytest.raises(
        PassError, match=r"^shorten-skips: keep='first': there is no such choice; choose 'last' or 'each'\.$"
    ):
        ShortenSkips(keep="first")  # type: ignore[arg-type]
