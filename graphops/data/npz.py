"""A numpy .npz file of images and labels.

Arrays ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``x`` and ``y`` alone, which are divided with a
fixed seed. Images are [N, C, H, W], [N, H, W, C] or [N, H, W]; what is no image, [N, numbers] or [N, channels, time],
is for models whose input is the same. Labels are integers, [N] or [N, 1]. An array ``classes`` of strings may name the
classes.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from graphops.data.dataset import DataSet, Split, divide
from graphops.data.normalisation import by_name
from graphops.data.registry import reader
from passes.errors import UserError

_ROOM = 2**30
"""Bytes that any file may unpack to."""

_PACKED = 100
"""How many times its own size a file may unpack to; zeros alone pack a thousandfold."""

_SPLIT = ("x_train", "y_train", "x_test", "y_test")


@reader(lambda path: path.suffix == ".npz")
def read(path: Path) -> DataSet:
    """Read ``path``; 8-bit images get the normalisation "unit", floats "none".

    Raises:
        UserError: when the file is missing, damaged, holds pickled objects, or not the arrays above.
    """
    held = arrays(path)
    try:
        if all(name in held for name in _SPLIT):
            train = Split(_images(held["x_train"]), _labels(held["y_train"]))
            test = Split(_images(held["x_test"]), _labels(held["y_test"]))
        elif "x" in held and "y" in held:
            whole = Split(_images(held["x"]), _labels(held["y"]))
            train, test = divide(whole.images, whole.labels)
        else:
            raise UserError(f"it holds {', '.join(held) or 'nothing'}, not {', '.join(_SPLIT)}, nor x and y.")
    except UserError as error:
        raise UserError(f"{path}: {str(error)[0].lower()}{str(error)[1:]}") from error
    count = 1 + max(int(train.labels.max()), int(test.labels.max()))
    if "classes" not in held and count > len(train) + len(test):
        raise UserError(f"{path}: label {count - 1} is out of range for {len(train) + len(test)} images; count from 0.")
    classes = [str(name) for name in held.get("classes", np.arange(count)).reshape(-1)]
    normalisation = by_name("unit" if train.images.dtype == np.uint8 else "none")
    return DataSet(path.name, train, test, tuple(classes), normalisation)


def arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the .npz file at ``path`` by name.

    Raises:
        UserError: when it is no file, damaged, holds pickled objects, or unpacks to far more than its own size.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe might be waited for without end
            raise UserError(f"{path} is a folder, a pipe or a device; give the path of an .npz file.")
        _check_size(path)
        # Pickled arrays could run code: numpy refuses them.
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
        with loaded as file:
            held = {name: file[name] for name in file.files}
        for name, value in held.items():
            if not isinstance(value, np.ndarray):  # numpy hands out the bytes of other files in the archive
                raise ValueError(f"{name!r} in it is no array")
        return held
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}; give the path of an .npz file.") from error
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read as numpy arrays ({error}); write it again with numpy.savez.") from error


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        unpacked = sum(member.file_size for member in file.infolist())
    if unpacked > max(_ROOM, _PACKED * path.stat().st_size):
        raise ValueError(f"it unpacks to {unpacked / 2**30:.0f} GB")


def _images(array: np.ndarray) -> np.ndarray:
    """[N, C, H, W], uint8 or float32. Of two possible channel axes the first is taken."""
    if array.ndim in (2, 3):
        array = np.expand_dims(array, tuple(range(1, 5 - array.ndim)))
    if array.ndim != 4:
        raise UserError(f"Images have shape {list(array.shape)}; give [N, C, H, W] or [N, H, W, C].")
    if array.shape[1] > 4 and array.shape[3] <= 4:
        array = array.transpose(0, 3, 1, 2)
    if np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(array).all():
            raise UserError("Images hold values that are no numbers in float32; replace NaN, infinity and the like.")
        return array
    if np.issubdtype(array.dtype, np.integer) and not ((array < 0) | (array > 255)).any():
        return np.ascontiguousarray(array, np.uint8)
    raise UserError(f"Images are {array.dtype}; give integers from 0 to 255, or floats.")


def _labels(array: np.ndarray) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"Labels are {array.dtype}; give one integer an image.")
    if array.size and array.min() < 0:
        raise UserError(f"Labels go down to {array.min()}; count classes from 0.")
    return array.reshape(len(array)).astype(np.int64) if array.shape[1:] == (1,) else array.astype(np.int64)
