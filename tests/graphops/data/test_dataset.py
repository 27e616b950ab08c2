"""What every data set must be."""

from __future__ import annotations

import numpy as np
import pytest

from graphops.data.dataset import DataSet, Split, divide
from graphops.data.normalisation import by_name
from passes.errors import UserError


def split(count: int = 4, size: int = 8, labels: list[int] | None = None) -> Split:
    images = np.zeros((count, 3, size, size), np.uint8)
    return Split(images, np.array(labels if labels is not None else [0] * count, np.int64))


def test_a_data_set_knows_its_shape_and_its_splits() -> None:
    data = DataSet("toy", split(4, 8), split(2, 8), ("cat", "dog"), by_name("unit"))
    assert data.image_shape == (3, 8, 8)
    assert (len(data.split("train")), len(data.split("test"))) == (4, 2)
    assert len(data.train.first(3)) == 3
    assert data.train.first(None) is data.train


def test_an_unknown_split_is_refused() -> None:
    data = DataSet("toy", split(), split(), ("cat",), by_name("unit"))
    with pytest.raises(UserError, match="toy has no split 'val'"):
        data.split("val")


@pytest.mark.parametrize("labels", [[0, 1, 2, 0], [0, -1, 0, 0]])
def test_a_label_without_a_class_is_refused(labels: list[int]) -> None:
    with pytest.raises(UserError, match=r"toy: test image \d has label -?\d, but labels go from 0 to 1"):
        DataSet("toy", split(), split(labels=labels), ("cat", "dog"), by_name("unit"))


def test_splits_of_different_images_are_refused() -> None:
    with pytest.raises(UserError, match="training images are uint8 3x8x8 and test images uint8 3x9x9"):
        DataSet("toy", split(size=8), split(size=9), ("cat",), by_name("unit"))


@pytest.mark.parametrize(
    ("images", "labels", "why"),
    [
        (np.zeros((2, 3, 4), np.uint8), np.zeros(2, np.int64), r"not uint8 \[2, 3, 4\]"),
        (np.zeros((2, 3, 4, 4), np.float64), np.zeros(2, np.int64), "not float64"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.zeros(3, np.int64), r"2 images but labels \[3\]"),
        (np.zeros((0, 3, 4, 4), np.uint8), np.zeros(0, np.int64), "without images"),
    ],
)
def test_what_is_no_split_is_refused(images: np.ndarray, labels: np.ndarray, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Split(images, labels)


def test_division_keeps_each_image_once_and_each_class_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [40, 40, 80])
    images = np.arange(160, dtype=np.uint8).reshape(160, 1, 1, 1)
    train, test = divide(images, labels)
    assert sorted([*train.images.ravel(), *test.images.ravel()]) == list(range(160))
    assert np.bincount(test.labels).tolist() == [10, 10, 20]
    assert np.array_equal(labels[test.images.ravel()], test.labels)


def test_division_is_always_the_same() -> None:
    labels = np.repeat([0, 1], 20)
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    first, second = divide(images, labels), divide(images, labels)
    assert np.array_equal(first[1].images, second[1].images)


def test_a_class_of_one_image_cannot_be_divided() -> None:
    with pytest.raises(UserError, match="5 images of 2 classes cannot be divided"):
        divide(np.zeros((5, 1, 1, 1), np.uint8), np.array([0, 0, 0, 0, 1]))
