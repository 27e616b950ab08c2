"""Training from the command line, for every verb that trains."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from graphops.bench import Bench
from graphops.cli.common import ScreenWatch
from graphops.cli.generate import given, keyword, parameters
from graphops.modelfile import load_model, save_model
from graphops.options import options
from graphops.report.text import percent
from graphops.steps import Finetune
from graphops.training.bar import MissedBar
from graphops.training.checkpoint import NAMES as CHECKPOINT
from graphops.training.options import TrainOptions
from passes.errors import UserError

TRAINING = "Fine-tuning"

TEACHER = Annotated[
    str | None,
    typer.Option("--teacher", metavar="TEACHER.onnx", help="A model to distil from.", rich_help_panel=TRAINING),
]

CHECKPOINTS = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        metavar="FOLDER",
        help="Keep checkpoints there, and go on from those there.",
        rich_help_panel=TRAINING,
    ),
]

# --output is the file that a verb writes.
_RENAMED = {"output": "logits"}


def training_parameters() -> list[inspect.Parameter]:
    """A parameter for each field of `TrainOptions`, the teacher and the checkpoints."""
    own = [keyword("teacher", TEACHER, None), keyword("checkpoints", CHECKPOINTS, None)]
    return own + parameters(options(TrainOptions), TRAINING, _RENAMED)


def training_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `TrainOptions` that a person gave."""
    return given(values, options(TrainOptions), _RENAMED)


def flag(name: str) -> str:
    """How the command line says a field of `TrainOptions`, the teacher or the checkpoints."""
    return "--" + _RENAMED.get(name, name).replace("_", "-")


def train_and_score(step: Finetune, model: onnx.ModelProto, target: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Train, with a progress bar, write the model to ``target``, score before and after; return what to say of it.

    Raises:
        UserError: as ``train``; a model that missed its bar is written all the same.
    """
    from graphops.evaluate import evaluate

    bench = Bench(data_dir=values["data_dir"], scratch=values["checkpoints"])
    if step.teacher:
        load_model(bench.model_path(step.teacher), weights=False)  # say now that it is not there
    normalisation, output = step.options.normalisation, step.options.output
    with ScreenWatch("fine-tuning") as screen:
        bench.watch = screen
        data = bench.data(step.data)
        before = evaluate(model, data, normalisation=normalisation, output=output)
        try:
            outcome = step.run(model, bench)
        except MissedBar as error:
            save_model(error.trained.model, target, values["force"], values["model"])
            raise UserError(f"{str(error).rstrip('.')}; the model as it was trained is in {target}.") from error
        except KeyboardInterrupt:
            kept = values["checkpoints"]
            if kept and any(kept.glob(CHECKPOINT)):
                said = f"; the same command goes on from the last checkpoint in {kept}."
            elif kept:
                said = " before there was a checkpoint; the same command begins anew."
            else:
                said = ", and nothing was kept; with --checkpoints FOLDER the same command would go on from there."
            screen.say(f"Stopped{said}")
            raise
        save_model(outcome.model, target, values["force"], values["model"])
        after = evaluate(outcome.model, data, normalisation=normalisation, output=output)
    return {
        "options": step.settings(),
        "accuracy_before": before.accuracy,
        "accuracy_after": after.accuracy,
        "history": outcome.history,
        "notes": list(outcome.notes),
        "sentence": f"Test accuracy {percent(before.accuracy)} before the fine-tuning, "
        f"{percent(after.accuracy)} after.",
    }
