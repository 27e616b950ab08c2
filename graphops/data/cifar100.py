"""CIFAR-100: 50,000 + 10,000 colour photographs, 32x32, of 100 classes, from the official binary archive."""

from __future__ import annotations

from pathlib import Path

from graphops.data.dataset import DataSet
from graphops.data.download import Archive, find
from graphops.data.normalisation import by_name
from graphops.data.records import read, read_names
from graphops.data.registry import named

ARCHIVE = Archive(
    "cifar100",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    "cifar-100-binary",
)


@named("cifar100")
def load(data_dir: Path | None = None) -> DataSet:
    """Images uint8 [N, 3, 32, 32], labelled by the 100 fine classes; normalised as CIFAR-10 is."""
    folder = find(ARCHIVE, data_dir)
    train = read(folder / "train.bin", 50_000, 2, 100)
    test = read(folder / "test.bin", 10_000, 2, 100)
    return DataSet("cifar100", train, test, read_names(folder / "fine_label_names.txt", 100), by_name("imagenet"))
