"""Learning rate and gates as functions of the step."""

from __future__ import annotations

import pytest

from graphops.training import TrainOptions
from graphops.training.schedules import added_rate, fade, gate_values, learning_rate


def rates(steps: int, **options: object) -> list[float]:
    chosen = TrainOptions(lr=1.0, **options)  # type: ignore[arg-type]
    return [learning_rate(chosen, step, steps) for step in range(steps)]


def test_warm_up_rises_linearly_to_the_peak() -> None:
    assert rates(100, warmup=4, schedule="constant")[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_warm_up_takes_at_most_a_tenth_of_a_short_run() -> None:
    assert rates(20, warmup=100, schedule="constant")[:3] == [0.5, 1.0, 1.0]
    assert rates(5, warmup=100, schedule="constant")[0] == 1.0


def test_cosine_ends_at_nothing() -> None:
    values = rates(100, warmup=0)
    assert values[0] == 1.0
    assert values[50] == pytest.approx(0.5)
    assert 0 < values[99] < 1e-3
    assert values == sorted(values, reverse=True)


def test_steps_at_the_milestones() -> None:
    values = rates(8, warmup=0, schedule="step", milestones=(0.25, 0.75), gamma=0.5)
    assert values == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_added_epochs_go_from_a_tenth_of_the_peak_to_nothing() -> None:
    found = [added_rate(TrainOptions(lr=2.0), step, 4) for step in range(4)]
    assert found == pytest.approx([0.2, 0.15, 0.1, 0.05])


def gates(steps: int, count: int = 1, **options: object) -> list[list[float]]:
    chosen = TrainOptions(**options)  # type: ignore[arg-type]
    return [gate_values(chosen, step, steps, count) for step in range(steps)]


def test_gates_fade_linearly_and_stay_at_exactly_zero() -> None:
    assert [v for (v,) in gates(9, gates_end=4 / 9)] == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]


def test_gates_are_zero_in_the_last_step_at_the_latest() -> None:
    assert [v for (v,) in gates(5, gates_end=1.0)] == [1, 0.75, 0.5, 0.25, 0]
    assert gates(1) == [[0.0]]
    assert gate_values(TrainOptions(gates_end=1.0), 5, 5, 2) == [0, 0], "and in epochs that are added"


def test_gates_one_after_another() -> None:
    from_input = gates(9, 2, gates_end=8 / 9, gates_order="input")
    assert [g[0] for g in from_input] == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]
    assert [g[1] for g in from_input] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert gates(9, 2, gates_end=8 / 9, gates_order="output") == [g[::-1] for g in from_input]


def test_gates_may_keep_their_values() -> None:
    assert gates(3, 2, gates="keep") == [[1, 1]] * 3


@pytest.mark.parametrize(
    ("curve", "middle", "late"), [("linear", 0.5, 0.1), ("cosine", 0.5, 0.0245), ("quadratic", 0.25, 0.01)]
)
def test_curves(curve: str, middle: float, late: float) -> None:
    assert (fade(curve, 0), fade(curve, 1)) == (1, 0)
    assert fade(curve, 0.5) == pytest.approx(middle)
    assert fade(curve, 0.9) == pytest.approx(late, rel=0.01)
