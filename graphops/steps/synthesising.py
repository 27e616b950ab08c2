"""What a build's RTL takes, as a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import onnx

from graphops.bench import Bench
from graphops.steps.base import Outcome
from graphops.steps.hardware import WithYosys


@dataclass(frozen=True)
class Synthesise(WithYosys):
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


def synth(family: str = "xc7", **options: Any) -> Synthesise:
    """A step that synthesises the build before it for ``family``; ``options`` are the fields of `Synthesise`.

    Raises:
        UserError: when an option is unknown or has a wrong value.
    """
    return Synthesise.of({"family": family, **options}, "synth")
