"""SVHN: 73,257 + 26,032 house numbers photographed from the street, 32x32, of ten digits (Netzer et al. 2011).

The cropped digits come as two MATLAB files of version 5, each with X [32, 32, 3, N] and y [N, 1], where 10 means 0.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from graphops.data.dataset import DataSet, Split
from graphops.data.download import File, find_file
from graphops.data.normalisation import by_name
from graphops.data.registry import named
from passes.errors import UserError

_SITE = "http://ufldl.stanford.edu/housenumbers"
TRAIN = File(
    "svhn", f"{_SITE}/train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8", "svhn"
)
TEST = File(
    "svhn", f"{_SITE}/test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b", "svhn"
)


@named("svhn")
def load(data_dir: Path | None = None) -> DataSet:
    """Images uint8 [N, 3, 32, 32], labelled 0 to 9."""
    train, test = (read(find_file(file, data_dir)) for file in (TRAIN, TEST))
    return DataSet("svhn", train, test, tuple("0123456789"), by_name("svhn"))


def read(path: Path) -> Split:
    """The images and labels in one of the two files.

    Raises:
        UserError: when it is no such file.
    """
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        shapes = {name: tuple(shape) for name, shape, _ in whosmat(str(path))}
        count = shapes.get("X", (0,))[-1]
        if not count or shapes.get("X") != (32, 32, 3, count) or shapes.get("y") != (count, 1):
            raise ValueError(f"it holds {shapes}, not X [32, 32, 3, N] and y [N, 1]")
        found = loadmat(str(path), variable_names=("X", "y"))
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError, MatReadError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as a file of SVHN ({reason}); download it again.") from error
    images, labels = found["X"], found["y"][:, 0].astype(np.int64)
    if images.dtype != np.uint8 or labels.min() < 1 or labels.max() > 10:
        raise UserError(f"{path} holds other pixels than bytes, or labels outside 1 to 10; download it again.")
    return Split(np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels % 10)
