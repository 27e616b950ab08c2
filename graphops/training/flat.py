"""Many named tensors in one flat float32 buffer, so that an optimizer step is a handful of numpy calls."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ALIGN = 16  # values, i.e. 64 bytes: each tensor starts on a cache line of its own


class Layout:
    """Where each tensor lies. The padding between tensors is zero and stays zero under the optimizers."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self._offsets: dict[str, int] = {}
        self.size = 0
        for name, shape in self.shapes.items():
            self._offsets[name] = self.size
            self.size += -(-math.prod(shape) // ALIGN) * ALIGN

    def view(self, buffer: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """The tensor ``name`` inside ``buffer``: writing to it writes to the buffer."""
        start, shape = self._offsets[name], self.shapes[name]
        return buffer[start : start + math.prod(shape)].reshape(shape)

    def pack(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """A new buffer with every tensor of the layout."""
        buffer = np.zeros(self.size, np.float32)
        for name in self.shapes:
            self.view(buffer, name)[...] = values[name]
        return buffer

    def unpack(self, buffer: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Copies of all tensors by name."""
        return {name: self.view(buffer, name).copy() for name in self.shapes}
