"""Scoring models on data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops.data import DataSet, Split
from graphops.data.normalisation import by_name
from graphops.evaluate import evaluate
from graphops.inference import reason
from graphops.models import build
from passes.errors import UserError

CLASSES = ("red", "green", "blue")


def colours(count: int = 7, wrong: int = 2) -> DataSet:
    """Images of one bright channel, labelled by it, but for the last ``wrong`` ones."""
    labels = np.arange(count) % 3
    images = np.random.default_rng(0).integers(0, 100, (count, 3, 4, 4), np.uint8)
    images[np.arange(count), labels] += 100
    labels[count - wrong :] = (labels[count - wrong :] + 1) % 3
    split = Split(images, labels.astype(np.int64))
    return DataSet("colours", split, split, CLASSES, by_name("unit"))


def brightest(batch: Any = "N", kind: int = TensorProto.FLOAT, classes: int = 3) -> onnx.ModelProto:
    """A model whose outputs are the features [N, 3, 1, 1] and the mean brightness [N, classes] of each channel."""
    weight = numpy_helper.from_array(np.eye(classes, 3, dtype=helper.tensor_dtype_to_np_dtype(kind)), "w")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["features"]),
        helper.make_node("Flatten", ["features"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["brightness"], transB=1),
    ]
    outputs = [
        helper.make_tensor_value_info("features", kind, [batch, 3, 1, 1]),
        helper.make_tensor_value_info("brightness", kind, [batch, classes]),
    ]
    graph = helper.make_graph(
        nodes, "brightest", [helper.make_tensor_value_info("x", kind, [batch, 3, 4, 4])], outputs, [weight]
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_accuracy_is_the_share_of_right_predictions() -> None:
    score = evaluate(brightest(), colours(7, wrong=2))
    assert score.predictions.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (score.correct, score.count, score.accuracy) == (5, 7, 5 / 7)
    assert score.seconds > 0


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_the_batch_does_not_matter(batch: int) -> None:
    assert evaluate(brightest(), colours(), batch=batch).correct == 5


@pytest.mark.parametrize("fixed", [1, 3, 7, 10])
def test_a_fixed_batch_is_filled_up(fixed: int) -> None:
    score = evaluate(brightest(fixed), colours(), batch=2)
    assert score.predictions.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_an_output_that_is_no_number_is_never_right() -> None:
    model, weight = brightest(), np.eye(3, dtype=np.float32)
    weight[1] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    score = evaluate(model, colours())
    assert (score.correct, score.undecided, score.output) == (0, 7, "brightness")
    weight[1] = 0, -np.inf, 0
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    score = evaluate(model, colours())
    assert score.undecided == 0, "the logarithm of a probability of 0 decides"
    assert set(score.predictions.tolist()) == {0, 2}


def test_half_precision_and_newer_ir_versions_run() -> None:
    half = brightest(kind=TensorProto.FLOAT16)
    half.ir_version = 13
    assert evaluate(half, colours()).correct == 5
    assert half.ir_version == 13


def test_a_limit_scores_the_first_images_and_progress_tells_how_far() -> None:
    told: list[tuple[int, int]] = []
    score = evaluate(brightest(), colours(), limit=5, batch=2, progress=lambda done, of: told.append((done, of)))
    assert (score.correct, score.count) == (5, 5)
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_the_first_output_that_fits_the_classes_is_scored_or_the_one_that_is_named() -> None:
    model = brightest()
    for name, count in (("wide", 4), ("darkness", 3)):
        weight = numpy_helper.from_array(-np.eye(count, 3, dtype=np.float32), f"{name}_w")
        model.graph.initializer.append(weight)
        model.graph.node.append(helper.make_node("Gemm", ["flat", weight.name], [name], transB=1))
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", count]))
    first = model.graph.output.pop(1)
    model.graph.output.append(first)
    assert evaluate(model, colours()).correct != 5
    assert evaluate(model, colours(), output="brightness").correct == 5
    with pytest.raises(UserError, match=r"'wide' is \d+x4 and colours has 3 classes"):
        evaluate(model, colours(), output="wide")
    with pytest.raises(UserError, match="no output 'dark'; it has features, wide, darkness, brightness"):
        evaluate(model, colours(), output="dark")


def test_an_output_of_one_pixel_a_class_is_scored_where_there_is_no_other() -> None:
    model = brightest()
    del model.graph.output[1]
    assert evaluate(model, colours()).correct == 5


def test_split_and_normalisation_are_passed_on() -> None:
    data = colours()
    dark = DataSet("dark", data.train, Split(255 - data.test.images, data.test.labels), CLASSES, by_name("unit"))
    assert evaluate(brightest(), dark, split="train").correct == 5
    assert evaluate(brightest(), dark, split="test").correct != 5
    assert evaluate(brightest(), dark, split="test", normalisation="-255:0:1").correct == 5


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"limit": 0}, "limit=0; give at least 1"),
        ({"batch": -1}, "batch=-1; give at least 1"),
        ({"split": "val"}, "no split 'val'"),
        ({"normalisation": "imagenets"}, "did you mean 'imagenet'"),
    ],
)
def test_impossible_arguments_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        evaluate(brightest(), colours(), **options)


def of_many_pixels() -> onnx.ModelProto:
    """A model whose only output is [N, 3, 2, 2]."""
    model = brightest()
    del model.graph.output[1], model.graph.node[1:]
    model.graph.node[0].CopyFrom(helper.make_node("AveragePool", ["x"], ["features"], kernel_shape=[3, 3]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 3, 2, 2]))
    return model


def unknown_operator() -> onnx.ModelProto:
    model = brightest()
    model.graph.node[0].op_type = "Marvel"
    return model


def newer_opset() -> onnx.ModelProto:
    model = brightest()
    model.opset_import[0].version = 999
    return model


def symbolic_classes() -> onnx.ModelProto:
    model = brightest(classes=5)
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_param = "K"
    return model


def external() -> onnx.ModelProto:
    model = brightest()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return model


def breaks_when_run() -> onnx.ModelProto:
    """Reshapes to a fixed batch behind a symbolic one."""
    model = brightest()
    model.graph.node[1].CopyFrom(helper.make_node("Reshape", ["features", "shape"], ["flat"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "shape"))
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (brightest(classes=10), "'brightness' is Nx10 and colours has 3 classes"),
        (symbolic_classes(), r"'brightness' is \w+x5 and colours has 3 classes"),
        (of_many_pixels(), r"no output \[N, classes\] but 'features'"),
        (unknown_operator(), "onnxruntime 1.19.2 cannot load the model .*Marvel"),
        (newer_opset(), "onnxruntime 1.19.2 cannot load the model .*999"),
        (external(), "weights lie in another file"),
        (breaks_when_run(), "cannot run the model on 7 images"),
    ],
)
def test_a_model_that_cannot_be_scored_is_refused_in_one_sentence(model: onnx.ModelProto, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        evaluate(model, colours())
    assert "\n" not in str(caught.value)


def test_untrained_digits_are_guessed(digits: DataSet) -> None:
    score = evaluate(build("resnet8", image=(1, 8, 8)), digits)
    assert score.count == 450
    assert score.accuracy < 0.4


def test_the_published_resnet20_scores_what_was_published(
    published_resnet20: onnx.ModelProto, cifar10: DataSet
) -> None:
    assert evaluate(published_resnet20, cifar10).accuracy == pytest.approx(0.9173, abs=0.0002)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : While running Reshape node. Name:'r' Status Message: "
            "/onnxruntime_src/core/reshape_helper.h:45 a::Helper(const b::Shape&, bool) size == 1 was false. The input "
            "tensor cannot be reshaped.",
            "While running Reshape node. Name:'r' Status Message: The input tensor cannot be reshaped",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Failed to load: /onnxruntime_src/utils.h:46 void a::b(const c<d>&, int) "
            "ONNX Runtime only guarantees (some) support.",
            "Failed to load: ONNX Runtime only guarantees (some) support",
        ),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got 3 for input: x", "Got 3 for input: x"),
    ],
)
def test_onnxruntime_s_words_without_its_source(said: str, sentence: str) -> None:
    assert reason(Exception(said)) == sentence
