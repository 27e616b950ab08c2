"""CIFAR-10: 50,000 + 10,000 colour photographs, 32x32, of ten classes, from the official binary archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphops.data.dataset import DataSet, Split
from graphops.data.download import Archive, find
from graphops.data.normalisation import by_name
from graphops.data.records import read, read_names
from graphops.data.registry import named

ARCHIVE = Archive(
    "cifar10",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-10-batches-bin",
)


@named("cifar10")
def load(data_dir: Path | None = None) -> DataSet:
    """Images uint8 [N, 3, 32, 32]. ImageNet's normalisation, since the published CIFAR ResNets use it."""
    folder = find(ARCHIVE, data_dir)
    batches = [read(folder / f"data_batch_{i}.bin", 10_000, 1, 10) for i in range(1, 6)]
    train = Split(np.concatenate([b.images for b in batches]), np.concatenate([b.labels for b in batches]))
    test = read(folder / "test_batch.bin", 10_000, 1, 10)
    return DataSet("cifar10", train, test, read_names(folder / "batches.meta.txt", 10), by_name("imagenet"))
