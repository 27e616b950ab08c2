"""integer-weights stores what quantisers make of weights, and the network says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphops.data import DataSet
from graphops.data.feed import Feed
from graphops.evaluate import evaluate
from graphops.inference import session
from graphops.models import build
from graphops.statistics import parameters
from hls_backend import lower
from hls_backend.compare import compare
from passes import FoldConstants, IntegerWeights, Quantize
from passes.errors import PassError

KINDS = {i: v for v, i in onnx.TensorProto.DataType.items()}


def quantised(weights: int, first_last: int = 8) -> onnx.ModelProto:
    rewriter = Quantize(weights=weights, acts=4, first_last=first_last)
    model = build("resnet8", width=4, image=(3, 8, 8))
    ranges = {name: (-3.0 if signed else 0.0, 3.0) for name, (_, signed) in rewriter.points(model).items()}
    return rewriter.calibrated(ranges).apply(model).model


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("weights", [1, 2, 3, 4, 8])
def test_the_function_is_the_same_to_the_bit(weights: int) -> None:
    model, x = quantised(weights), images()
    result = IntegerWeights().apply(model)
    assert result.changed
    onnx.checker.check_model(result.model, full_check=True)
    stored = [i for i in result.model.graph.initializer if i.data_type == onnx.TensorProto.INT8]
    assert len(stored) == 8, "seven convolutions and the classifier"
    inner = [numpy_helper.to_array(i) for i in stored if "layer2" in i.name]
    assert all(np.abs(values).max() <= max(1, 2 ** (weights - 1) - 1) for values in inner)
    (before,), (after,) = (session(m).run(None, {"input": x}) for m in (model, result.model))
    np.testing.assert_array_equal(before, after)
    assert parameters(result.model) == parameters(model)


def test_the_file_is_lowered_to_the_same_integers_and_needs_a_quarter() -> None:
    model = quantised(4)
    stored = IntegerWeights().apply(model).model
    weights = sum(len(i.raw_data) for i in model.graph.initializer if "weight" in i.name)
    integers = sum(len(i.raw_data) for i in stored.graph.initializer if i.name.endswith("_levels"))
    assert integers < 0.27 * weights
    one, other = (lower(m).dataflow for m in (model, stored))
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        assert type(mine) is type(theirs)
        if hasattr(mine, "weights"):
            np.testing.assert_array_equal(mine.weights, theirs.weights)
    assert compare(stored, lower(stored), images()).equal


def test_scales_and_bits_may_be_constant_nodes() -> None:
    """As exporters by tracing write them."""
    model = quantised(4)
    expected = IntegerWeights().apply(model)
    for proto in [i for i in model.graph.initializer if "_scale" in i.name or i.name.startswith("quant_")]:
        model.graph.initializer.remove(proto)
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [proto.name], value=proto))
    result = IntegerWeights().apply(model)
    assert result.notes == expected.notes == ()
    levels = [
        {i.name: i for i in m.graph.initializer if i.data_type == onnx.TensorProto.INT8}
        for m in (result.model, expected.model)
    ]
    assert levels[0] == levels[1] != {}


def test_again_changes_nothing_and_folding_gives_rounded_weights() -> None:
    model = quantised(2)
    once = IntegerWeights().apply(model).model
    again = IntegerWeights().apply(once)
    assert not again.changed
    folded = FoldConstants().apply(once).model
    before, after = ({i.name: numpy_helper.to_array(i) for i in m.graph.initializer} for m in (model, folded))
    name = next(n for n in before if "layer2" in n and n.endswith("conv1.weight"))
    scale = before[f"{name}_scale"]
    np.testing.assert_allclose(after[name], np.round(np.clip(before[name] / scale, -1, 1)) * scale)


def test_what_has_more_bits_or_other_readers_stays() -> None:
    model = quantised(4)
    for tensor in model.graph.initializer:
        if tensor.name == "quant_bits_4":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(9), "quant_bits_4"))
    result = IntegerWeights().apply(model)
    assert sum("stays float32" in note for note in result.notes) == 6
    assert not IntegerWeights(above=10**6).apply(model).changed


def test_a_trained_model_in_the_repository_keeps_every_prediction(digits: DataSet) -> None:
    path = Path(__file__).parents[2] / "examples" / "models" / "digits-resnet8-w2a2.onnx"
    stored = onnx.load(path)
    plain = FoldConstants().apply(stored).model
    assert IntegerWeights().apply(plain).changed
    assert (evaluate(stored, digits).predictions == evaluate(plain, digits).predictions).all()
    assert Feed(stored, digits).input_name == Feed(plain, digits).input_name


@pytest.mark.parametrize("scale", [[0.1] * 5, [0.0] * 4, [-1.0] * 4])
def test_weights_that_lie_on_no_grid_stay(scale: list[float]) -> None:
    model = quantised(4)
    name = next(i.name for i in model.graph.initializer if i.name.endswith("layer1.0.conv1.weight_scale"))
    shaped = np.array(scale, np.float32).reshape(-1, 1, 1, 1)
    next(i for i in model.graph.initializer if i.name == name).CopyFrom(numpy_helper.from_array(shaped, name))
    notes = IntegerWeights().apply(model).notes
    assert len(notes) == 1
    assert name.removesuffix("_scale") in notes[0]


@pytest.mark.parametrize("how", ["zero point", "rounding_mode", "signed"])
def test_what_other_quantisers_make_stays(how: str) -> None:
    """Of a zero point, of another rounding, and without a sign."""
    model = quantised(4)
    (quantiser,) = [n for n in model.graph.node if n.output[0].endswith("layer1.0.conv1.weight_quant_out")]
    if how == "zero point":
        model.graph.initializer.append(numpy_helper.from_array(np.float32(1), "one"))
        quantiser.input[2] = "one"
    else:
        (old,) = [a for a in quantiser.attribute if a.name == how]
        old.CopyFrom(onnx.helper.make_attribute(how, "CEIL" if how == "rounding_mode" else 0))
    result = IntegerWeights().apply(model)
    assert [quantiser.input[0] in note for note in result.notes] == [True]


def test_an_opset_without_broadcasting_is_refused() -> None:
    model = quantised(4)
    next(o for o in model.opset_import if o.domain == "").version = 6
    with pytest.raises(PassError, match="opset 6, whose Mul knows no scale a channel; convert it"):
        IntegerWeights().apply(model)
