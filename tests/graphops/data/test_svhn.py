"""SVHN, from small files of its format made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from graphops.data import load, svhn
from passes.errors import UserError

RNG = np.random.default_rng(0)


def write(path: Path, labels: list[int], **other: Any) -> np.ndarray:
    """A file as published: X [32, 32, 3, N] and y [N, 1]; returns X."""
    path.parent.mkdir(exist_ok=True)
    images = RNG.integers(0, 256, (32, 32, 3, len(labels))).astype(np.uint8)
    savemat(path, {"X": images, "y": np.array(labels, np.uint8)[:, None], **other}, do_compression=True)
    return images


@pytest.mark.parametrize("folder", ["", "svhn"])
def test_ten_is_zero_and_images_are_channels_first(tmp_path: Path, folder: str) -> None:
    images = write(tmp_path / folder / "train_32x32.mat", [1, 10, 9])
    write(tmp_path / folder / "test_32x32.mat", [10, 2])
    data = load("svhn", tmp_path)
    assert data.train.labels.tolist() == [1, 0, 9]
    assert data.test.labels.tolist() == [0, 2]
    assert data.image_shape == (3, 32, 32)
    assert data.train.images.dtype == np.uint8
    assert data.train.images[1, 2, 5, 7] == images[5, 7, 2, 1]
    assert data.classes == tuple("0123456789")
    assert data.normalisation.name == "svhn"


@pytest.mark.parametrize(
    ("labels", "other", "sentence"),
    [
        ([1, 11], {}, "labels outside 1 to 10"),
        ([1, 0], {}, "labels outside 1 to 10"),
        ([1, 2], {"y": np.ones((3, 1), np.uint8)}, "cannot be read as a file of SVHN"),
        ([], {}, "cannot be read as a file of SVHN"),
        ([1, 2], {"X": np.ones((8, 8, 3, 2), np.uint8)}, "cannot be read as a file of SVHN"),
        ([1, 2], {"X": np.ones((32, 32, 3, 2), np.float32)}, "other pixels than bytes"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, labels: list[int], other: dict[str, Any], sentence: str) -> None:
    write(tmp_path / "train_32x32.mat", labels, **other)
    with pytest.raises(UserError, match=sentence):
        svhn.read(tmp_path / "train_32x32.mat")


@pytest.mark.parametrize("content", [b"", bytes(5), b"MATLAB 5.0 MAT-file" + bytes(300), b"\x89HDF\r\n" + bytes(600)])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train_32x32.mat").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a file of SVHN"):
        svhn.read(tmp_path / "train_32x32.mat")


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train_32x32.mat", [1, 2, 3])
    whole = (tmp_path / "train_32x32.mat").read_bytes()
    (tmp_path / "train_32x32.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read as a file of SVHN"):
        svhn.read(tmp_path / "train_32x32.mat")
