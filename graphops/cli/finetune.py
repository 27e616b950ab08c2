"""`graphops finetune`: train a model further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from graphops.cli.common import (
    DataDir,
    DataName,
    Force,
    Json,
    ModelFile,
    OutputFile,
    Report,
    check_report,
    emit,
    print_notes,
)
from graphops.cli.generate import keyword, with_signature
from graphops.cli.training import train_and_score, training_options, training_parameters
from graphops.modelfile import beside, check_target, load_model
from graphops.steps import finetune as step


def finetune_verb() -> Callable[..., None]:
    """The verb, with an option for each field of `TrainOptions`."""
    signature = [keyword("model", ModelFile), keyword("data", DataName), keyword("output", OutputFile, None)]
    signature += [*training_parameters()]
    signature += [keyword("data_dir", DataDir, None)]
    signature += [keyword("json", Json, False), keyword("report", Report, None), keyword("force", Force, False)]
    return with_signature(
        _finetune, "finetune", "Train a model further, by a teacher or by the labels alone.", signature
    )


def _finetune(values: dict[str, Any]) -> None:
    source: Path = values["model"]
    target = values["output"] or beside(source, "finetune")
    check_report(values["report"], values["force"], target, [source])
    check_target(target, source, values["force"])
    training = step(values["data"], teacher=values["teacher"], **training_options(values))
    payload = train_and_score(training, load_model(source), target, values)

    def show(screen: Console) -> None:
        print_notes(screen, payload["notes"])
        screen.print(payload["sentence"], soft_wrap=True)
        screen.print(f"Written: {target}", soft_wrap=True)

    emit({"input": str(source), "output": str(target), **payload}, show, values["json"], values["report"])
