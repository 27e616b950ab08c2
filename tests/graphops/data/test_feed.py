"""Images to a model's input: type, layout, batch, normalisation, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphops.data import DataSet, Split
from graphops.data.feed import Feed
from graphops.data.normalisation import by_name
from passes.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 7), np.uint8)
LABELS = np.zeros(5, np.int64)
DATA = DataSet("toy", Split(IMAGES, LABELS), Split(IMAGES, LABELS), ("only",), by_name("imagenet"))
Dims = list[Any] | None


def model(shape: Dims, kind: int = TensorProto.FLOAT, more: tuple[str, ...] = (), note: str = "") -> onnx.ModelProto:
    """A model with an input ``x`` of ``shape``; ``more`` inputs; a normalisation noted in its metadata."""
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name in ("x", *more)]
    output = helper.make_tensor_value_info("y", kind, None)
    made = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, [output]))
    if note:
        helper.set_model_props(made, {"graphops.normalisation": note})
    return made


NORMALISED = by_name("imagenet")(IMAGES)


@pytest.mark.parametrize(
    "shape", [["N", 3, 6, 7], [None, 3, 6, 7], ["N", "C", "H", "W"], [None] * 4, [0, 3, -1, -1], None]
)
def test_images_go_in_as_they_lie_into_any_number(shape: Dims) -> None:
    feed = Feed(model(shape), DATA)
    assert feed.input_name == "x"
    assert feed.batch_size is None
    assert feed(IMAGES).dtype == np.float32
    assert np.array_equal(feed(IMAGES), NORMALISED)


@pytest.mark.parametrize("shape", [["N", 6, 7, 3], ["N", None, None, 3], ["N", "H", 7, "C"]])
def test_channels_go_last_where_the_input_says_so(shape: Dims) -> None:
    x = Feed(model(shape), DATA)(IMAGES)
    assert np.array_equal(x, NORMALISED.transpose(0, 2, 3, 1))
    assert x.flags.c_contiguous


def test_a_fixed_batch_is_known() -> None:
    assert Feed(model([8, 3, 6, 7]), DATA).batch_size == 8


@pytest.mark.parametrize(("kind", "number"), [(TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64)])
def test_other_floats_are_the_same_numbers(kind: int, number: type) -> None:
    x = Feed(model(["N", 3, 6, 7], kind), DATA)(IMAGES)
    assert x.dtype == number
    assert np.array_equal(x, NORMALISED.astype(number))


def test_a_byte_input_gets_bytes() -> None:
    feed = Feed(model(["N", 6, 7, 3], TensorProto.UINT8), DATA)
    assert feed(IMAGES).dtype == np.uint8
    assert np.array_equal(feed(IMAGES), IMAGES.transpose(0, 2, 3, 1))
    with pytest.raises(UserError, match="takes bytes, so the model normalises by itself"):
        Feed(model(["N", 6, 7, 3], TensorProto.UINT8), DATA, "imagenet")


def test_a_byte_input_cannot_take_floats() -> None:
    split = Split(IMAGES.astype(np.float32), LABELS)
    with pytest.raises(UserError, match="takes bytes and floats holds floats"):
        Feed(model([None] * 4, TensorProto.UINT8), DataSet("floats", split, split, ("only",), by_name("none")))


def test_the_normalisation_is_the_one_given_else_the_models_else_the_data_sets() -> None:
    plain, noted = model([None] * 4), model([None] * 4, note="unit")
    assert Feed(plain, DATA).normalisation.name == "imagenet"
    assert Feed(noted, DATA).normalisation.name == "unit"
    assert Feed(noted, DATA, "symmetric").normalisation.name == "symmetric"
    assert Feed(noted, DATA, by_name("none")).normalisation.name == "none"
    assert np.array_equal(Feed(noted, DATA)(IMAGES), by_name("unit")(IMAGES))


@pytest.mark.parametrize("shape", [["N", 126], ["N", 3, 42], ["N", "C", 7], [0, 3, -1]])
def test_inputs_of_other_ranks_get_the_same_numbers(shape: list[Any]) -> None:
    """As of a perceptron, or of convolutions over time."""
    made = Feed(model(shape), DATA)(IMAGES)
    assert made.shape[1:] == {2: (126,), 3: (18, 7) if shape[1] == "C" else (3, 42)}[len(shape)]
    assert np.array_equal(made.ravel(), NORMALISED.ravel())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (model([1, 3, 224, 224]), "'x' takes images of 3x224x224 and those of toy are 3x6x7"),
        (model(["N", 1, 6, 7]), "takes images of 1x6x7"),
        (model(["N", "C", 32, 32]), r"takes images of \?x32x32"),
        (model(["N"]), "'x' has 1 dimensions; a batch of images needs two"),
        (model(["N", 125]), "'x' takes 125 numbers and images of toy have 3x6x7"),
        (model(["N", "C", 5]), r"'x' takes \?x5 numbers"),
        (model(["N", "C", "T"]), r"'x' takes \?x\? numbers"),
        (model(["N", 3, 6, 7], TensorProto.INT64), "'x' is of int64; images need"),
        (model(["N", 3, 6, 7], 2**31 - 1), "'x' is of type 2147483647; images need"),
        (model(["N", 3, 6, 7], more=("mask",)), r"has 2 inputs \('x', 'mask'\)"),
        (model(["N", 3, 6, 7], note="imagnet"), "no normalisation called 'imagnet'"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: onnx.ModelProto, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Feed(wrong, DATA)


def test_a_normalisation_of_other_channels_is_refused_at_once(digits: DataSet) -> None:
    with pytest.raises(UserError, match="'imagenet' is for 3 channels and the images have 1"):
        Feed(model([None] * 4), digits, "imagenet")


def test_weights_listed_among_the_inputs_are_no_inputs() -> None:
    old = model(["N", 3, 6, 7], more=("w",))
    old.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [1], [0.0]))
    assert Feed(old, DATA).input_name == "x"


def test_a_model_without_inputs_is_refused() -> None:
    constant = model([None] * 4)
    del constant.graph.input[:]
    with pytest.raises(UserError, match=r"has 0 inputs \(none\)"):
        Feed(constant, DATA)
