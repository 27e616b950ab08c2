"""A pass as a step."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import onnx

from graphops.bench import Bench
from graphops.data import normalisation
from graphops.measured import is_wanted, measured, option
from graphops.options import make
from graphops.steps.base import Outcome, Step
from passes.base import Pass, get
from passes.errors import UserError


@dataclass(frozen=True)
class Rewrite(Step):
    """Runs a pass.

    Attributes:
        rewriter: the pass.
        data: the data set on which a pass measures what it goes by.
        normalisation: of its images; None is the model's, else the data set's.
    """

    kind: ClassVar[str] = "pass"

    rewriter: Pass
    data: str | None = None
    normalisation: str | None = None

    def __post_init__(self) -> None:
        normalisation.check(self.normalisation)
        if (self.data or self.normalisation) and not is_wanted(self.rewriter, self.data):
            raise UserError(f"{self.name} measures nothing with these options; leave data and normalisation out.")

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str) -> Self:
        """As `Step.of`; the option ``pass`` names the pass."""
        rest = dict(options)
        rewriter = get(rest.pop("pass"))
        names = {key: rest.pop(key, None) for key in ("data", "normalisation") if option(rewriter)}
        for key, value in names.items():
            if not isinstance(value, str | None):
                raise UserError(f"{where}: {key} is {value!r}; it must be a name.")
        return cls(make(rewriter, rest, where), **names)

    @property
    def name(self) -> str:
        return self.rewriter.name

    @property
    def reads_weights(self) -> bool:
        return self.rewriter.reads_weights or is_wanted(self.rewriter, self.data)

    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        rewriter = self.rewriter
        figures: dict[str, Any] = {}
        if is_wanted(rewriter, self.data):
            data = bench.data(self.data)
            output, progress = bench.output_of(model), bench.watch.progress
            rewriter = measured(rewriter, model, data, self.normalisation, progress, output)
            figures |= {name: list(getattr(rewriter, name)) for name in (option(rewriter),) if name}
        result = rewriter.apply(model)
        return Outcome(result.model, result.changed, result.notes, figures=figures)

    def settings(self) -> dict[str, Any]:
        values = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self.rewriter).items()  # type: ignore[call-overload]
        }
        names = {"data": self.data, "normalisation": self.normalisation}
        return values | {key: name for key, name in names.items() if name}

    def identity(self, bench: Bench) -> dict[str, Any]:
        scores = option(self.rewriter) == "scores" and is_wanted(self.rewriter)
        found = super().identity(bench) | ({"output": bench.output} if scores and bench.output else {})
        return found | ({} if type(self.rewriter).__module__.startswith("passes.") else {"code": self._code()})

    def _code(self) -> str | None:
        """What a pass of somebody else's does, for whoever is writing it; None where it was typed at a prompt."""
        try:
            return inspect.getsource(type(self.rewriter))
        except (OSError, TypeError):
            return None

    def data_sets(self) -> Iterable[str | None]:
        return (self.data,) if is_wanted(self.rewriter, self.data) else ()
