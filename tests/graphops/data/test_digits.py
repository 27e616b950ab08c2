"""The digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from graphops.data import DataSet, load


def test_the_digits_are_small_grey_images(digits: DataSet) -> None:
    assert digits.train.images.shape == (1347, 1, 8, 8)
    assert digits.test.images.shape == (450, 1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.train.images.dtype == np.uint8
    assert digits.normalisation(digits.train.images).max() == 1


def test_every_digit_is_in_both_splits_in_the_same_share(digits: DataSet) -> None:
    share = np.bincount(digits.test.labels) / (np.bincount(digits.test.labels) + np.bincount(digits.train.labels))
    assert np.abs(share - 0.25).max() < 0.01


def test_the_split_is_fixed(digits: DataSet) -> None:
    again = load("digits")
    assert np.array_equal(digits.train.images, again.train.images)
    assert np.array_equal(digits.test.labels, again.test.labels)
