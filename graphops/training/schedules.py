"""Learning rate and gates as pure functions of the step, so that a resumed run needs no state of theirs."""

from __future__ import annotations

import math

from graphops.training.options import TrainOptions


def learning_rate(options: TrainOptions, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) in a run of ``steps``.

    It rises linearly to ``lr`` over the warm-up, then is constant, falls as half a cosine to 0 at the run's end
    (Loshchilov and Hutter 2017, without restarts), or is multiplied by ``gamma`` at each milestone.
    """
    peak = float(options.lr)  # a range test has put a number in the place of "auto"
    warmup = min(options.warmup, steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    if options.schedule == "constant":
        return peak
    if options.schedule == "step":
        return peak * options.gamma ** sum(step >= m * steps for m in options.milestones)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def added_rate(options: TrainOptions, step: int, steps: int) -> float:
    """The learning rate in step ``step`` (from 0) of ``steps`` that are added to a run: from a tenth of ``lr`` to 0."""
    return float(options.lr) * 0.1 * (1.0 - step / steps)


def gate_values(options: TrainOptions, step: int, steps: int, count: int) -> list[float]:
    """The factor on each of ``count`` gates (from the input side to the output side) at step ``step`` (from 0).

    1 at the start, exactly 0 from step ``gates_end * steps`` on and in the last step. ``gates_order`` "together"
    fades all at once; "input" and "output" fade one after another from that side, each in an equal part of the time.
    """
    if options.gates == "keep" or count == 0:
        return [1.0] * count
    # The last step always trains with the gates at 0: what is returned is what was trained.
    end = max(1, min(steps - 1, round(options.gates_end * steps)))
    position = min(1.0, step / end) if steps > 1 else 1.0
    if options.gates_order == "together":
        return [fade(options.gates, position)] * count
    values = [fade(options.gates, position * count - k) for k in range(count)]
    return values if options.gates_order == "input" else values[::-1]


def fade(curve: str, position: float) -> float:
    """From 1 at position 0 to 0 at position 1: ``linear``, ``cosine`` (slow at both ends) or ``quadratic``."""
    if position <= 0.0:
        return 1.0
    if position >= 1.0:
        return 0.0
    if curve == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * position))
    if curve == "quadratic":
        return (1.0 - position) ** 2
    return 1.0 - position
