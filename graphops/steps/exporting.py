"""A build folder of a quantised model as a step."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import onnx

from graphops.bench import Bench
from graphops.data import normalisation
from graphops.steps.base import BUILD, Outcome
from graphops.steps.hardware import WithImages
from passes.errors import UserError


@dataclass(frozen=True)
class ExportHls(WithImages):
    """Maps the model to FINN layers, folds it to a frame rate and leaves a build; hands the model on as it is.

    Attributes:
        target_fps: images a second; None for the smallest design.
        clock_mhz: the clock in MHz.
        part: the part to fit into, e.g. xc7z020 or xczu7ev.
        flavour: which FINN's names of nodes and attributes.
        emitters: what the build holds besides the dataflow.
        fifo: how the depths of the RTL's FIFOs are found: by a model, or shrunk by simulation to what is needed.
        data: where test images come from; None is the pipeline's own data set, and without one random integers.
        count: test images.
        normalisation: of the images; None is the model's, else the data set's.
    """

    kind: ClassVar[str] = "export-hls"
    first: ClassVar[str] = "part"
    keeps_model: ClassVar[bool] = True
    makes_build: ClassVar[bool] = True

    target_fps: float | None = None
    clock_mhz: float = 100.0
    part: str = "xc7z020"
    flavour: Literal["finn-plus", "finn-main"] = "finn-plus"
    emitters: tuple[Literal["finn", "hls", "rtl"], ...] = ("finn", "hls", "rtl")
    fifo: Literal["computed", "measured"] = "computed"
    data: str | None = None
    count: int = 10
    normalisation: str | None = None

    def __post_init__(self) -> None:
        normalisation.check(self.normalisation)
        from hls_backend.parts import part

        part(self.part)
        limits = (("target_fps", self.target_fps, 1e-3), ("clock_mhz", self.clock_mhz, 1), ("count", self.count, 1))
        for name, value, least in limits:
            if value is not None and not least <= value < math.inf:
                raise UserError(f"An export with {name} {value:g} is impossible; give at least {least:g}.")

    @property
    def makes_rtl(self) -> bool:
        return "rtl" in self.emitters

    def check_tools(self) -> None:
        from hls_backend import verilator

        if self.fifo == "measured":
            verilator.command()

    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        from graphops.hardware import export

        assert bench.folder is not None, "a build is kept"
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "data"}
        made = export(
            model,
            bench.folder / BUILD,
            dataset=bench.data(self.data) if self.has_data(bench) else None,
            force=True,
            say=lambda what: bench.watch.progress(0, 1, what),
            progress=bench.watch.progress,
            **options,
        )
        return Outcome(model, False, made.notes, figures=made.figures)


def export_hls(part: str = "xc7z020", **options: Any) -> ExportHls:
    """A step that leaves a build for ``part``; ``options`` are the fields of `ExportHls`.

    Raises:
        UserError: when an option is unknown or has a wrong value.
    """
    return ExportHls.of({"part": part, **options}, "export_hls")
