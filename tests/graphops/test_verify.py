"""Whether two models say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops.verify import SAMPLES, Difference, difference, random_inputs
from passes.errors import ModelError, UserError


def scaled(factor: float, shape: list[int | str] | None = None, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """y = factor * x"""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "f"], ["y"])],
        "scaled",
        [helper.make_tensor_value_info("x", kind, shape or ["N", 3])],
        [helper.make_tensor_value_info("y", kind, shape or ["N", 3])],
        [numpy_helper.from_array(np.array(factor, dtype), "f")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_equal_models_do_not_differ() -> None:
    found = difference(scaled(2.0), scaled(2.0))
    assert found.largest == 0
    assert found.scale > 0
    assert found.is_rounding


def test_the_difference_is_the_largest_of_all_outputs() -> None:
    found = difference(scaled(2.0), scaled(3.0))
    assert found.largest == pytest.approx(found.scale / 2)
    assert not found.is_rounding


def two(given: str, wanted: str, body: str) -> onnx.ModelProto:
    """A model whose inputs and outputs are pairs of numbers."""
    given, wanted = (", ".join(f"float[2] {name}" for name in names.split()) for names in (given, wanted))
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g ({given}) => ({wanted}) {{ {body} }}')


def test_several_inputs_and_outputs_are_told_apart_by_their_names() -> None:
    feeds = {"a": np.full(2, 3, np.float32), "b": np.full(2, 1, np.float32)}
    body = "y = Sub(a, b) z = Add(a, b)"
    before = two("a b", "y z", body)
    assert difference(before, two("b a", "z y", body), feeds=feeds).largest == 0
    found = difference(before, two("a b", "y z", "y = Sub(a, b) z = Sub(b, a)"), feeds=feeds)
    assert (found.largest, found.scale, found.outputs) == (6, 4, {"y": 0, "z": 6})


def test_float_rounding_is_told_from_more() -> None:
    assert difference(scaled(1.0), scaled(1.0 + 1e-5)).is_rounding
    assert not difference(scaled(1.0), scaled(1.001)).is_rounding
    assert not Difference(largest=1.5e-5, scale=1.8e-5).is_rounding, "almost as much as the outputs themselves"
    assert Difference(largest=1e-12, scale=0).is_rounding


def test_sixteen_bits_round_more() -> None:
    half = TensorProto.FLOAT16
    assert difference(scaled(1.0, kind=half), scaled(1.002, kind=half)).is_rounding
    assert not difference(scaled(1.0, kind=half), scaled(1.05, kind=half)).is_rounding
    within = two("x", "y", "h = Cast <to = 10> (x) y = Cast <to = 1> (h)")
    assert difference(two("x", "y", "y = Identity(x)"), within).is_rounding


def test_inputs_are_batches_of_any_type() -> None:
    assert random_inputs(scaled(1.0))["x"].shape == (SAMPLES, 3)
    one, same, other = (random_inputs(scaled(1.0), seed)["x"].tobytes() for seed in (0, 0, 1))
    assert one == same != other
    assert difference(scaled(2, [2, 2], TensorProto.INT64), scaled(2, [2, 2], TensorProto.INT64)).largest == 0


def test_open_axes_of_one_name_have_one_length() -> None:
    model = scaled(1.0, ["N", "T", "T", "S"])
    batch, *open_axes = random_inputs(model, size=5)["x"].shape
    assert batch == SAMPLES
    assert open_axes == [5, 5, 5]
    assert difference(model, model).is_rounding


def test_a_length_is_looked_for_that_the_model_runs_on() -> None:
    model = scaled(1.0, ["N", "C"])
    model.graph.node[0].output[0] = "scaled"
    model.graph.initializer.append(numpy_helper.from_array(np.ones((32, 2), np.float32), "w"))
    model.graph.node.add(op_type="MatMul", input=["scaled", "w"], output=["y"])
    assert difference(model, model).is_rounding


def test_given_inputs_are_taken() -> None:
    found = difference(scaled(2.0), scaled(3.0), feeds={"x": np.full((1, 3), 5.0, np.float32)})
    assert (found.largest, found.scale) == (5.0, 10.0)
    assert found.outputs == {"y": 5.0}


@pytest.mark.parametrize(
    ("feeds", "sentence"),
    [
        ({}, "The inputs given are none, and a model takes x; give an array for each"),
        ({"x": np.zeros((1, 3), np.float32), "z": np.zeros(2)}, "The inputs given are x, z, and a model takes x"),
        ({"x": np.zeros((1, 3))}, r"'x' is given as float64\[1, 3\], and a model takes float32\[\?, 3\]"),
        ({"x": np.zeros((1, 4), np.float32)}, r"given as float32\[1, 4\], and a model takes float32\[\?, 3\]"),
        ({"x": np.zeros(3, np.float32)}, r"given as float32\[3\], and a model takes float32\[\?, 3\]"),
    ],
)
def test_inputs_that_no_model_takes_are_refused(feeds: dict[str, np.ndarray], sentence: str) -> None:
    """By what they are, not as a fault of the model."""
    with pytest.raises(UserError, match=sentence):
        difference(scaled(2.0), scaled(3.0), feeds=feeds)


def test_inputs_suit_both_models() -> None:
    """As of one network, exported for any number of images and for one."""
    fixed = scaled(3.0, [1, 3])
    fixed.graph.input[0].name = fixed.graph.node[0].input[0] = "image"
    assert random_inputs(scaled(2.0), other=fixed)["x"].shape == (1, 3)
    assert difference(scaled(2.0), fixed, feeds={"x": np.full((1, 3), 5.0, np.float32)}).largest == 5.0


def test_outputs_of_other_names_are_compared_in_order() -> None:
    renamed = scaled(2.0)
    renamed.graph.node[0].output[0] = renamed.graph.output[0].name = "z"
    assert difference(scaled(2.0), renamed).largest == 0


def test_what_draws_random_numbers_cannot_be_compared() -> None:
    model = scaled(1.0)
    model.graph.node.add(op_type="RandomNormalLike", input=["x"], output=["r"])
    with pytest.raises(ModelError, match="draws random numbers"):
        difference(model, model)


def test_other_outputs_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="differ in number or shape"):
        difference(scaled(1.0), _without_batch())


def _without_batch() -> onnx.ModelProto:
    model = scaled(1.0)
    model.graph.node.add(op_type="Flatten", input=["y"], output=["z"]).attribute.append(
        helper.make_attribute("axis", 0)
    )
    model.graph.output[0].name = "z"
    return model


def test_what_is_not_finite_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="not finite"):
        difference(scaled(1.0), scaled(float("nan")))


@pytest.mark.parametrize("operator", ["Relu", "Neg"])
def test_sequences_alone_cannot_be_compared(operator: str) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (seq(float[2]) y)
        { a = Relu(x) y = SequenceConstruct(a, a) }"""
    before, after = (onnx.parser.parse_model(text.replace("Relu", name)) for name in ("Relu", operator))
    with pytest.raises(UserError, match="No output is a tensor of numbers"):
        difference(before, after)


def test_qonnx_graphs_run_whatever_version_onnx_writes() -> None:
    """qonnx makes models of single nodes, and onnx gives those its newest IR version, which no onnxruntime may know."""
    path = Path(__file__).parents[2] / "examples/corpus/exports/quantised/brevitas-4-bits.qonnx.onnx"
    model = onnx.load(path)
    result = difference(model, model)
    assert result.largest == 0
    assert result.scale > 0
