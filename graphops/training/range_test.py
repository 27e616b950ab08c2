"""A learning rate found without a person, by a short range test (after Smith 2017, "Cyclical Learning Rates").

The learning rate grows from step to step by a constant factor until the loss clearly rises, or to the largest. What
was there before the test is put back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

STEPS = 60
SMALLEST, LARGEST = 1e-4, 10.0
_SMOOTH = 0.8  # share of the old mean in the moving mean of the loss
_SETTLED = 8  # steps after which the mean is trusted
_BELOW = {"sgd": 8.0, "adamw": 32.0}  # how far below the rate at which the loss rose training peaks


def rates() -> list[float]:
    """The learning rate of each step of the test."""
    return [SMALLEST * (LARGEST / SMALLEST) ** (k / (STEPS - 1)) for k in range(STEPS)]


def find_rate(step: Callable[[int, float], float], chance: float, optimizer: str) -> tuple[float, int]:
    """The learning rate to train with, and how many steps the test took.

    Args:
        step: trains step number k (from 0) with a learning rate; gives the loss before it.
        chance: the loss of guessing, the logarithm of the number of classes: a rise smaller than a tenth of it is none.
        optimizer: ``sgd`` or ``adamw``.
    """
    mean = 0.0
    lowest = math.inf
    for k, rate in enumerate(rates()):
        loss = step(k, rate)
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        level = mean / (1 - _SMOOTH ** (k + 1))
        if not math.isfinite(level):
            return rate / _BELOW[optimizer], k + 1
        if k >= _SETTLED:
            if level > lowest + max(0.25 * lowest, 0.1 * chance):
                return rate / _BELOW[optimizer], k + 1
            lowest = min(lowest, level)
    return LARGEST / _BELOW[optimizer], STEPS
