"""Build steps as FINN's and FINN+'s builders look them up and call them."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from examples.adapters.network import image, joins, residual, run
from passes import RemoveSkips, registry
from passes.adapters.finn import as_step

CONFIG = SimpleNamespace(output_dir="build", synth_clk_period_ns=10.0)


def by_dotted_name(name: str):
    """As FINN+ resolves a step."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)


def test_a_step_by_dotted_name_removes_skips() -> None:
    step = by_dotted_name("passes.adapters.finn.step_remove_skips")
    built = step(ModelWrapper(residual(4)), CONFIG)
    assert isinstance(built, ModelWrapper)
    assert joins(built.model) == 0
    expected = RemoveSkips().apply(residual(4)).model
    np.testing.assert_array_equal(run(built.model, image()), run(expected, image()))


@pytest.mark.parametrize("name", registry)
def test_every_pass_is_a_step(name: str) -> None:
    step = by_dotted_name(f"passes.adapters.finn.step_{name.replace('-', '_')}")
    assert callable(step)
    assert step.__name__ == f"step_{name.replace('-', '_')}"


def test_a_step_has_options_and_a_name_of_its_own() -> None:
    steps = [as_step(RemoveSkips(stage=stage), f"stage_{stage}") for stage in (1, 2)]
    assert [step.__name__ for step in steps] == ["stage_1", "stage_2"]
    model, left = ModelWrapper(residual(4)), []
    for step in steps:
        model = step(model, CONFIG)
        left.append(joins(model.model))
    assert left == [2, 1]


def test_a_step_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"has no step 'step_remove_skip'; it has as_step, .*step_remove_skips"):
        by_dotted_name("passes.adapters.finn.step_remove_skip")
