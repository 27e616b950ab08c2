"""CIFAR-10 and CIFAR-100: from files of the published sizes made here, and from the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphops.data import DataSet, load
from passes.errors import UserError


def blank(path: Path, records: int, size: int, first: bytes) -> None:
    """A sparse file of ``records`` black images of class 0, but for its first bytes."""
    with path.open("wb") as file:
        file.write(first)
        file.truncate(records * size)


@pytest.fixture
def blank10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        blank(folder / f"data_batch_{number}.bin", 10_000, 3073, bytes([number, 10 * number]))
    blank(folder / "test_batch.bin", 10_000, 3073, b"\x09\xff")
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    return tmp_path


def test_cifar10_is_five_batches_and_one(blank10: Path) -> None:
    data = load("cifar10", blank10)
    assert (len(data.train), len(data.test)) == (50_000, 10_000)
    assert data.train.labels[::10_000].tolist() == [1, 2, 3, 4, 5]
    assert data.train.images[::10_000, 0, 0, 0].tolist() == [10, 20, 30, 40, 50]
    assert (data.test.labels[0], data.test.images[0, 0, 0, 0]) == (9, 255)
    assert data.classes == tuple("abcdefghij")
    assert data.normalisation.name == "imagenet"


def test_a_missing_batch_is_refused(blank10: Path) -> None:
    (blank10 / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_4.bin cannot be read"):
        load("cifar10", blank10)


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    blank(folder / "train.bin", 50_000, 3074, b"\x13\x0b\x07")
    blank(folder / "test.bin", 10_000, 3074, b"\x0a\x31\xff")
    (folder / "fine_label_names.txt").write_text("\n".join(f"class{i}" for i in range(100)))
    data = load("cifar100", tmp_path)
    assert (len(data.train), len(data.test), len(data.classes)) == (50_000, 10_000, 100)
    assert (data.train.labels[0], data.train.images[0, 0, 0, 0]) == (11, 7)
    assert (data.test.labels[0], data.test.images[0, 0, 0, 0]) == (49, 255)
    assert data.normalisation.name == "imagenet"


def test_the_published_cifar10(cifar10: DataSet) -> None:
    assert np.bincount(cifar10.train.labels).tolist() == [5000] * 10
    assert np.bincount(cifar10.test.labels).tolist() == [1000] * 10
    assert cifar10.classes[:3] == ("airplane", "automobile", "bird")


def test_the_published_cifar100(cifar100: DataSet) -> None:
    assert np.bincount(cifar100.train.labels).tolist() == [500] * 100
    assert np.bincount(cifar100.test.labels).tolist() == [100] * 100
    assert cifar100.classes[:3] == ("apple", "aquarium_fish", "baby")
