"""Whether two models say the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops.verify import SAMPLES, difference, random_inputs
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


def test_float_rounding_is_told_from_more() -> None:
    assert difference(scaled(1.0), scaled(1.0 + 1e-5)).is_rounding
    assert not difference(scaled(1.0), scaled(1.001)).is_rounding


def test_inputs_are_batches_of_any_type() -> None:
    assert random_inputs(scaled(1.0))["x"].shape == (SAMPLES, 3)
    assert difference(scaled(2, [2, 2], TensorProto.INT64), scaled(2, [2, 2], TensorProto.INT64)).largest == 0


def test_an_open_shape_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="Input 'x' leaves axis 1 open"):
        difference(scaled(1.0, ["N", "C"]), scaled(1.0, ["N", "C"]))


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
