"""Training a quantised network: what is reported is what qonnx finds, and only trained values change."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphops.calibrate import calibrated
from graphops.data import DataSet
from graphops.data.feed import Feed
from graphops.evaluate import evaluate
from graphops.training import Progress, TrainOptions, train
from graphops.training.engine import Engine
from graphops.training.loss import LABELS, Loss, add_loss
from graphops.training.prepare import prepare
from hls_backend import lower
from hls_backend.compare import compare
from hls_backend.qonnx_execution import execute
from passes import FoldBatchNorm, FoldConstants, Quantize, UserError
from tests.graphops.training.nets import same_values, small, value

ROUNDED = 0.01  # of the images may have a value so near a boundary that the order of a sum decides

FAST = TrainOptions(epochs=3, batch=64, lr=0.02, workers=2)


@pytest.fixture(scope="module")
def floats() -> onnx.ModelProto:
    return onnx.load(Path(__file__).parents[3] / "examples" / "models" / "digits-resnet8.onnx")


def quantised(floats: onnx.ModelProto, digits: DataSet, weights: int, acts: int) -> onnx.ModelProto:
    return calibrated(Quantize(weights=weights, acts=acts), floats, digits).apply(floats).model


@pytest.fixture(scope="module")
def rounded(floats: onnx.ModelProto, digits: DataSet) -> onnx.ModelProto:
    """Two bits, not trained yet."""
    return quantised(floats, digits, 2, 2)


def test_ranges_are_measured_by_a_batch_larger_than_what_is_measured_on(digits: DataSet) -> None:
    fixed = small(given="float[512,1,8,8] x", wanted="float[512,10] y")
    assert calibrated(Quantize(), fixed, digits).ranges == calibrated(Quantize(), small(), digits).ranges


def test_a_model_that_does_not_run_has_no_ranges(digits: DataSet) -> None:
    model = small("b = Reshape(a, s)", {"s": np.array([1, 4, 8, 8])})
    with pytest.raises(UserError, match="cannot run the model on 64 images"):
        calibrated(Quantize(), model, digits)


def test_training_makes_up_for_rounding_and_its_accuracy_is_qonnx_s(
    floats: onnx.ModelProto, rounded: onnx.ModelProto, digits: DataSet
) -> None:
    before = evaluate(rounded, digits).accuracy
    trained = train(rounded, digits, FAST, teacher=floats)
    reported = trained.history[-1]["test_accuracy"]
    assert before < 0.7
    assert reported > 0.93
    score = evaluate(trained.model, digits)
    images = Feed(trained.model, digits)(digits.test.images)
    logits = execute(trained.model, images)[trained.model.graph.output[0].name]
    assert score.accuracy == reported
    assert (score.predictions != logits.argmax(axis=1)).mean() <= ROUNDED
    assert compare(trained.model, lower(trained.model), images[:32]).equal, "and so is the integer dataflow"


def test_a_network_that_keeps_its_batch_norms_is_lowered_as_well(floats: onnx.ModelProto, digits: DataSet) -> None:
    model = calibrated(Quantize(weights=2, acts=2, batchnorm="keep"), floats, digits).apply(floats).model
    trained = train(model, digits, dataclasses.replace(FAST, epochs=2), teacher=floats)
    assert trained.history[-1]["test_accuracy"] > 0.93
    assert sum(n.op_type == "BatchNormalization" for n in trained.model.graph.node) == 7
    images = Feed(trained.model, digits)(digits.test.images[:32])
    assert compare(trained.model, lower(trained.model), images).equal


def test_nothing_but_trained_values_changes_and_shared_scales_stay_shared(
    rounded: onnx.ModelProto, digits: DataSet
) -> None:
    after = train(rounded, digits, dataclasses.replace(FAST, steps=2)).model
    fixed = {i.name for i in rounded.graph.initializer if i.name.startswith("quant_") or i.name == "input_scale"}
    assert fixed == {"quant_zero", "quant_bits_2", "quant_bits_4", "quant_bits_8", "quant_bits_24", "input_scale"}
    for tensor in rounded.graph.initializer:
        moved = (value(after, tensor.name) != value(rounded, tensor.name)).any()
        constant = tensor.name in fixed or tensor.data_type != onnx.TensorProto.FLOAT
        assert moved != constant, tensor.name
    before = onnx.ModelProto.FromString(rounded.SerializeToString())
    for one, other in zip(before.graph.initializer, after.graph.initializer, strict=True):
        one.raw_data = other.raw_data = b""
    assert before.SerializeToString(deterministic=True) == after.SerializeToString(deterministic=True)


def test_scales_stay_positive_however_large_the_steps(rounded: onnx.ModelProto, digits: DataSet) -> None:
    wild = dataclasses.replace(FAST, steps=6, lr=3.0, warmup=0, clip_norm=1.0)
    after = train(rounded, digits, wild).model
    scales = [i.name for i in after.graph.initializer if i.name.endswith("_scale")]
    assert len(scales) > 15
    assert all((value(after, name) > 0).all() for name in scales)


def test_a_run_that_was_stopped_ends_where_an_uninterrupted_one_ends(
    rounded: onnx.ModelProto, digits: DataSet, tmp_path: Path
) -> None:
    options = dataclasses.replace(FAST, steps=5, checkpoint_steps=1)

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(rounded, digits, options, folder=tmp_path, progress=stop)
    resumed = train(rounded, digits, options, folder=tmp_path).model
    assert same_values(resumed, train(rounded, digits, options).model)


def test_quantised_convolutions_run_on_the_runtime_s_fast_layout_as_float_ones_do(
    floats: onnx.ModelProto, rounded: onnx.ModelProto
) -> None:
    def fast(model: onnx.ModelProto) -> int:
        prepared = prepare(model)
        graph = add_loss(prepared.model, prepared.logits, Loss())
        feeds = {prepared.input: (np.dtype(np.float32), (1, 8, 8)), LABELS: (np.dtype(np.int64), ())}
        engine = Engine(graph, prepared.logits, prepared.roles, feeds, 10, 2, 1)
        engine.close()
        return sum(node.domain == "com.microsoft.nchwc" for node in engine.model.graph.node)

    assert fast(rounded) == fast(FoldBatchNorm().apply(FoldConstants().apply(floats).model).model)


def test_a_quantised_network_can_be_the_teacher(rounded: onnx.ModelProto, digits: DataSet) -> None:
    options = dataclasses.replace(FAST, steps=2, distill_weight=1.0)
    history = train(rounded, digits, options, teacher=rounded).history
    assert history[0]["loss"] < 0.5, "it follows itself; a step moved it"


@pytest.mark.parametrize(("weights", "acts", "least"), [(8, 8, 0.98), (3, 3, 0.95), (1, 2, 0.85)])
def test_other_bits_train_too(floats: onnx.ModelProto, digits: DataSet, weights: int, acts: int, least: float) -> None:
    model = quantised(floats, digits, weights, acts)
    trained = train(model, digits, dataclasses.replace(FAST, epochs=2), teacher=floats)
    assert np.isfinite([h["loss"] for h in trained.history]).all()
    assert trained.history[-1]["test_accuracy"] > least
