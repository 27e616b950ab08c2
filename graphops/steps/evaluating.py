"""Scoring a model as a step, where other images than the pipeline's own are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import onnx

from graphops.bench import Bench
from graphops.data import normalisation
from graphops.steps.base import Outcome, Step
from passes.errors import UserError


@dataclass(frozen=True)
class Evaluate(Step):
    """Measures the accuracy and hands the model on as it is.

    Attributes:
        data: the data set; None is the pipeline's own.
        split: ``test`` or ``train``.
        limit: how many images; None means all.
        normalisation: the images' normalisation; None is the model's, else the data set's.
    """

    kind: ClassVar[str] = "evaluate"
    first: ClassVar[str] = "data"
    keeps_model: ClassVar[bool] = True

    data: str | None = None
    split: Literal["test", "train"] = "test"
    limit: int | None = None
    normalisation: str | None = None

    def __post_init__(self) -> None:
        normalisation.check(self.normalisation)
        if self.limit is not None and self.limit < 1:
            raise UserError(f"An evaluation of {self.limit} images is impossible; give at least 1.")

    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        from graphops.evaluate import evaluate

        data = bench.data(self.data)
        found = evaluate(
            model,
            data,
            split=self.split,
            limit=self.limit,
            normalisation=self.normalisation,
            progress=bench.watch.progress,
            output=bench.output_of(model),
        )
        note = f"{found.correct} of {found.count} {self.split} images of {data.name} right."
        figures = {"accuracy": found.accuracy, "correct": found.correct, "count": found.count}
        return Outcome(model, False, (note,), figures={f"{data.name} {self.split}": figures})

    def identity(self, bench: Bench) -> dict[str, Any]:
        return super().identity(bench) | ({"output": bench.output} if bench.output else {})

    def data_sets(self) -> Iterable[str | None]:
        return (self.data,)
