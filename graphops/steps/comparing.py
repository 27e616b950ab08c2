"""Builds beside each other as a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import onnx

from graphops.bench import Bench
from graphops.steps.base import Outcome
from graphops.steps.hardware import WithYosys
from passes.errors import UserError


@dataclass(frozen=True)
class Compare(WithYosys):
    """Sets the builds of earlier steps beside each other, in figures and in per cent of the first; hands the model on.

    Attributes:
        builds: the names of the steps that made them.
        family: of the part: AMD's 7 series, UltraScale or UltraScale+.
        place: where to place and route the whole designs besides, for frequencies; None for nowhere.
        jobs: processes at once; each takes up to 4 GiB.
        together: whether small layers share a process: faster, and counts may differ by a per cent.
    """

    kind: ClassVar[str] = "compare"
    first: ClassVar[str] = "builds"
    keeps_model: ClassVar[bool] = True

    builds: tuple[str, ...]
    family: Literal["xc7", "xcu", "xcup"] = "xc7"
    place: Literal["ecp5"] | None = None
    jobs: int = 2
    together: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.builds) < 2:
            raise UserError("A comparison takes two builds or more; name the steps that make them.")

    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        from graphops.hardware import Progress, compare

        def told(name: str) -> Progress:
            return lambda done, total, text: bench.watch.progress(done, total, f"{name}: {text}")

        figures = compare(bench.builds, self.family, self.place is not None, self.jobs, told, self.together)
        return Outcome(model, False, figures=figures)

    def builds_read(self) -> Iterable[str]:
        return self.builds


def compare(*builds: str, **options: Any) -> Compare:
    """A step that compares the builds of the steps of these names; ``options`` are the fields of `Compare`.

    Raises:
        UserError: when an option is unknown or has a wrong value.
    """
    return Compare.of({"builds": builds, **options}, "compare")
