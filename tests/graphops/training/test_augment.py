"""Random crops and flips."""

from __future__ import annotations

import numpy as np
import pytest

from graphops.training import TrainOptions
from graphops.training.augment import augment, kind


def images(dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (200, 3, 16, 18)).astype(dtype)


def naive(image: np.ndarray, padding: int, top: int, left: int) -> np.ndarray:
    padded = np.pad(image, [(0, 0), (padding, padding), (padding, padding)])
    return padded[:, top : top + image.shape[1], left : left + image.shape[2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_image_is_one_of_its_crops_or_their_mirrors_and_all_occur(dtype: type) -> None:
    given = images(dtype)
    made = augment(given, "crop-flip", 1, np.random.default_rng(1))
    assert (made.shape, made.dtype) == (given.shape, given.dtype)
    seen = set()
    for before, after in zip(given, made, strict=True):
        crops = {(t, x): naive(before, 1, t, x) for t in range(3) for x in range(3)}
        found = {(*k, False) for k, c in crops.items() if np.array_equal(c, after)}
        found |= {(*k, True) for k, c in crops.items() if np.array_equal(c[:, :, ::-1], after)}
        assert len(found) == 1
        seen |= found
    assert len(seen) == 18


def test_crop_never_mirrors() -> None:
    given = images()
    made = augment(given, "crop", 0, np.random.default_rng(1))
    np.testing.assert_array_equal(made, given)


def test_the_generator_alone_decides() -> None:
    one, other, third = (augment(images(), "crop-flip", 4, np.random.default_rng(s)) for s in (3, 3, 4))
    assert one.tobytes() == other.tobytes() != third.tobytes()


@pytest.mark.parametrize(
    ("dataset", "size", "expected"),
    [
        ("digits", 8, "none"),
        ("cifar10", 32, "crop-flip"),
        ("svhn", 32, "crop"),
        ("mnist.npz", 28, "crop"),
        ("MNIST", 28, "crop"),
        ("own.npz", 16, "crop-flip"),
    ],
)
def test_auto_goes_by_size_and_data_set(dataset: str, size: int, expected: str) -> None:
    assert kind(TrainOptions(), dataset, size, size) == expected
    assert kind(TrainOptions(augment="crop"), dataset, size, size) == "crop"


def test_auto_leaves_series_as_they_are() -> None:
    """Such as 40 bands of a sound at 101 moments."""
    assert kind(TrainOptions(), "sounds.npz", 40, 101, rank=3) == "none"
