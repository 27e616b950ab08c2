"""The record format of the binary CIFAR archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphops.data.records import read, read_names
from passes.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3072), np.uint8)


def write(path: Path, *labels: list[int]) -> Path:
    np.concatenate([np.array(labels, np.uint8).T, PIXELS], axis=1).tofile(path)
    return path


def test_a_label_then_planes_of_red_green_and_blue(tmp_path: Path) -> None:
    split = read(write(tmp_path / "a.bin", [3, 1, 0, 9]), 4, 1, 10)
    assert split.labels.tolist() == [3, 1, 0, 9]
    assert split.labels.dtype == np.int64
    assert split.images.shape == (4, 3, 32, 32)
    # The sixth pixel of the third row of the green plane.
    assert split.images[2, 1, 2, 5] == PIXELS[2, 1024 + 2 * 32 + 5]


def test_of_two_labels_the_last_is_meant(tmp_path: Path) -> None:
    split = read(write(tmp_path / "a.bin", [250, 1, 1, 1], [99, 0, 5, 6]), 4, 2, 100)
    assert split.labels.tolist() == [99, 0, 5, 6]


@pytest.mark.parametrize("cut", [1, 3073])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "a.bin", [0, 0, 0, 0])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=f"a.bin has {4 * 3073 - cut} bytes instead of {4 * 3073}, so it is truncated"):
        read(path, 4, 1, 10)


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.bin has label 10 in record 2"):
        read(write(tmp_path / "a.bin", [0, 9, 10, 0]), 4, 1, 10)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.bin cannot be read \(No such file or directory\)"):
        read(tmp_path / "a.bin", 4, 1, 10)


def test_the_classes_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n\n")
    assert read_names(tmp_path / "names.txt", 2) == ("cat", "dog")
    with pytest.raises(UserError, match="names 2 classes instead of 3"):
        read_names(tmp_path / "names.txt", 3)
    with pytest.raises(UserError, match="cannot be read"):
        read_names(tmp_path / "other.txt", 2)
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        read_names(tmp_path / "names.txt", 2)
