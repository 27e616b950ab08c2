"""What passes go by is measured on training images, whatever their order: test images must not choose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphops.calibrate import best_range
from graphops.data import DataSet, Split
from graphops.measured import measured
from graphops.models import build
from graphops.sensitivity import spread
from passes import Quantize, RemoveSkips
from passes.base import Pass


@pytest.mark.parametrize("rewriter", [RemoveSkips(stage=1, order="sensitivity"), Quantize()])
def test_test_images_measure_nothing(rewriter: Pass, digits: DataSet) -> None:
    model = build("resnet8", width=4, classes=10, image=(1, 8, 8))
    blank = Split(np.zeros_like(digits.test.images[:1]), digits.test.labels[:1])
    found = measured(rewriter, model, digits)
    assert found != rewriter
    assert found == measured(rewriter, model, dataclasses.replace(digits, test=blank))
    other = Split(digits.train.images[::-1] // 2, digits.train.labels)
    assert found != measured(rewriter, model, dataclasses.replace(digits, train=other))


def test_images_are_taken_at_equal_distances() -> None:
    """A data set may be sorted by class."""
    split = Split(np.zeros((10, 1, 1, 1), np.uint8), np.arange(10))
    assert spread(split, 4).labels.tolist() == [0, 3, 6, 9]
    assert spread(split, 99).labels.tolist() == list(range(10))


def test_the_best_range_has_the_least_squared_error() -> None:
    values = np.array([*[1.0] * 1000, 4.0])  # in two bits without a sign: 0, 1, 2, 3 times a scale
    low, high = best_range(values, 2, signed=False)
    errors = {
        share: ((np.clip(np.round(values / (s := share * 4 / 300)), 0, 3) * s - values) ** 2).sum()
        for share in range(1, 101)
    }
    assert (low, high) == (0, pytest.approx(3 * min(errors, key=lambda share: errors[share]) * 4 / 300))
    assert 2.5 < high < 3.5, "all but the one large value are met"
    assert best_range(np.zeros(3), 4, signed=True) == (0, 0)
