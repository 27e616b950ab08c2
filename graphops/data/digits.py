"""The 1,797 handwritten digits, 8x8, that come with scikit-learn: 1,347 to train on, 450 to test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphops.data.dataset import DataSet, divide
from graphops.data.normalisation import by_name
from graphops.data.registry import named


@named("digits")
def load(data_dir: Path | None = None) -> DataSet:
    """Images uint8 [N, 1, 8, 8] with values 0 to 16; the split is fixed and stratified."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[:, None].astype(np.uint8)
    train, test = divide(images, digits.target.astype(np.int64))
    return DataSet("digits", train, test, tuple("0123456789"), by_name("digits"))
