"""Random crop and horizontal flip, for whole batches, with randomness from (seed, epoch, step) alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphops.training.options import TrainOptions

SMALLEST = 16  # pixels: below this a shift by four pixels moves the object out of the image
DIRECTED = frozenset({"digits", "mnist", "svhn"})  # a mirrored digit is another sign, or none


def kind(options: TrainOptions, dataset: str, height: int, width: int, rank: int = 4) -> str:
    """``none``, ``crop`` or ``crop-flip``: what the options say, where "auto" goes by image size and data set.

    What a model takes in a tensor of ``rank`` 3, [N, channels, time], is a series: mirrored, it is another one.
    """
    if options.augment != "auto":
        return options.augment
    if min(height, width) < SMALLEST or rank == 3:
        return "none"
    return "crop" if Path(dataset).stem.lower() in DIRECTED else "crop-flip"


def augment(images: NDArray, kind: str, padding: int, generator: np.random.Generator) -> NDArray:
    """A new batch [N, C, H, W] of the same type: each image padded with zeros, cropped at random, maybe mirrored."""
    if kind == "none":
        return images
    count, channels, height, width = images.shape
    padded = np.zeros((count, channels, height + 2 * padding, width + 2 * padding), images.dtype)
    padded[:, :, padding : padding + height, padding : padding + width] = images
    top = generator.integers(0, 2 * padding + 1, count)
    left = generator.integers(0, 2 * padding + 1, count)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (2, 3))
    cropped = windows[np.arange(count), :, top, left]
    if kind == "crop-flip":
        mirrored = generator.random(count) < 0.5
        cropped[mirrored] = cropped[mirrored][..., ::-1]
    return cropped
