"""The batch of each step, from (seed, step) alone: a resumed run needs no random generator's state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphops.data import Split
from graphops.training.augment import augment

_ORDER, _AUGMENTATION = 0, 1  # what a generator is for


class Batch(NamedTuple):
    """Images and what belongs to them.

    Attributes:
        images: [N, C, H, W] as stored, augmented.
        labels: int64 [N].
        numbers: int64 [N], where the images lie in the training set.
    """

    images: NDArray
    labels: NDArray
    numbers: NDArray


class Batches:
    """Shuffled, augmented batches of ``size`` images; what does not fill one at an epoch's end is left out.

    Args:
        split: the training images.
        size: images a batch, at most all of them.
        seed: of the order and of the augmentation.
        augmentation: ``none``, ``crop`` or ``crop-flip``.
        padding: pixels around an image before it is cropped.

    Attributes:
        size: images a batch.
        epoch_steps: batches an epoch.
    """

    def __init__(self, split: Split, size: int, seed: int, augmentation: str, padding: int) -> None:
        self.size = min(size, len(split))
        self.epoch_steps = len(split) // self.size
        self._split, self._seed = split, seed
        self._augmentation, self._padding = augmentation, padding
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def take(self, step: int) -> Batch:
        """The batch of step ``step``, from 0."""
        epoch, position = divmod(step, self.epoch_steps)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self._split))
            self._epoch = epoch
        chosen = self._order[position * self.size : (position + 1) * self.size]
        generator = np.random.default_rng([self._seed, _AUGMENTATION, epoch, position])
        images = augment(self._split.images[chosen], self._augmentation, self._padding, generator)
        return Batch(images, self._split.labels[chosen], chosen)
