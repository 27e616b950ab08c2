"""Takes the skip connections out of trained ONNX networks.

from graphops import Pipeline, finetune
from passes import FoldSkips, ShortenSkips
Pipeline([ShortenSkips(), finetune("cifar10", epochs=10), FoldSkips()]).run("resnet20.onnx", out="runs/nonresnet20")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphops.pipeline import Pipeline, Run
    from graphops.plan import step
    from graphops.steps import build, compare, export_hls, finetune, simulate, synth

__all__ = ["Pipeline", "Run", "build", "compare", "export_hls", "finetune", "simulate", "step", "synth"]

_HOMES = {"Pipeline": "pipeline", "Run": "pipeline", "step": "plan"} | dict.fromkeys(
    ("build", "compare", "export_hls", "finetune", "simulate", "synth"), "steps"
)


def __getattr__(name: str) -> Any:
    """Import on first use: the command line, and those who want a single module, start faster."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"graphops.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Also what is not imported yet, for those who look at a prompt."""
    return sorted({*globals(), *__all__})
