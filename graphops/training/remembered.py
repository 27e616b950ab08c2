"""A teacher's values for every training image, computed once: without augmentation they are the same in each epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

ROOM = 2**28
"""Bytes that may be remembered."""

Values = dict[str, NDArray[np.float32]]


class Remembered:
    """Answers for images by their numbers.

    Images are answered for in blocks of their stored order, whichever are asked for: so a value does not depend on
    the batch in which it was first needed, and a resumed run sees the same bits.

    Args:
        answer: the teacher: images [N, C, H, W] to its values by name.
        images: all training images.
        block: images that are answered for at once.
    """

    def __init__(self, answer: Callable[[NDArray], Values], images: NDArray, block: int) -> None:
        self._answer, self._images, self._block = answer, images, block
        self._known = np.zeros(-(-len(images) // block), bool)
        self._values: Values = {}

    def __call__(self, numbers: NDArray[np.int64]) -> Values:
        for block in np.unique(numbers // self._block):
            if not self._known[block]:
                self._fill(int(block))
        return {name: values[numbers] for name, values in self._values.items()}

    def _fill(self, block: int) -> None:
        rows = slice(block * self._block, (block + 1) * self._block)
        for name, values in self._answer(self._images[rows]).items():
            if name not in self._values:
                self._values[name] = np.empty((len(self._images), *values.shape[1:]), np.float32)
            self._values[name][rows] = values
        self._known[block] = True


def fits(answer: Callable[[NDArray], Values], images: NDArray) -> bool:
    """Whether the values for all images fit into `ROOM`."""
    one = sum(values.nbytes for values in answer(images[:1]).values())
    return one * len(images) <= ROOM
