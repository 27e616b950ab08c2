"""A new network as a pipeline's first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import onnx

from graphops.bench import Bench
from graphops.steps.base import Outcome, Step
from passes.errors import UserError


@dataclass(frozen=True)
class Build(Step):
    """Makes a network with random weights.

    Attributes:
        model: what to build, e.g. ``resnet``; see ``graphops.models``.
        options: what ``graphops.models.build`` takes besides.
    """

    kind: ClassVar[str] = "build"
    first: ClassVar[str] = "model"
    needs_model: ClassVar[bool] = False

    model: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from graphops.models.build import chosen

        chosen(self.model, self.options)

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str) -> Self:
        rest = dict(options)
        model = rest.pop("model", None)
        if not isinstance(model, str):
            raise UserError(f"{where} needs the network's name; write e.g. 'build: resnet20'.")
        return cls(model, rest)

    def run(self, model: onnx.ModelProto | None, bench: Bench) -> Outcome:
        from graphops import models

        return Outcome(models.build(self.model, **self.options))

    def settings(self) -> dict[str, Any]:
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self.options.items()}
        return {"model": self.model, **plain}


def build(model: str, **options: Any) -> Build:
    """A step that builds ``model`` (``resnet``, ``shortresnet``, ...) with the options of ``graphops.models.build``.

    Raises:
        UserError: when there is no such network or option, or an option's value is impossible.
    """
    return Build.of({"model": model, **options}, "build")
