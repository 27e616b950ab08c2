"""What a training tells its caller: how far it is, and in the end its result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import onnx


@dataclass(frozen=True)
class Progress:
    """How far a training is, after each step.

    Attributes:
        step, steps: steps done, steps in all.
        epoch, epochs: the same in passes over the training images; fractions.
        loss, accuracy: mean over the epoch so far, on training images; accuracy from 0 to 1.
        images_per_second: since this process began, evaluations included; 0 at first.
        seconds_left: estimate for the rest at this speed.
        lr: learning rate of the last step.
        gates: value of each skip gate, from the input side.
        test_accuracy: of the last evaluation, from 0 to 1, if there was one.
        history: a record of each epoch so far, as in `Trained`; those of before a stop as well.
        note: a sentence for the person, if there is one to say; such a report comes before the first step.
    """

    step: int
    steps: int
    epoch: float
    epochs: float
    loss: float = math.nan
    accuracy: float = math.nan
    images_per_second: float = 0.0
    seconds_left: float = math.nan
    lr: float = 0.0
    gates: tuple[float, ...] = ()
    test_accuracy: float | None = None
    history: tuple[dict[str, Any], ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class Trained:
    """What training gives back.

    Attributes:
        model: the model that was given, with trained values in its initialisers.
        history: one record an epoch: epoch, step, loss, accuracy (both on training images as they were seen),
            test_accuracy (None where it was not evaluated), lr, gates, seconds since the start.
        notes: one sentence for each thing that a person should know.
    """

    model: onnx.ModelProto
    history: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
