"""Where a training stands between two steps, besides its flat buffers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

DIVERGED = 20.0
"""A loss this many times the first one, or chance level if that is higher, is divergence."""

COLLAPSED = 100
"""So many steps in a row in which every image got the same logits are a collapse: no gradient undoes it."""

SAME = 1e-4
"""Logits whose spread over the images is at most this part of the largest one are the same."""


@dataclass
class State:
    """What a checkpoint holds besides the flat buffers."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0  # over the steps of this epoch
    right: int = 0  # images of this epoch that were classified correctly
    counted: int = 0  # steps of this epoch
    level: float = math.nan  # moving mean of the loss
    first_loss: float = math.nan
    blind: int = 0  # steps in a row, up to this one, in which every image got the same logits
    test_accuracy: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    lr: float | None = None  # found by a range test
    added: int = 0  # epochs that were added to clear the bar

    def add(self, loss: float, right: int) -> None:
        """A step is done."""
        self.step += 1
        self.loss_sum += loss
        self.right += right
        self.counted += 1

    def begin_epoch(self) -> None:
        """Count from 0."""
        self.loss_sum, self.right, self.counted = 0.0, 0, 0

    @property
    def loss(self) -> float:
        """The mean over this epoch so far; where it has no step yet, that of the last."""
        if self.counted:
            return self.loss_sum / self.counted
        return self.history[-1].get("loss", math.nan) if self.history else math.nan

    def accuracy(self, batch: int) -> float:
        """As `loss`, of training images in batches of ``batch``, from 0 to 1."""
        if self.counted:
            return self.right / (self.counted * batch)
        return self.history[-1].get("accuracy", math.nan) if self.history else math.nan

    def follows(self, loss: float, chance: float) -> bool:
        """Take a step's loss into the moving mean; whether that has not diverged.

        Args:
            loss: of the step.
            chance: the loss of guessing.
        """
        if math.isnan(self.first_loss):
            self.first_loss = self.level = loss
        self.level = 0.9 * self.level + 0.1 * loss
        return math.isfinite(loss) and self.level <= DIVERGED * max(self.first_loss, chance)

    def sees(self, logits: NDArray) -> bool:
        """Take a step's logits into account; whether the network still tells images apart.

        Args:
            logits: of the step's images (rows); a single one tells nothing.
        """
        if len(logits) > 1:
            same = (logits.max(0) - logits.min(0)).max() <= SAME * abs(logits).max()
            self.blind = self.blind + 1 if same else 0
        return self.blind < COLLAPSED
