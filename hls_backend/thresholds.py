"""Thresholds of a map from integers to levels, found by evaluating the map itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Map = Callable[[np.ndarray], np.ndarray]
"""Integers [n, channels] in, levels int64 [n, channels] out, channel by channel."""

_AT_ONCE = 2**22
_MOST = 2**30


def search(levels: Map, channels: int, low: int, high: int, base: int, top: int) -> np.ndarray:
    """The least integer that reaches each level, for a map that does not fall.

    Args:
        levels: the map.
        channels: of the map.
        low, high: the integers that occur.
        base, top: thresholds are wanted for levels base + 1 to top.

    Returns:
        int64 [channels, top - base]: from ``low`` to ``high``, or ``high + 1`` where a level is never reached.
    """
    wanted = np.arange(base + 1, top + 1)[:, None]
    below = np.full((top - base, channels), low - 1, np.int64)  # everything up to here is below the level
    reached = np.full((top - base, channels), high + 1, np.int64)  # from here on the level is reached
    while (reached - below > 1).any():
        middle = (below + reached) // 2
        reaches = levels(np.clip(middle, low, high)) >= wanted
        open_ = reached - below > 1
        below = np.where(open_ & ~reaches, middle, below)
        reached = np.where(open_ & reaches, middle, reached)
    return np.ascontiguousarray(reached.T)


def try_direction(levels: Map, channels: int, low: int, high: int) -> np.ndarray | None:
    """1 where the map does not fall from ``low`` to ``high``, -1 where it does not rise, 2 where it does both.

    Every integer is tried; None where there are too many.
    """
    if (high - low + 1) * channels > _MOST:
        return None
    rises, falls = np.zeros(channels, bool), np.zeros(channels, bool)
    step = max(1, _AT_ONCE // channels)
    for first in range(low, high + 1, step):
        integers = np.arange(first, min(first + step, high) + 1)  # one more than the step, to see the seam
        change = np.diff(levels(np.broadcast_to(integers[:, None], (len(integers), channels))), axis=0)
        rises |= (change > 0).any(axis=0)
        falls |= (change < 0).any(axis=0)
    return np.where(rises & falls, 2, np.where(falls, -1, 1))


def is_identity(levels: Map, channels: int, low: int, high: int) -> bool:
    """Whether the map gives back every integer from ``low`` to ``high``."""
    ends = np.array([[low], [high]]) + np.zeros((1, channels), np.int64)
    if (levels(ends) != ends).any() or (high - low + 1) * channels > _AT_ONCE:
        return False
    integers = np.broadcast_to(np.arange(low, high + 1)[:, None], (high - low + 1, channels))
    return bool((levels(integers) == integers).all())
