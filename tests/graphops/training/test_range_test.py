"""Learning rates that nobody has to know."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest

from graphops.data import DataSet
from graphops.models import build
from graphops.training import Progress, TrainOptions, train
from graphops.training.range_test import LARGEST, STEPS, find_rate, rates
from tests.graphops.training.nets import same_values

CHANCE = math.log(10)
AUTO = TrainOptions(epochs=3, batch=64, lr="auto", workers=1, checkpoint_steps=1)


def test_rates_grow_by_a_constant_factor() -> None:
    found = rates()
    assert len(found) == STEPS
    assert found[-1] == pytest.approx(LARGEST)
    assert {round(b / a, 9) for a, b in itertools.pairwise(found)} == {round(found[1] / found[0], 9)}


@pytest.mark.parametrize("limit", [0.01, 0.1, 1.0])
def test_it_is_an_eighth_of_where_the_loss_rises(limit: float) -> None:
    def loss(number: int, rate: float) -> float:
        return 2.0 if rate < limit else 2.0 * rate / limit

    rate, steps = find_rate(loss, CHANCE, "sgd")
    assert limit / 8 <= rate <= limit / 2
    assert steps < STEPS
    assert find_rate(loss, CHANCE, "adamw")[0] == pytest.approx(rate / 4)


def test_a_loss_that_is_no_number_ends_it() -> None:
    rate, steps = find_rate(lambda number, rate: math.nan if number == 20 else 1.0, CHANCE, "sgd")
    assert (rate, steps) == (pytest.approx(rates()[20] / 8), 21)


def test_noise_is_no_rise() -> None:
    """A trained network's loss is close to 0 and jumps from batch to batch."""
    rate, steps = find_rate(lambda number, rate: 0.02 + 0.05 * (number % 3), CHANCE, "sgd")
    assert (rate, steps) == (LARGEST / 8, STEPS)


class Stop(Exception):
    pass


def test_training_finds_its_rate_once_and_starts_from_where_it_was(digits: DataSet, tmp_path: Path) -> None:
    model = build("resnet8", classes=10, image=digits.image_shape, width=8)
    seen: list[Progress] = []
    trained = train(model, digits, AUTO, folder=tmp_path / "auto", progress=seen.append)
    peak = max(progress.lr for progress in seen)
    assert 0.005 < peak < 0.5
    assert trained.history[-1]["test_accuracy"] > 0.9
    assert f"The learning rate {peak:.3g} was found by a range test." in trained.notes
    same = train(model, digits, dataclasses.replace(AUTO, lr=peak), folder=tmp_path / "given")
    assert same_values(same.model, trained.model)


def test_the_test_clips_gradients_as_training_does(digits: DataSet) -> None:
    model = build("resnet8", classes=10, image=digits.image_shape, width=4)
    options = dataclasses.replace(AUTO, epochs=0.05, clip_norm=1e-6, evaluate_every=0)
    assert train(model, digits, options).notes[-1].startswith(f"The learning rate {LARGEST / 8:.3g} was found")


def test_a_resumed_training_does_not_repeat_the_test(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("resnet8", classes=10, image=digits.image_shape, width=4)
    options = dataclasses.replace(AUTO, epochs=1)
    expected = train(model, digits, options)

    def stop(progress: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(model, digits, options, folder=tmp_path, progress=lambda p: stop(p) if p.step == 1 else None)
    monkeypatch.setattr("graphops.training.trainer.find_rate", None)
    assert same_values(train(model, digits, options, folder=tmp_path).model, expected.model)
