"""Training as a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import onnx

from graphops.bench import Bench, Watch
from graphops.modelfile import load_model
from graphops.steps.base import Outcome, Step
from graphops.training.options import TrainOptions
from passes.errors import UserError

if TYPE_CHECKING:
    from graphops.training import Progress


@dataclass(frozen=True)
class Finetune(Step):
    """Trains a model further, by a teacher or by the labels alone.

    Attributes:
        data: the data set; None is the pipeline's own.
        teacher: the file of a model to distil from, the name of an earlier step, or ``input``.
        options: how to train.
    """

    kind: ClassVar[str] = "finetune"
    first: ClassVar[str] = "data"

    data: str | None = None
    teacher: str | None = None
    options: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        if self.teacher == "":  # as an empty variable of the shell leaves it
            raise UserError("The teacher's name is empty; name a model, or leave the teacher out.")
        self.options.refuse_idle(taught=self.teacher is not None, gated=True)  # gates: as the model will have them

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str) -> Self:
        rest = dict(options)
        names = {key: rest.pop(key, None) for key in ("data", "teacher")}
        for key, value in names.items():
            if not isinstance(value, str | None):
                raise UserError(f"{where}: {key} is {value!r}; it must be a name.")
        return cls(names["data"], names["teacher"], TrainOptions.of(rest))

    def check_tools(self) -> None:
        from graphops.training import runtime

        runtime.native()

    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        from graphops.training import train

        trained = train(
            model,
            bench.data(self.data),
            self.options,
            teacher=load_model(bench.model_path(self.teacher)) if self.teacher else None,
            folder=bench.scratch,
            progress=_Observer(bench.watch),
        )
        seconds = trained.history[-1]["seconds"] if trained.history else None
        return Outcome(trained.model, notes=trained.notes, history=trained.history, seconds=seconds)

    def settings(self) -> dict[str, Any]:
        options = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self.options).items()
        }
        return {"data": self.data, "teacher": self.teacher, **options}

    def identity(self, bench: Bench) -> dict[str, Any]:
        return super().identity(bench) | {"settings": self.options.identity()}

    def beginning(self, bench: Bench) -> dict[str, Any]:
        found = self.identity(bench)
        found["settings"].pop("budget", None)
        if "max_drop" in found["settings"]:
            found["settings"]["max_drop"] = "any"
        return found

    @property
    def output(self) -> str | None:
        return self.options.output

    def teachers(self) -> Iterable[str]:
        return (self.teacher,) if self.teacher else ()

    def data_sets(self) -> Iterable[str | None]:
        return (self.data,)


class _Observer:
    """Tells a watch what a training reports: each step as progress, each epoch as a measurement."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._told = 0

    def __call__(self, progress: Progress) -> None:
        parts = [f"loss {progress.loss:.3f}"] * math.isfinite(progress.loss)
        if progress.test_accuracy is not None:
            parts.append(f"test {progress.test_accuracy:.2%}")
        self._watch.progress(progress.step, progress.steps, ", ".join(parts))
        for record in progress.history[self._told :]:
            self._watch.metrics(record)
        self._told = len(progress.history)


def finetune(data: str | Path | None = None, *, teacher: str | Path | None = None, **options: Any) -> Finetune:
    """A step that trains on ``data``; ``options`` are the fields of ``graphops.training.TrainOptions``.

    Raises:
        UserError: when an option is unknown or has a wrong value.
    """
    names = {key: str(name) if isinstance(name, Path) else name for key, name in (("data", data), ("teacher", teacher))}
    return Finetune.of({**names, **options}, "finetune")
