"""Whole networks, quantised by the pass, run in integers as qonnx runs them; random weights, ranges measured."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphops.calibrate import calibrated
from graphops.data import DataSet, Split
from graphops.data.feed import Feed
from graphops.data.normalisation import by_name
from graphops.models import build
from hls_backend import execute, insert_width_converters, lower
from hls_backend.layers import AddStreams, LabelSelect
from hls_backend.qonnx_execution import execute as qonnx
from passes import Quantize, RemoveSkips
from tests.hls_backend.checks import kinds, same_as_qonnx


def quantised(model: onnx.ModelProto, data: DataSet, **options: int) -> onnx.ModelProto:
    return calibrated(Quantize(**options), model, data).apply(model).model


@pytest.fixture(scope="module")
def noise() -> DataSet:
    """Images of CIFAR's size."""
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), np.uint8)
    labels = np.arange(12) % 10
    classes = tuple(str(i) for i in range(10))
    return DataSet("noise", Split(images, labels), Split(images, labels), classes, by_name("cifar10"))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_resnet8_on_digits(bits: int, digits: DataSet) -> None:
    model = quantised(build("resnet8", image=(1, 8, 8)), digits, weights=bits, acts=bits)
    images = Feed(model, digits)(digits.test.images[:60])
    dataflow = same_as_qonnx(model, images, most_on_boundary=60).dataflow
    logits = qonnx(model, images)["logits"]
    agree = execute(dataflow, images).reshape(-1) == logits.argmax(axis=1)
    assert agree.mean() >= (1 if bits < 8 else 0.95), "qonnx alone, with its own rounding, but at 8 bits"


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize(("weights", "acts"), [(1, 2), (8, 8)])
def test_resnet20(weights: int, acts: int, shortcut: str, noise: DataSet) -> None:
    model = quantised(build("resnet20", shortcut=shortcut), noise, weights=weights, acts=acts)
    images = Feed(model, noise)(noise.test.images[:1])
    dataflow = same_as_qonnx(model, images, most_on_boundary=20).dataflow
    found = kinds(dataflow)
    assert (found["ElementwiseAdd"], found["DuplicateStreams"]) == (9, 9)
    assert found["MVAU"] == (22 if shortcut == "B" else 20)
    assert isinstance(dataflow.layers[-1], LabelSelect)
    insert_width_converters(dataflow)


@pytest.mark.parametrize("name", ["shortresnet20", "nonresnet20"])
def test_the_networks_with_short_skips_and_none(name: str, noise: DataSet) -> None:
    model = quantised(build(name), noise, weights=4, acts=4)
    images = Feed(model, noise)(noise.test.images[:1])
    dataflow = same_as_qonnx(model, images, most_on_boundary=20).dataflow
    joins = 9 if name == "shortresnet20" else 0
    assert sum(isinstance(layer, AddStreams) for layer in dataflow.layers) == joins
    assert kinds(dataflow)["DuplicateStreams"] == joins


def test_quantised_networks_lose_their_skips_as_well(digits: DataSet) -> None:
    model = quantised(build("resnet8", image=(1, 8, 8)), digits, weights=4, acts=4)
    removed = RemoveSkips(stage=3).apply(model).model
    images = Feed(model, digits)(digits.test.images[:5])
    assert kinds(same_as_qonnx(removed, images, 5).dataflow)["ElementwiseAdd"] == 0


def test_the_published_resnet20(published_resnet20: onnx.ModelProto, cifar10: DataSet) -> None:
    """91.73 % in float; rounded to 8 bits with no training it keeps its classes on nearly all images."""
    model = quantised(published_resnet20, cifar10, weights=8, acts=8)
    images = Feed(model, cifar10)(cifar10.test.images[:100])
    lowered = lower(model)
    correct = execute(lowered.dataflow, images).reshape(-1) == cifar10.test.labels[:100]
    assert correct.mean() >= 0.85
    same_as_qonnx(model, images[:2], most_on_boundary=20)
