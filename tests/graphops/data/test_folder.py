"""Class folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphops.data import folder, load
from passes.errors import UserError


def paint(path: Path, value: int | tuple[int, ...], size: tuple[int, int] = (5, 4), mode: str = "RGB") -> None:
    """An image of one colour, ``size`` wide and high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    for i in range(4):
        paint(tmp_path / "flowers" / "tulip" / f"{i}.png", (200 + i, 0, 7))
        paint(tmp_path / "flowers" / "rose" / f"{i}.PNG", (100 + i, 0, 9))
    return tmp_path / "flowers"


def test_classes_are_folders_in_order(flowers: Path) -> None:
    data = load(str(flowers))
    assert data.name == "flowers"
    assert data.classes == ("rose", "tulip")
    assert data.image_shape == (3, 4, 5)
    assert (len(data.train), len(data.test)) == (6, 2)
    for split in (data.train, data.test):
        assert np.array_equal(split.images[:, 0, 0, 0] // 100 - 1, split.labels)
    assert data.normalisation.name == "unit"


def test_train_and_test_folders_are_the_splits(flowers: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    flowers.rename(tmp_path / "all" / "train")
    paint(tmp_path / "all" / "test" / "rose" / "x.png", (1, 2, 3))
    paint(tmp_path / "all" / "test" / "tulip" / "x.png", (4, 5, 6))
    data = load(str(tmp_path / "all"))
    assert (len(data.train), len(data.test)) == (8, 2)
    assert data.test.images[:, :, 0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert data.test.labels.tolist() == [0, 1]


def test_splits_with_different_classes_are_refused(flowers: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    flowers.rename(tmp_path / "all" / "train")
    paint(tmp_path / "all" / "test" / "rose" / "x.png", 1)
    paint(tmp_path / "all" / "test" / "oak" / "x.png", 1)
    with pytest.raises(UserError, match="train/ and test/ have different class folders"):
        load(str(tmp_path / "all"))


def test_grey_images_have_one_channel_unless_others_have_colour(tmp_path: Path) -> None:
    for i in range(4):
        paint(tmp_path / "a" / f"{i}.png", 10, mode="L")
        paint(tmp_path / "b" / f"{i}.png", 20, mode="L")
    assert load(str(tmp_path)).image_shape == (1, 4, 5)
    paint(tmp_path / "b" / "0.png", (20, 21, 22))
    data = load(str(tmp_path))
    assert data.image_shape == (3, 4, 5)
    colours = {tuple(image[:, 0, 0].tolist()) for split in (data.train, data.test) for image in split.images}
    assert colours == {(10, 10, 10), (20, 20, 20), (20, 21, 22)}


def test_other_files_are_left_aside(flowers: Path) -> None:
    (flowers / "rose" / "notes.txt").write_text("")
    (flowers / "rose" / "._0.PNG").write_bytes(b"what macOS writes beside 0.PNG")
    (flowers / "readme.md").write_text("")
    (flowers / ".cache").mkdir()
    assert load(str(flowers)).classes == ("rose", "tulip")


def test_images_of_several_sizes_are_refused_unless_resized(flowers: Path) -> None:
    paint(flowers / "tulip" / "2.png", 0, size=(9, 8))
    with pytest.raises(UserError, match=r"2.png is 8x9 pixels and .*0.PNG 4x5; make all images one size"):
        load(str(flowers))
    assert folder.read(flowers, size=(6, 7)).image_shape == (3, 6, 7)


def test_what_is_no_image_is_refused(flowers: Path) -> None:
    content = (flowers / "rose" / "1.PNG").read_bytes()
    for wrong in (b"", b"text", content[: len(content) // 2]):
        (flowers / "rose" / "1.PNG").write_bytes(wrong)
        with pytest.raises(UserError, match=r"1.PNG cannot be read as an image"):
            load(str(flowers))


def test_deep_pixels_are_refused(flowers: Path) -> None:
    paint(flowers / "rose" / "1.PNG", 70, mode="I;16")
    with pytest.raises(UserError, match="pixels of type 'I;16'; save it with 8 bits a channel"):
        load(str(flowers))


def test_a_folder_without_classes_and_a_class_without_images_are_refused(flowers: Path) -> None:
    with pytest.raises(UserError, match="rose has 0 class folders"):
        load(str(flowers / "rose"))
    (flowers / "oak").mkdir()
    with pytest.raises(UserError, match="oak holds no images"):
        load(str(flowers))
