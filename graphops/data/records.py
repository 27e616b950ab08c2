"""The record format of the official binary CIFAR archives.

A file is a run of records: label bytes, then 3072 pixel bytes: the red, green and blue planes of 32x32, row
by row. CIFAR-10 has one label byte, CIFAR-100 a coarse one before the fine one. Krizhevsky, "Learning
multiple layers of features from tiny images", 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphops.data.dataset import Split
from passes.errors import UserError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


def read(path: Path, count: int, label_bytes: int, classes: int) -> Split:
    """Read ``count`` records; the last label byte is the label.

    Raises:
        UserError: when the file is missing, has not exactly ``count`` records, or a label is not below
            ``classes``.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); unpack the official binary archive again."
        ) from error
    expected = count * (label_bytes + _PIXELS)
    if data.size != expected:
        raise UserError(
            f"{path} has {data.size} bytes instead of {expected}, so it is truncated or another file; "
            "unpack the official binary archive again."
        )
    records = data.reshape(count, label_bytes + _PIXELS)
    labels = records[:, label_bytes - 1].astype(np.int64)
    if labels.max() >= classes:
        raise UserError(
            f"{path} has label {labels.max()} in record {labels.argmax()}, beyond {classes - 1}; "
            "unpack the official binary archive again."
        )
    return Split(np.ascontiguousarray(records[:, label_bytes:]).reshape(count, *_SHAPE), labels)


def read_names(path: Path, classes: int) -> tuple[str, ...]:
    """The names of the classes, one a line.

    Raises:
        UserError: when the file is missing or has not ``classes`` names.
    """
    try:
        names = tuple(path.read_text("ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); unpack the official binary archive again.") from error
    if len(names) != classes:
        raise UserError(f"{path} names {len(names)} classes instead of {classes}; unpack the archive again.")
    return names
