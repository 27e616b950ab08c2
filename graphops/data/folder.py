"""A folder of class folders of images: ``flowers/rose/1.png``, ``flowers/tulip/1.png``, ...

Two of them under ``flowers/train`` and ``flowers/test`` are the two splits; one alone is divided, always
in the same way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphops.data.dataset import DataSet, Split, divide
from graphops.data.normalisation import by_name
from graphops.data.registry import reader
from passes.errors import UserError

_GREY = ("1", "L")
_COLOUR = ("RGB", "RGBA", "LA", "P", "PA", "CMYK", "YCbCr")


@reader(lambda path: path.is_dir())
def read(path: Path, size: tuple[int, int] | None = None) -> DataSet:
    """Read all images into memory, as uint8: one channel where every image is grey, else three.

    Args:
        path: the folder; classes are sorted by name, files that are not images are left aside.
        size: (height, width) to resize to; without it all images must have one size.

    Raises:
        UserError: when classes, images or sizes are missing or disagree, or an image cannot be read.
    """
    if (path / "train").is_dir() and (path / "test").is_dir():
        classes = _folders(path / "train")
        if _folders(path / "test") != classes:
            raise UserError(f"{path}: train/ and test/ have different class folders; give both the same.")
        files = [_files(path / "train", classes), _files(path / "test", classes)]
    else:
        classes = _folders(path)
        files = [_files(path, classes)]
    images = _read_images([file for part in files for file, _ in part], size)
    labels = np.array([label for part in files for _, label in part], np.int64)
    if len(files) == 2:
        cut = len(files[0])
        train, test = Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:])
    else:
        train, test = divide(images, labels)
    return DataSet(path.resolve().name, train, test, tuple(classes), by_name("unit"))


def _folders(path: Path) -> list[str]:
    classes = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        raise UserError(f"{path} has {len(classes)} class folders; give a folder with one folder of images a class.")
    return classes


def _files(path: Path, classes: list[str]) -> list[tuple[Path, int]]:
    from PIL import Image

    endings = Image.registered_extensions()
    found = []
    for label, name in enumerate(classes):
        visible = (file for file in (path / name).iterdir() if not file.name.startswith("."))
        files = sorted(file for file in visible if file.suffix.lower() in endings)
        if not files:
            raise UserError(f"{path / name} holds no images; put some there or take the folder away.")
        found += [(file, label) for file in files]
    return found


def _read_images(files: list[Path], size: tuple[int, int] | None) -> np.ndarray:
    """uint8 [N, C, H, W] of ``files``."""
    images = [_read_image(file, size) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            (h, w), (h0, w0) = image.shape[:2], images[0].shape[:2]
            raise UserError(
                f"{file} is {h}x{w} pixels and {files[0]} {h0}x{w0}; make all images one size, or read "
                "them with graphops.data.folder.read(path, size=(height, width))."
            )
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
        return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
    return np.stack(images)[:, None]


def _read_image(file: Path, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 [H, W] of a grey image, [H, W, 3] of a coloured one."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode not in _GREY + _COLOUR:
                raise UserError(f"{file} has pixels of type {image.mode!r}; save it with 8 bits a channel.")
            pixels = image.convert("L" if image.mode in _GREY else "RGB")
    except (OSError, SyntaxError, ValueError, NotImplementedError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be read as an image ({error}); mend or remove it.") from error
    if size is not None:
        pixels = pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(pixels)
