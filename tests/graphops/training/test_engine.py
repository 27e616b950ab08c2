"""A step over the cores: gradients and statistics are those of the whole batch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from graphops.training.engine import Engine, usable_cores
from graphops.training.loss import LABELS, Loss, add_loss
from graphops.training.prepare import prepare
from tests.graphops.training.nets import he, normalised, small, value

RNG = np.random.default_rng(7)
BATCH = {"x": RNG.standard_normal((7, 1, 8, 8)).astype(np.float32), LABELS: RNG.integers(0, 10, 7)}


def engine(model, workers: int) -> Engine:
    prepared = prepare(model)
    graph = add_loss(prepared.model, prepared.logits, Loss())
    feeds = {"x": (np.float32, (1, 8, 8)), LABELS: (np.int64, ())}
    return Engine(graph, prepared.logits, prepared.roles, feeds, classes=10, batch=7, workers=workers)


@pytest.mark.parametrize("workers", [2, 3, 9])
def test_shares_add_up_to_the_whole_batch(workers: int) -> None:
    """Without normalisation over shares, any number of workers gives the same gradient, loss and logits."""
    whole, shared = engine(small(), 1).step(BATCH), engine(small(), workers).step(BATCH)
    np.testing.assert_allclose(shared.gradient, whole.gradient, atol=1e-7)
    np.testing.assert_allclose(shared.logits, whole.logits, atol=1e-6)
    assert shared.terms["loss"] == pytest.approx(whole.terms["loss"], rel=1e-6)


@pytest.mark.parametrize(("workers", "momentum"), [(1, 0.8), (2, 0.8), (3, 0.8), (2, 0.9)])
def test_running_statistics_are_those_of_the_whole_batch(workers: int, momentum: float) -> None:
    """r = momentum r + (1 - momentum) m, with the biased variance over batch, height and width."""
    model = normalised()
    if momentum == 0.9:  # as ONNX has it where nothing is said
        del model.graph.node[1].attribute[:]
    trained = engine(model, workers)
    for _ in range(2):
        trained.step(BATCH)
    conv = _convolved(value(model, "conv_w"), BATCH["x"])
    mean, variance = value(model, "m1").astype(np.float64), value(model, "v1").astype(np.float64)
    for _ in range(2):
        mean = momentum * mean + (1 - momentum) * conv.mean((0, 2, 3))
        variance = momentum * variance + (1 - momentum) * conv.var((0, 2, 3))
    np.testing.assert_allclose(trained.statistics()["m1"], mean, rtol=1e-5)
    np.testing.assert_allclose(trained.statistics()["v1"], variance, rtol=1e-4)


def test_statistics_that_never_move_stay_to_the_bit() -> None:
    model = normalised()
    model.graph.node[1].attribute[0].f = 1.0  # momentum
    trained = engine(model, 5)
    for _ in range(2):
        trained.step(BATCH)
    for name in ("m1", "v1"):
        np.testing.assert_array_equal(trained.statistics()[name], value(model, name))


def _convolved(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), (3, 3), (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows.astype(np.float64), weight)


def test_the_same_workers_give_the_same_bits() -> None:
    one, other = engine(normalised(), 2), engine(normalised(), 2)
    assert one.step(BATCH).gradient.tobytes() == other.step(BATCH).gradient.tobytes()
    assert one.variances.tobytes() == other.variances.tobytes()


def test_parameters_are_live() -> None:
    trained = engine(small(), 2)
    before = trained.step(BATCH).terms["loss"]
    trained.layout.view(trained.parameters, "fc_w")[...] = he(10, 4, seed=9)
    assert trained.step(BATCH).terms["loss"] != before
    np.testing.assert_array_equal(trained.values()["fc_w"], he(10, 4, seed=9))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 4), ("900000 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("", 4)],
)
def test_cores_are_those_of_the_process_and_of_its_quota(
    quota: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda path: quota)
    assert usable_cores() == cores
