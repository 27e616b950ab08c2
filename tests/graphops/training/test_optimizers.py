"""Optimizers against the formulas of torch.optim, written per value in float64."""

from __future__ import annotations

import numpy as np
import pytest

from graphops.training import TrainOptions
from graphops.training.optimizers import clip, make

SIZE, STEPS = 33, 25


def gradients() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(SIZE) for _ in range(STEPS)]


def start() -> np.ndarray:
    return np.random.default_rng(2).standard_normal(SIZE)


def run(options: TrainOptions) -> np.ndarray:
    parameters = start().astype(np.float32)
    optimizer = make(options, SIZE)
    for step, gradient in enumerate(gradients()):
        optimizer.update(parameters, gradient.astype(np.float32), options.lr * (step + 1) / STEPS, step)
    return parameters


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 1e-2), (0.9, 0.0), (0.0, 1e-2)])
def test_sgd(momentum: float, decay: float, nesterov: bool) -> None:
    p, v, lr = start(), np.zeros(SIZE), 0.1
    for step, g in enumerate(gradients()):
        g = g + decay * p
        v = momentum * v + g
        p = p - lr * (step + 1) / STEPS * (g + momentum * v if nesterov else v)
    options = TrainOptions(lr=lr, momentum=momentum, weight_decay=decay, nesterov=nesterov)
    np.testing.assert_allclose(run(options), p, atol=2e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw(decay: float) -> None:
    p, m, v = start(), np.zeros(SIZE), np.zeros(SIZE)
    for step, g in enumerate(gradients()):
        lr, t = 0.01 * (step + 1) / STEPS, step + 1
        p = p * (1 - lr * decay)
        m, v = 0.8 * m + 0.2 * g, 0.99 * v + 0.01 * g * g
        p = p - lr * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-3)
    options = TrainOptions(optimizer="adamw", lr=0.01, beta1=0.8, beta2=0.99, epsilon=1e-3, weight_decay=decay)
    np.testing.assert_allclose(run(options), p, atol=2e-6)


def test_clipping_scales_the_whole_gradient_to_the_limit() -> None:
    gradient = np.array([3, 4, 0], np.float32)
    assert clip(gradient, 0) == 5
    assert clip(gradient, 10) == 5
    np.testing.assert_array_equal(gradient, [3, 4, 0])
    assert clip(gradient, 2) == 5
    np.testing.assert_allclose(gradient, [1.2, 1.6, 0], rtol=1e-6)
