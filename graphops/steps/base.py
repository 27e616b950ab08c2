"""What a step is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import onnx

from graphops.bench import Bench
from graphops.options import make

BUILD = "build"
"""The folder, in that of a step, which holds its build."""


@dataclass(frozen=True)
class Outcome:
    """What a step gives.

    Attributes:
        model: the model it made.
        changed: whether it differs from the one the step was given.
        notes: sentences that a person should know.
        history: a training's measurements, one after another.
        figures: what else it measured, for the report.
        seconds: what it took, where the step knows better than a clock around it.
    """

    model: onnx.ModelProto
    changed: bool = True
    notes: tuple[str, ...] = ()
    history: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None


class Step(ABC):
    """A model in, a model out. Subclasses are frozen dataclasses.

    Class attributes:
        kind: what recipes call it.
        first: the option that a recipe may give alone, as in ``finetune: cifar10``.
        needs_model: whether it starts from a model.
        keeps_model: whether it hands that model on as it is.
        makes_build: whether it leaves a build, a folder `BUILD` in its own.
        needs_build: whether it reads the build of the model that it starts from.
    """

    kind: ClassVar[str]
    first: ClassVar[str]
    needs_model: ClassVar[bool] = True
    keeps_model: ClassVar[bool] = False
    makes_build: ClassVar[bool] = False
    needs_build: ClassVar[bool] = False

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str) -> Self:
        """The step that a recipe describes by ``options``, its fields.

        Args:
            options: as YAML gives them.
            where: what to call the step in a sentence.

        Raises:
            UserError: when an option is unknown or has a wrong value.
        """
        return make(cls, options, where)

    @property
    def name(self) -> str:
        """What it is called when nobody names it."""
        return self.kind

    @property
    def makes_rtl(self) -> bool:
        """Whether the build that it makes holds RTL, which all steps that read builds look at."""
        return False

    @property
    def reads_weights(self) -> bool:
        """Whether the model's weights must be in memory."""
        return True

    @abstractmethod
    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        """Do the step; the model given is never modified."""

    def settings(self) -> dict[str, Any]:
        """The options as a recipe says them, every default spelled out."""
        values = asdict(self)  # type: ignore[call-overload]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @property
    def output(self) -> str | None:
        """The output that it takes for the logits, of models with several; all of a pipeline are scored by it."""
        return None

    def teachers(self) -> Iterable[str]:
        """The other models it reads: names of earlier steps, or paths."""
        return ()

    def builds_read(self) -> Iterable[str]:
        """The names of earlier steps whose builds it reads, besides that of the model it starts from."""
        return ()

    def check_tools(self) -> None:  # noqa: B027 - most steps need none
        """Say before the work, not after hours of it, that a tool which the step needs is missing.

        Raises:
            UserError: when one is.
        """

    def data_sets(self) -> Iterable[str | None]:
        """The data sets it reads; None is the pipeline's own."""
        return ()

    def identity(self, bench: Bench) -> dict[str, Any]:
        """Whatever decides the outcome besides the model it starts from; contents in place of paths."""
        settings = {key: value for key, value in self.settings().items() if key not in ("data", "teacher", "builds")}
        data = [bench.data_id(name) for name in self.data_sets()]
        return {"kind": self.name, "settings": settings, "data": data}

    def beginning(self, bench: Bench) -> dict[str, Any]:
        """What its checkpoints go by: `identity`, but for what only says when it is good enough."""
        return self.identity(bench)
