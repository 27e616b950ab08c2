"""Passes as build steps of FINN and FINN+, to run before the step that converts QONNX to FINN.

Every pass, with its default options, is a step here: remove-skips is ``step_remove_skips``. FINN+ finds it by the
dotted name ``passes.adapters.finn.step_remove_skips``; FINN takes the function itself. `as_step` makes a step with
options, in a module of yours that FINN+ finds by its dotted name:

    stage_1 = as_step(RemoveSkips(stage=1), "stage_1")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qonnx.core.modelwrapper import ModelWrapper

from passes.adapters.common import function_name
from passes.adapters.qonnx import AsQonnx
from passes.base import Pass, registry

Step = Callable[[ModelWrapper, Any], ModelWrapper]


def as_step(rewriter: Pass, name: str = "") -> Step:
    """``rewriter`` as a build step.

    Args:
        rewriter: the pass with its options.
        name: what the build calls the step and its intermediate model, which must differ from every other step's
            in one build; default: ``step_remove_skips`` for remove-skips.
    """

    def step(model: ModelWrapper, cfg: Any) -> ModelWrapper:
        return model.transform(AsQonnx(rewriter))

    step.__name__ = step.__qualname__ = name or f"step_{function_name(rewriter)}"
    step.__doc__ = type(rewriter).__doc__
    return step


def __getattr__(name: str) -> Step:
    for cls in registry.values():
        if name == f"step_{function_name(cls)}":
            return as_step(cls())
    raise AttributeError(f"module {__name__!r} has no step {name!r}; it has {', '.join(__dir__())}")


def __dir__() -> list[str]:
    return ["as_step", *(f"step_{function_name(cls)}" for cls in registry.values())]
