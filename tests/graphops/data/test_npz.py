"""Images and labels from numpy's .npz files, and files that are not what they should be."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphops.data import DataSet, load
from graphops.data.npz import arrays
from passes.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 3, 6, 5), np.uint8)
LABELS = np.arange(12) % 3


def loaded(tmp_path: Path, **arrays: Any) -> DataSet:
    np.savez(tmp_path / "toy.npz", **arrays)
    return load(str(tmp_path / "toy.npz"))


def refused(tmp_path: Path, **arrays: Any) -> str:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, **arrays)
    assert str(caught.value).startswith(f"{tmp_path / 'toy.npz'}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_splits(tmp_path: Path) -> None:
    data = loaded(tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:4], y_test=LABELS[:4])
    assert np.array_equal(data.train.images, IMAGES)
    assert np.array_equal(data.train.labels, LABELS)
    assert np.array_equal(data.test.images, IMAGES[:4])
    assert data.classes == ("0", "1", "2")
    assert data.normalisation.name == "unit"


def test_images_alone_are_divided(tmp_path: Path) -> None:
    data = loaded(tmp_path, x=IMAGES, y=LABELS)
    assert (len(data.train), len(data.test)) == (9, 3)
    assert sorted(data.test.labels) == [0, 1, 2]


def test_channels_may_come_last_or_not_at_all(tmp_path: Path) -> None:
    last = loaded(tmp_path, x_train=IMAGES.transpose(0, 2, 3, 1), y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    assert np.array_equal(last.train.images, last.test.images)
    grey = loaded(tmp_path, x_train=IMAGES[:, 0], y_train=LABELS, x_test=IMAGES[:, :1], y_test=LABELS)
    assert np.array_equal(grey.train.images, grey.test.images)


def test_vectors_and_signals_are_taken_as_well(tmp_path: Path) -> None:
    assert loaded(tmp_path, x=IMAGES.reshape(12, 90), y=LABELS).image_shape == (1, 1, 90)
    assert loaded(tmp_path, x=IMAGES.reshape(12, 3, 30), y=LABELS).image_shape == (1, 3, 30)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(tmp_path: Path, kind: type) -> None:
    images = RNG.standard_normal((12, 1, 4, 4)).astype(kind)
    data = loaded(tmp_path, x_train=images, y_train=LABELS, x_test=images, y_test=LABELS)
    assert data.train.images.dtype == np.float32
    assert np.array_equal(data.normalisation(data.train.images), images.astype(np.float32))


def test_wide_integers_that_fit_a_byte_become_bytes(tmp_path: Path) -> None:
    data = loaded(tmp_path, x=IMAGES.astype(np.int64), y=LABELS.astype(np.uint8)[:, None])
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64


def test_the_file_may_name_its_classes(tmp_path: Path) -> None:
    assert loaded(tmp_path, x=IMAGES, y=LABELS, classes=["cat", "dog", "eel"]).classes == ("cat", "dog", "eel")
    assert "has label 2, but labels go from 0 to 1" in refused_as_data(tmp_path, classes=["cat", "dog"])
    assert "labels go from 0 to 0" in refused_as_data(tmp_path, classes="cat")


def refused_as_data(tmp_path: Path, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, x=IMAGES, y=LABELS, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x": IMAGES}, "it holds x, not x_train"),
        ({}, "it holds nothing"),
        ({"x": IMAGES.astype(np.int64) * 2, "y": LABELS}, "images are int64; give integers from 0 to 255"),
        ({"x": IMAGES.astype(bool), "y": LABELS}, "images are bool"),
        ({"x": IMAGES.reshape(-1), "y": LABELS}, r"images have shape \[1080\]"),
        ({"x": np.full((12, 1, 2, 2), np.nan), "y": LABELS}, "no numbers"),
        ({"x": np.full((12, 1, 2, 2), 1e300), "y": LABELS}, "no numbers in float32"),
        ({"x": IMAGES, "y": LABELS.astype(float)}, "labels are float64"),
        ({"x": IMAGES, "y": LABELS - 1}, "labels go down to -1"),
        ({"x": IMAGES, "y": LABELS[:5]}, r"12 images but labels \[5\]"),
        ({"x": IMAGES, "y": LABELS * 10**9}, "label 2000000000 is out of range for 12 images"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "a split without images is of no use"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], why: str) -> None:
    assert re.search(why, refused(tmp_path, **arrays))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    np.savez(tmp_path / "toy.npz", x=np.array([Bomb()], object), y=LABELS)
    with pytest.raises(UserError, match=r"toy.npz cannot be read as numpy arrays"):
        load(str(tmp_path / "toy.npz"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    np.savez(tmp_path / "toy.npz", x=IMAGES, y=LABELS)
    content = (tmp_path / "toy.npz").read_bytes()
    (tmp_path / "toy.npz").write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(UserError, match="cannot be read as numpy arrays"):
        load(str(tmp_path / "toy.npz"))


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", x=IMAGES, y=LABELS)
    content = bytearray((tmp_path / "toy.npz").read_bytes())
    content[300] ^= 1
    (tmp_path / "toy.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as numpy arrays"):
        load(str(tmp_path / "toy.npz"))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "toy.npz", "w") as file:
        file.writestr("x", "text")
    with pytest.raises(UserError, match=r"cannot be read as numpy arrays \('x' in it is no array"):
        load(str(tmp_path / "toy.npz"))


def test_a_missing_file_and_a_single_array_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        load(str(tmp_path / "none.npz"))
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(UserError, match="cannot be read as numpy arrays"):
        load(str(tmp_path / "one.npz"))


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/dev/null")], ids=["folder", "device"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A pipe that nobody writes to would be waited for without end."""
    make(tmp_path / "toy.npz")
    with pytest.raises(UserError, match=r"toy\.npz is a folder, a pipe or a device; give the path of an \.npz file"):
        arrays(tmp_path / "toy.npz")
