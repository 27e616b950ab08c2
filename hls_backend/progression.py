"""Many thresholds as two integers a channel.

Where a scale, a shift and ReLU lie between an accumulator and its quantiser, thresholds are an arithmetic progression,
rounded up. Two integers a channel then stand for up to 255 thresholds: a search by halving adds and compares where it
would otherwise read a memory, which is non-restoring division.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MOST_SHIFT = 24
_FREE = 2**62


@dataclass(frozen=True, eq=False)
class Progression:
    """Threshold j of a channel is ``ceil((start + j * step) / 2**shift)``, kept within ``low`` and ``high + 1``.

    Attributes:
        start, step: int64 [channels]; steps are not negative.
        shift: bits.
        low, high: the integers that occur; below and above no comparison ever differs.
    """

    start: np.ndarray
    step: np.ndarray
    shift: int
    low: int
    high: int

    def thresholds(self, steps: int) -> np.ndarray:
        """int64 [channels, steps]."""
        exact = self.start[:, None] + np.arange(steps) * self.step[:, None]
        return np.clip(-(-exact >> self.shift), self.low, self.high + 1)


def fit(thresholds: np.ndarray, low: int, high: int) -> Progression | None:
    """The progression, of the least shift, that is exactly ``thresholds``; None where there is none.

    Args:
        thresholds: int64 [channels, steps], rising; ``low`` stands for always, ``high + 1`` for never.
        low, high: the integers that occur.

    Each threshold t says that ``2**shift * (t - 1) < start + j * step <= 2**shift * t``, the least and the greatest
    one only half of it. Two of them bound the step; a step within all bounds bounds the start.
    """
    channels, steps = thresholds.shape
    above = np.where(thresholds == low, -np.inf, thresholds - 1)  # exact values are above this
    upto = np.where(thresholds == high + 1, np.inf, thresholds)  # and at most this
    least, most = np.zeros(channels), np.full(channels, np.inf)
    for apart in range(1, steps):
        least = np.maximum(least, ((above[:, apart:] - upto[:, :-apart]) / apart).max(axis=1))
        most = np.minimum(most, ((upto[:, apart:] - above[:, :-apart]) / apart).min(axis=1))
    if (least >= most).any():
        return None
    middle = np.where(np.isinf(most), least + 1, (least + most) / 2)
    places = np.arange(steps)
    for shift in range(_MOST_SHIFT + 1):
        unit = 2**shift
        step = np.round(middle * unit).astype(np.int64)
        floor = np.where(thresholds == low, -_FREE, (thresholds - 1) * unit + 1 - places * step[:, None])
        ceiling = np.where(thresholds == high + 1, _FREE, thresholds * unit - places * step[:, None])
        start, last = floor.max(axis=1), ceiling.min(axis=1)
        start = np.where(start == -_FREE, last, start)
        if (start <= last).all():
            return Progression(start, step, shift, low, high)
    return None
