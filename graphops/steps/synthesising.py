"""What a build's RTL takes, as a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import onnx

from graphops.bench import Bench
from graphops.options import make
from graphops.steps.base import Outcome, Step


@dataclass(frozen=True)
class Synthesise(Step):
    """Synthesises the RTL of the model's build with Yosys, layer by layer; hands the model on as it is.

    Attributes:
        family: of the part: AMD's 7 series, UltraScale or UltraScale+.
        place: where to place and route the whole design besides, for a frequency; None for nowhere.
        jobs: processes at once; each takes up to 4 GiB.
        together: whether small layers share a process: faster, and counts may differ by a per cent.
    """

    kind: ClassVar[str] = "synth"
    first: ClassVar[str] = "family"
    keeps_model: ClassVar[bool] = True
    needs_build: ClassVar[bool] = True

    family: Literal["xc7", "xcu", "xcup"] = "xc7"
    place: Literal["ecp5"] | None = None
    jobs: int = 2
    together: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str) -> Self:
        return make(cls, options, where)

    @property
    def reads_weights(self) -> bool:
        return False

    def check_tools(self) -> None:
        from hls_backend.synthesize import check_tools

        check_tools(self.place is not None)

    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        from graphops.hardware import synth, synthesis_figures
        from hls_backend.build import load

        ((name, folder),) = bench.builds
        found, placed = synth(
            folder, self.family, self.place is not None, self.jobs, bench.watch.progress, self.together
        )
        figures = {"build": name, **synthesis_figures(found, load(folder), placed)}
        notes = (f"Placed and routed on ECP5: {placed.mhz:.1f} MHz.",) if placed else ()
        return Outcome(model, False, notes, figures=figures)

    def settings(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def identity(self, bench: Bench) -> dict[str, Any]:
        identity = super().identity(bench)
        del identity["settings"]["jobs"]
        return identity


def synth(family: str = "xc7", **options: Any) -> Synthesise:
    """A step that synthesises the build before it for ``family``; ``options`` are the fields of `Synthesise`.

    Raises:
        UserError: when an option is unknown or has a wrong value.
    """
    return Synthesise.of({"family": family, **options}, "synth")
