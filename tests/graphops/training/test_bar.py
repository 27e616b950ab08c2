"""A stage that ends too far below its teacher is trained on, and stops the run where that does not help."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from graphops.data import DataSet
from graphops.evaluate import evaluate
from graphops.models import build
from graphops.training import Progress, Trained, TrainOptions, train
from graphops.training.bar import Bar, MissedBar
from passes import UserError
from tests.graphops.training.nets import same_values

FAST = TrainOptions(epochs=2, batch=64, lr=0.1, warmup=10, workers=1, max_drop=0.02, budget=3)


@pytest.fixture(scope="module")
def network(digits: DataSet) -> onnx.ModelProto:
    return build("resnet8", classes=10, image=digits.image_shape, width=8)


@pytest.fixture(scope="module")
def taught(digits: DataSet, network: onnx.ModelProto) -> onnx.ModelProto:
    return train(network, digits, TrainOptions(epochs=6, batch=64, lr=0.1, workers=1)).model


def test_a_stage_that_clears_the_bar_is_not_trained_on(
    digits: DataSet, network: onnx.ModelProto, taught: onnx.ModelProto
) -> None:
    options = dataclasses.replace(FAST, max_drop=1.0)
    assert len(train(network, digits, options, teacher=taught).history) == 2


def test_epochs_are_added_until_the_bar_is_cleared(
    digits: DataSet, network: onnx.ModelProto, taught: onnx.ModelProto
) -> None:
    options = dataclasses.replace(FAST, epochs=0.25, budget=8, max_drop=0.06)
    history = train(network, digits, options, teacher=taught).history
    floor = evaluate(taught, digits).accuracy - 0.06
    assert 1 < len(history) <= 10
    assert history[0]["test_accuracy"] < floor <= history[-1]["test_accuracy"]
    added = [h for h in history[1:] if (h["step"] - 5) % 21 == 0]
    assert len(added) < 8, "no more than it took"
    assert all(h["test_accuracy"] < floor for h in added[:-1])
    assert all(h["lr"] < 0.01 for h in history[1:]), "a tenth of the peak, falling"


def test_the_bar_is_the_teachers_accuracy_less_the_drop(digits: DataSet, taught: onnx.ModelProto) -> None:
    few = Bar(taught, digits, digits.normalisation, 50, 0.1)
    assert few.teacher_accuracy == evaluate(taught, digits, limit=50).accuracy
    few.teacher_accuracy = 0.8  # of which 0.8 - 0.1 is a little more than 0.7
    assert few.is_cleared_by(0.7)
    assert not few.is_cleared_by(0.6999)


def test_beyond_the_budget_the_run_stops_with_the_figures(
    digits: DataSet, network: onnx.ModelProto, taught: onnx.ModelProto, tmp_path: Path
) -> None:
    options = dataclasses.replace(FAST, steps=1, max_drop=0.0, budget=1, lr=1e-4)
    for _ in range(2):  # once more: nothing is trained again, and the sentence is the same
        with pytest.raises(
            UserError, match=r"Training ended at .* after 1\.048 epochs, .* max_drop allows 0\.00%; .*bin"
        ):
            train(network, digits, options, teacher=taught, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert len([line for line in lines if line["kind"] == "step"]) == 22


def test_a_larger_budget_goes_on_where_the_smaller_ended(
    digits: DataSet, network: onnx.ModelProto, taught: onnx.ModelProto, tmp_path: Path
) -> None:
    def missed(folder: str, budget: int) -> Trained:
        options = dataclasses.replace(FAST, steps=1, max_drop=0.0, budget=budget, lr=1e-4)
        with pytest.raises(MissedBar) as error:
            train(network, digits, options, teacher=taught, folder=tmp_path / folder)
        return error.value.trained

    expected = missed("at once", 2)
    found = [missed("in turn", budget) for budget in (0, 1, 2)][-1]
    assert same_values(found.model, expected.model)
    assert [h["step"] for h in found.history] == [h["step"] for h in expected.history]
    ends = [h["lr"] for h in expected.history if h["step"] in (22, 43)]
    assert ends == pytest.approx([1e-5 / 21] * 2), "each added epoch ends at the rate of its own last step"
    with pytest.raises(UserError, match="budget=2, not 1; choose another folder"):
        missed("in turn", 1)


def test_another_bar_judges_what_missed_the_first_unless_epochs_were_added(
    digits: DataSet, network: onnx.ModelProto, taught: onnx.ModelProto, tmp_path: Path
) -> None:
    strict = dataclasses.replace(FAST, steps=1, max_drop=0.0, budget=0, lr=1e-4)
    with pytest.raises(MissedBar) as error:
        train(network, digits, strict, teacher=taught, folder=tmp_path)
    lax = dataclasses.replace(strict, max_drop=1.0)
    found = train(network, digits, lax, teacher=taught, folder=tmp_path)
    assert same_values(found.model, error.value.trained.model)
    assert found.history == error.value.trained.history
    with pytest.raises(MissedBar):
        train(network, digits, dataclasses.replace(strict, budget=1), teacher=taught, folder=tmp_path)
    with pytest.raises(UserError, match=r"max_drop=0\.0, not 1\.0; choose another folder"):
        train(network, digits, dataclasses.replace(lax, budget=1), teacher=taught, folder=tmp_path)


def test_without_a_teacher_there_is_no_bar(digits: DataSet, network: onnx.ModelProto) -> None:
    with pytest.raises(UserError, match="`max_drop` needs a teacher, and there is none"):
        train(network, digits, FAST)


def test_a_teacher_that_does_not_fit_is_refused_before_training(digits: DataSet, network: onnx.ModelProto) -> None:
    """Also where nothing but the bar looks at it."""
    other = build("resnet8", classes=7, image=digits.image_shape, width=4)
    seen: list[Progress] = []
    with pytest.raises(UserError, match="choose a data set or a model that fits"):
        train(network, digits, dataclasses.replace(FAST, distill_weight=0.0), teacher=other, progress=seen.append)
    assert not seen


class Stop(Exception):
    pass


def stop_at(step: int) -> Any:
    def watch(progress: Progress) -> None:
        if progress.step == step:
            raise Stop

    return watch


@pytest.mark.parametrize("step", [5, 9, 26])
def test_a_stop_changes_nothing(
    digits: DataSet, network: onnx.ModelProto, taught: onnx.ModelProto, tmp_path: Path, step: int
) -> None:
    """At the planned end, in an added epoch and at its end."""
    options = dataclasses.replace(FAST, steps=5, max_drop=0.06, budget=8, checkpoint_steps=1)

    def run(folder: str, watch: Any = None) -> Trained:
        return train(network, digits, options, teacher=taught, folder=tmp_path / folder, progress=watch)

    expected = run("whole")
    assert expected.history[-1]["step"] >= 26
    with pytest.raises(Stop):
        run("stopped", stop_at(step))
    assert same_values(run("stopped").model, expected.model)
