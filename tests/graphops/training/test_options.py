"""Training options from recipes and from Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphops.options import options
from graphops.training import TrainOptions
from passes import UserError


def test_a_recipe_gives_the_same_options_as_python() -> None:
    given = {"epochs": 3, "lr": 0.1, "milestones": [0.3, 0.6], "schedule": "step", "freeze": ["conv*"]}
    assert TrainOptions.of(given) == TrainOptions(
        epochs=3.0, lr=0.1, milestones=(0.3, 0.6), schedule="step", freeze=("conv*",)
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epoch": 3}, "no option 'epoch'; did you mean 'epochs'"),
        ({"lr": "fast"}, "lr is 'fast'"),
        ({"lr": 0}, "lr is 0.0; it must be above 0"),
        ({"lr": float("inf")}, "lr is inf; it must be finite"),
        ({"batch": 0.5}, "batch is 0.5"),
        ({"momentum": 1}, "momentum is 1.0; it must be from 0 to below 1"),
        ({"distill_weight": 1.5}, "distill_weight is 1.5; it must be from 0 to 1"),
        ({"budget": 3}, "budget is 3, but it is for keeping to max_drop; give max_drop"),
        ({"milestones": [2]}, "milestones is .* fractions between 0 and 1"),
        ({"schedule": "cosinus"}, "schedule is 'cosinus'.* 'cosine'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        TrainOptions.of(values)


def test_values_of_a_wrong_kind_are_refused_in_python_too() -> None:
    with pytest.raises(UserError, match="steps is 'ten'"):
        TrainOptions(steps="ten")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="optimizer is 'adam'; it must be one of sgd, adamw"):
        TrainOptions(optimizer="adam")  # type: ignore[arg-type]
    for name in ("batch", "steps", "workers", "seed"):
        with pytest.raises(UserError, match=f"{name} is 2.5; it must be a whole number"):
            TrainOptions(**{name: 2.5})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="features is 'relu'; it must be a tuple"):
        TrainOptions(features="relu")  # type: ignore[arg-type]


def test_numbers_of_numpy_are_options_like_others() -> None:
    given = TrainOptions(epochs=np.float32(1), batch=np.int64(32), nesterov=np.bool_(True), milestones=np.array([0.5]))  # type: ignore[arg-type]
    assert repr(given) == repr(TrainOptions(epochs=1.0, batch=32, milestones=(0.5,)))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"distill_weight": 0.5}, "a teacher"),
        ({"max_drop": 0}, "a teacher"),
        ({"gates": "cosine"}, "a gate, as gate-skips makes them,"),
    ],
)
def test_options_that_would_do_nothing_are_refused(values: dict[str, Any], what: str) -> None:
    TrainOptions().refuse_idle(taught=False, gated=False)
    TrainOptions.of(values).refuse_idle(taught=True, gated=True)
    with pytest.raises(UserError, match=f"`{next(iter(values))}` needs {what}, and there is none; give one, or leave"):
        TrainOptions.of(values).refuse_idle(taught=False, gated=False)


def test_how_often_to_save_is_no_part_of_a_runs_identity() -> None:
    assert TrainOptions(checkpoint_steps=5).identity() == TrainOptions(checkpoint_seconds=1).identity()
    assert TrainOptions(seed=1).identity() != TrainOptions().identity()


def test_a_learning_rate_is_a_number_or_auto() -> None:
    """On the command line both are text."""
    assert TrainOptions.of({"lr": "0.1"}).lr == 0.1
    assert TrainOptions.of({"lr": "auto"}).lr == "auto"
    assert next(o.choices for o in options(TrainOptions) if o.name == "lr") == ("FLOAT", "auto")


def test_later_options_do_not_change_what_earlier_runs_were() -> None:
    assert not {"max_drop", "budget"} & TrainOptions().identity().keys()
    assert TrainOptions(max_drop=0.01, budget=2).identity().items() >= {"max_drop": 0.01, "budget": 2}.items()
