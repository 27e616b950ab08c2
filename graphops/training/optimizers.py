"""Optimizers over one flat float32 buffer: the formulas of torch.optim.SGD and torch.optim.AdamW.

Weight decay is on every trained value, normalisation scales and biases included, as torch.optim does when it is
given all parameters in one group, and as the works on skip removal trained.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graphops.training.options import TrainOptions

Buffer = NDArray[np.float32]


class Optimizer(Protocol):
    """Updates ``parameters`` in place from a gradient that it may overwrite.

    Attributes:
        slots: its state, flat buffers by name; together with the number of steps taken it is all the state.
    """

    slots: dict[str, Buffer]

    def update(self, parameters: Buffer, gradient: Buffer, lr: float, step: int) -> None:
        """One step; ``step`` counts from 0."""


class SGD:
    """v = momentum v + g;  p = p - lr (g + momentum v) with Nesterov, else p - lr v;  g includes decay * p."""

    def __init__(self, size: int, momentum: float, nesterov: bool, weight_decay: float) -> None:
        self.momentum, self.nesterov, self.weight_decay = (np.float32(momentum), nesterov, np.float32(weight_decay))
        self.slots: dict[str, Buffer] = {"momentum": np.zeros(size, np.float32)} if momentum else {}
        self._scratch = np.empty(size, np.float32)

    def update(self, parameters: Buffer, gradient: Buffer, lr: float, step: int) -> None:
        if self.weight_decay:
            gradient += np.multiply(parameters, self.weight_decay, out=self._scratch)
        direction = gradient
        if self.momentum:
            velocity = self.slots["momentum"]
            velocity *= self.momentum
            velocity += gradient
            direction = velocity
            if self.nesterov:
                gradient += np.multiply(velocity, self.momentum, out=self._scratch)
                direction = gradient
        parameters -= np.multiply(direction, np.float32(lr), out=self._scratch)


class AdamW:
    """Loshchilov and Hutter 2019: p = p (1 - lr decay) - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon)."""

    def __init__(self, size: int, beta1: float, beta2: float, epsilon: float, weight_decay: float) -> None:
        self.beta1, self.beta2, self.epsilon, self.weight_decay = beta1, beta2, epsilon, weight_decay
        self.slots: dict[str, Buffer] = {n: np.zeros(size, np.float32) for n in ("mean", "square")}
        self._scratch = np.empty(size, np.float32)

    def update(self, parameters: Buffer, gradient: Buffer, lr: float, step: int) -> None:
        mean, square, scratch = self.slots["mean"], self.slots["square"], self._scratch
        parameters *= np.float32(1.0 - lr * self.weight_decay)
        mean *= np.float32(self.beta1)
        mean += np.multiply(gradient, np.float32(1.0 - self.beta1), out=scratch)
        np.multiply(gradient, gradient, out=scratch)
        scratch *= np.float32(1.0 - self.beta2)
        square *= np.float32(self.beta2)
        square += scratch
        np.sqrt(square, out=scratch)
        scratch /= np.float32(np.sqrt(1.0 - self.beta2 ** (step + 1)))
        scratch += np.float32(self.epsilon)
        np.divide(mean, scratch, out=scratch)
        scratch *= np.float32(lr / (1.0 - self.beta1 ** (step + 1)))
        parameters -= scratch


def make(options: TrainOptions, size: int) -> Optimizer:
    """The optimizer that the options name, for a buffer of ``size`` values."""
    if options.optimizer == "adamw":
        return AdamW(size, options.beta1, options.beta2, options.epsilon, options.weight_decay)
    return SGD(size, options.momentum, options.nesterov, options.weight_decay)


def clip(gradient: Buffer, limit: float) -> float:
    """Scale ``gradient`` in place to a Euclidean norm of at most ``limit`` (0: leave it); return the norm before.

    The sum runs in float64 in numpy's own fixed order: a BLAS with threads would not repeat to the bit.
    """
    norm = float(np.sqrt(np.sum(np.square(gradient, dtype=np.float64))))
    if limit and norm + 1e-6 > limit:
        gradient *= np.float32(limit / (norm + 1e-6))
    return norm
