"""The options of a training, for every verb that trains."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from graphops.cli.generate import given, parameters
from graphops.options import options
from graphops.training.options import TrainOptions

TRAINING = "Fine-tuning"

TEACHER = Annotated[
    str | None,
    typer.Option("--teacher", metavar="TEACHER.onnx", help="A model to distil from.", rich_help_panel=TRAINING),
]

# --output is the file that a verb writes.
_RENAMED = {"output": "logits"}


def training_parameters() -> list[inspect.Parameter]:
    """A parameter for each field of `TrainOptions`."""
    return parameters(options(TrainOptions), TRAINING, _RENAMED)


def training_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `TrainOptions` that a person gave."""
    return given(values, options(TrainOptions), _RENAMED)
