"""`graphops evaluate`: how many images a model gets right."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from graphops.bench import Bench
from graphops.cli.common import (
    DataDir,
    DataName,
    Force,
    Json,
    ModelFile,
    Normalisation,
    Report,
    ScreenWatch,
    check_report,
    emit,
)
from graphops.modelfile import load_model
from graphops.report.text import percent
from passes.errors import UserError

Split = Annotated[str, typer.Option("--split", metavar="test|train", help="Which images.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many images.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Images at once.")]
Logits = Annotated[
    str | None, typer.Option("--logits", metavar="NAME", help="The output to score; default: the first that fits.")
]


def evaluate(
    model: ModelFile,
    data: DataName,
    data_dir: DataDir = None,
    split: Split = "test",
    limit: Limit = None,
    batch: Batch = 256,
    normalisation: Normalisation = None,
    logits: Logits = None,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Print a model's accuracy on a data set."""
    from graphops.evaluate import evaluate as score

    check_report(report, force, models=[model])
    loaded = load_model(model)
    with ScreenWatch("scoring") as watch:
        dataset = Bench(data_dir=data_dir).data(data)
        found = score(loaded, dataset, split, limit, batch, normalisation, watch.progress, logits)
    if found.undecided:
        raise UserError(
            f"{model}: its output {found.output!r} is not finite for {found.undecided:,} of {found.count:,} images; "
            "look for weights that are not, or for another normalisation than it was trained with."
        )
    payload = {
        "model": str(model),
        "output": found.output,
        "data": dataset.name,
        "split": split,
        "accuracy": found.accuracy,
        "correct": found.correct,
        "count": found.count,
        "seconds": round(found.seconds, 3),
    }

    def show(screen: Console) -> None:
        share = percent(found.accuracy)
        sentence = f"{share}: {found.correct:,} of {found.count:,} {split} images of {dataset.name} right."
        screen.print(sentence, soft_wrap=True)

    emit(payload, show, json, report)
