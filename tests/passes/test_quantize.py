"""quantize puts QONNX quantisers where a network needs a grid, and nowhere else."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops.models import build
from passes import Quantize
from passes.errors import PassError
from passes.quantize import prepare

DOMAIN = "qonnx.custom_op.general"


def quantised(model: onnx.ModelProto, **options: object) -> onnx.ModelProto:
    """Every tensor spans -1 or 0 to 3."""
    rewriter = Quantize(**options)  # type: ignore[arg-type]
    points = rewriter.points(model)
    result = rewriter.calibrated({n: (-1.0 if signed else 0.0, 3.0) for n, (_, signed) in points.items()}).apply(model)
    assert result.changed
    onnx.checker.check_model(result.model)
    return result.model


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def bits(model: onnx.ModelProto, node: onnx.NodeProto) -> int:
    return 1 if node.op_type == "BipolarQuant" else int(constants(model)[node.input[3]])


def signed(node: onnx.NodeProto) -> bool:
    return bool(next(a.i for a in node.attribute if a.name == "signed"))


@pytest.fixture(scope="module")
def resnet8() -> onnx.ModelProto:
    return build("resnet8", width=4, image=(3, 8, 8))


def test_all_that_is_multiplied_summed_or_joined_is_quantised(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8, weights=2, acts=2)
    made = makers(model)
    keeping = {"Slice", "Pad", "Flatten"}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "Add", "GlobalAveragePool"):
            for name in node.input[:2]:
                while made[name].op_type in keeping:
                    name = made[name].input[0]
                assert made[name].op_type == "Quant", f"{node.name} reads {name}"
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    assert {o.domain: o.version for o in model.opset_import}[DOMAIN] == 1


def test_what_a_join_adds_shares_one_scale(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8, weights=4, acts=3)
    made = makers(model)
    for node in model.graph.node:
        if node.op_type == "Add":
            main, skip = (made[name] for name in node.input)
            while skip.op_type != "Quant":
                skip = made[skip.input[0]]
            assert main.input[1] == skip.input[1]
            assert (signed(main), bits(model, main)) == (True, 5)
            assert (signed(skip), bits(model, skip)) == (False, 3)


def test_a_projection_has_the_bits_of_the_main_path() -> None:
    model = quantised(build("resnet8", width=4, image=(3, 8, 8), shortcut="B"), acts=2, join_acts=6)
    made = makers(model)
    adds = [[made[name] for name in n.input] for n in model.graph.node if n.op_type == "Add"]
    assert [[bits(model, q) for q in pair] for pair in adds] == [[6, 2], [6, 6], [6, 6]]
    assert all(a.input[1] == b.input[1] for a, b in adds)


def test_batch_norms_may_stay(resnet8: onnx.ModelProto) -> None:
    """Then training normalises; what is quantised, and in how many bits, is the same."""
    kept, folded = (quantised(resnet8, weights=2, acts=2, batchnorm=option) for option in ("keep", "fold"))
    count = Counter(n.op_type for n in resnet8.graph.node)["BatchNormalization"]
    assert count == 7
    for model, expected in ((kept, count), (folded, 0)):
        assert Counter(n.op_type for n in model.graph.node)["BatchNormalization"] == expected
    same = [
        {(n.input[0], bits(model, n), signed(n)) for n in model.graph.node if n.op_type == "Quant"}
        for model in (kept, folded)
    ]
    assert same[0] == same[1]


def test_a_fork_has_one_quantiser(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8)
    read = Counter(n.input[0] for n in model.graph.node if n.op_type == "Quant")
    assert set(read.values()) == {1}
    other = {n.input[0] for n in model.graph.node if n.op_type not in ("Quant", "Relu")}
    activations = {n.output[0] for n in model.graph.node if n.op_type == "Relu"}
    assert not activations & other, "an activation is read by its quantiser alone"


def test_weights_have_a_scale_an_output_and_the_classifier_one(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8, weights=1)
    made, values = makers(model), constants(model)
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    kinds = [made[n.input[1]].op_type for n in convolutions]
    assert kinds == ["Quant"] + ["BipolarQuant"] * 6, "the first layer has 8 bits"
    for node in convolutions:
        weight, scale = (values[name] for name in made[node.input[1]].input[:2])
        assert scale.shape == (weight.shape[0], 1, 1, 1)
        if made[node.input[1]].op_type == "BipolarQuant":
            np.testing.assert_allclose(scale, np.abs(weight).mean(axis=(1, 2, 3), keepdims=True), rtol=1e-6)
    gemm = next(n for n in model.graph.node if n.op_type == "Gemm")
    assert values[made[gemm.input[1]].input[1]].shape == ()
    assert bits(model, made[gemm.input[1]]) == 8


def test_the_classifier_s_bias_lies_on_the_grid_of_its_products(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8)
    made = makers(model)
    gemm = next(n for n in model.graph.node if n.op_type == "Gemm")
    data = made[made[gemm.input[0]].input[0]]
    assert data.op_type == "Quant", "before the Flatten"
    assert makers(model)[data.input[0]].op_type == "GlobalAveragePool"
    scale = made[made[gemm.input[2]].input[1]]
    assert scale.op_type == "Mul"
    assert list(scale.input) == [data.input[1], made[gemm.input[1]].input[1]]
    assert bits(model, data) == 8


def test_the_input_is_a_signed_byte(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8, acts=2)
    (node,) = [n for n in model.graph.node if n.input[0] == "input"]
    assert (node.op_type, signed(node), bits(model, node)) == ("Quant", True, 8)
    np.testing.assert_allclose(constants(model)[node.input[1]], 3 / 127)


@pytest.mark.parametrize("width", [2, 3, 4, 8])
def test_weight_scales_beat_those_of_the_largest_weight(width: int, resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8, weights=width, first_last=width)
    made, values, reach = makers(model), constants(model), 2 ** (width - 1) - 1
    for node in (n for n in model.graph.node if n.op_type == "Conv"):
        weight, scale = (values[name].astype(float) for name in made[node.input[1]].input[:2])

        def error(step: np.ndarray, weight: np.ndarray = weight) -> np.ndarray:
            return ((np.clip(np.round(weight / step), -reach, reach) * step - weight) ** 2).sum(axis=(1, 2, 3))

        largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / reach
        assert (error(scale) <= error(largest) * (1 + 1e-5)).all()
        assert bits(model, made[node.input[1]]) == width


def test_what_runs_twice_changes_nothing_the_second_time(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8)
    again = Quantize().apply(model)
    assert not again.changed
    assert again.model == model
    assert "already" in again.notes[0]


def test_the_model_given_is_not_modified(resnet8: onnx.ModelProto) -> None:
    before = resnet8.SerializeToString(deterministic=True)
    quantised(resnet8)
    assert resnet8.SerializeToString(deterministic=True) == before


def test_tensors_keep_their_names_when_prepared(resnet8: onnx.ModelProto) -> None:
    prepared = prepare(resnet8)
    assert set(Quantize().points(resnet8)) <= {"input", *(t for n in prepared.graph.node for t in n.output)}


def single(*nodes: onnx.NodeProto, **values: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"n_{output}", **attributes)


WEIGHT = np.random.default_rng(0).normal(size=(2, 2, 1, 1))


def test_a_block_ends_in_a_quantiser_that_bears_the_output_s_name() -> None:
    model = quantised(single(node("Conv", "x w", "a"), node("Relu", "a", "y"), w=WEIGHT))
    (last,) = [n for n in model.graph.node if "y" in n.output]
    assert last.op_type == "Quant"
    assert not signed(last)


def test_the_bias_behind_a_matrix_may_be_a_constant_node() -> None:
    bias = numpy_helper.from_array(np.ones(4, np.float32))
    nodes = node("MatMul", "x w", "a"), helper.make_node("Constant", [], ["b"], value=bias), node("Add", "a b", "y")
    model = quantised(single(*nodes, w=np.random.default_rng(0).normal(size=(4, 4))))
    (quantiser,) = [n for n in model.graph.node if n.input and n.input[0] == "b"]
    assert (quantiser.op_type, bits(model, quantiser)) == ("Quant", 24)


def test_activations_that_can_be_negative_have_a_sign_and_two_bits() -> None:
    model = quantised(
        single(node("Conv", "x w", "a"), node("LeakyRelu", "a", "b"), node("Conv", "b w", "y"), w=WEIGHT), first_last=1
    )
    made = makers(model)
    inner = [n for n in model.graph.node if n.op_type == "Quant" and n.input[0] == "b"]
    assert [(signed(n), bits(model, n)) for n in inner] == [(True, 2)]
    assert made["y"].op_type == "Conv", "what leaves as an accumulator is no feature map"


@pytest.mark.parametrize("value", [0.5, -0.5])
def test_constants_that_come_in_behind_an_activation_say_whether_there_is_a_sign(value: float) -> None:
    pads = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "p")
    channels = helper.make_node("Concat", ["b", "m"], ["c"], axis=1)
    bounds = node("Min", "b v", "c"), node("Clip", "a v", "c")
    for brought, weight in (
        *((bound, WEIGHT) for bound in (*bounds, node("Pad", "b p v", "c"))),
        (channels, np.ones((2, 3, 1, 1))),
    ):
        layers = node("Conv", "x w", "a"), node("Relu", "a", "b"), brought, node("Conv", "c u", "y")
        model = single(*layers, w=WEIGHT, u=weight, v=np.array(value), m=np.full((1, 1, 4, 4), value))
        model.graph.initializer.append(pads)
        assert Quantize().points(model)["c"] == (8, value < 0)


def test_max_pooling_reads_the_quantiser_too() -> None:
    pool = node("MaxPool", "b", "c", kernel_shape=[2, 2])
    model = quantised(
        single(node("Conv", "x w", "a"), node("Relu", "a", "b"), pool, node("Conv", "c w", "y"), w=WEIGHT)
    )
    made = makers(model)
    assert made[made["c"].input[0]].op_type == "Quant"
    assert made[made["y"].input[0]].op_type == "MaxPool"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": 9}, "weights: 9 bits are out of range; give 1 to 8"),
        ({"acts": 0}, "acts: 0 bits"),
        ({"join_acts": 1}, "join_acts: 1 bits are out of range; give 2 to 10"),
        *(
            ({"ranges": (f"input{span}",)}, f"input{span}: it is no range from one number up to another; write tensor=")
            for span in ("", "=1", "=nan:nan", "=5:-3", "=0:inf")
        ),
        ({"ranges": ("inptu=0:1",)}, "inptu=0:1: no such tensor is quantised; the nearest is 'input'."),
        ({}, "input: its range is not known; measure ranges on data"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, object], said: str, resnet8: onnx.ModelProto) -> None:
    with pytest.raises(PassError, match=f"quantize: .*{re.escape(said)}"):
        Quantize(**options).apply(resnet8)  # type: ignore[arg-type]


@pytest.mark.parametrize(("span", "scale"), [("0:0", 1), ("-5:1", 5 / 128), ("-1:5", 5 / 127)])
def test_a_grid_spans_its_range(span: str, scale: float) -> None:
    """That of a tensor that is always 0 too."""
    model = single(node("Conv", "x w", "y"), w=WEIGHT)
    np.testing.assert_allclose(constants(Quantize(ranges=(f"x={span}",)).apply(model).model)["x_scale"], scale)


@pytest.mark.parametrize("wide", ["b", "d"])
def test_a_scale_that_tensors_share_spans_the_widest(wide: str) -> None:
    first = node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Conv", "b w", "c"), node("Relu", "c", "d")
    last = node("Conv", "d w", "e"), node("Add", "b d", "f"), node("Conv", "f w", "g"), node("Sub", "e g", "y")
    model = single(*first, *last, w=WEIGHT)
    rewriter = Quantize(acts=4)
    ranges = {name: (0.0, 3.0 if name == wide else 1.0) for name in rewriter.points(model)}
    made = rewriter.calibrated(ranges).apply(model).model
    quantisers = {n.input[0]: n.input[1] for n in made.graph.node if n.op_type == "Quant"}
    assert quantisers["b"] == quantisers["d"]
    np.testing.assert_allclose(constants(made)[quantisers["b"]], 3 / 15)


@pytest.mark.parametrize(("op", "turned"), [("Gemm", 0), ("Gemm", 1), ("MatMul", 0)])
def test_hidden_matrices_have_a_scale_an_output(op: str, turned: int) -> None:
    weight = np.random.default_rng(0).normal(size=(3, 32) if turned else (32, 3))
    hidden = node(op, "f w", "a", **({"transB": turned} if op == "Gemm" else {}))
    layers = node("Flatten", "x", "f"), hidden, node("Relu", "a", "b"), node("Gemm", "b u", "y")
    model = single(*layers, w=weight, u=np.ones((3, 2)))
    del model.graph.output[0].type.tensor_type.shape.dim[2:]
    assert constants(quantised(model))["w_scale"].shape == ((3, 1) if turned else (1, 3))


def test_half_quantised_networks_are_refused(resnet8: onnx.ModelProto) -> None:
    model = quantised(resnet8)
    made = makers(model)
    conv = [n for n in model.graph.node if n.op_type == "Conv"][-1]
    conv.input[1] = made[conv.input[1]].input[0]
    with pytest.raises(PassError, match="start from the network without any quantiser"):
        Quantize().apply(model)


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (1, 2, 4, 3)])
def test_matrices_have_a_scale_an_output_however_many_there_are(shape: tuple[int, ...]) -> None:
    values = {"w": np.ones(shape), "v": np.ones((3, 5))}
    model = single(node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b v", "y"), **values)
    made = constants(Quantize(ranges=("x=0:1", "b=0:1")).apply(model).model)
    assert made["w_scale"].shape == (*[1] * (len(shape) - 1), 3)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_a_network_of_other_numbers_is_refused(kind: str) -> None:
    model = single(node("Conv", "x w", "y"), w=WEIGHT)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHT.astype(kind), "w"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    with pytest.raises(PassError, match=f"its weights are {kind}, and QONNX's quantisers make float32; export"):
        Quantize(ranges=("x=0:1",)).apply(model)


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(PassError, match="no weighted layer"):
        Quantize().apply(single(node("Relu", "x", "y")))
