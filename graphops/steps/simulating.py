"""A build's RTL, simulated cycle by cycle, as a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import onnx

from graphops.bench import Bench
from graphops.data import normalisation
from graphops.steps.base import Outcome
from graphops.steps.hardware import WithImages
from passes.errors import UserError


@dataclass(frozen=True)
class Simulate(WithImages):
    """Runs the RTL of the model's build in Verilator: every output must be that of the integer dataflow, and every
    class that of the quantised model. Hands the model on as it is.

    Attributes:
        data: the images; None is the pipeline's own data set, and without one the build's own test data.
        count: how many images.
        normalisation: of the images; None is the model's, else the data set's.
    """

    kind: ClassVar[str] = "simulate"
    first: ClassVar[str] = "data"
    keeps_model: ClassVar[bool] = True
    needs_build: ClassVar[bool] = True

    data: str | None = None
    count: int = 4
    normalisation: str | None = None

    def __post_init__(self) -> None:
        normalisation.check(self.normalisation)
        if self.count < 1:
            raise UserError(f"A simulation of {self.count} images is impossible; give at least 1.")

    def check_tools(self) -> None:
        from hls_backend import verilator

        verilator.command()

    def run(self, model: onnx.ModelProto, bench: Bench) -> Outcome:
        from graphops.hardware import RTL, SIMULATION, check_simulation, classified, simulation_figures, stored
        from hls_backend.build import load
        from hls_backend.simulate import simulate

        ((name, folder),) = bench.builds
        design = load(folder)
        classes = None
        if self.has_data(bench):
            data = bench.data(self.data)
            vectors, classes = classified(model, design.dataflow, data, self.count, self.normalisation)
        else:
            vectors = stored(design, self.count)
        found = simulate(design, vectors, folder / RTL, folder / SIMULATION, bench.watch.progress)
        check_simulation(found, folder)
        if classes and classes["equal"] < classes["count"]:
            raise UserError(
                f"The RTL puts {classes['count'] - classes['equal']} of {classes['count']} images into another class "
                f"than the quantised model; report this with the build folder {str(folder)!r}."
            )
        figures = {"build": name, **simulation_figures(found, design, vectors.origin, classes)}
        note = f"{found.words:,} words of {found.frames:,} images are those of the integer dataflow ({vectors.origin})."
        return Outcome(model, False, (note,), figures=figures)


def simulate(data: str | None = None, **options: Any) -> Simulate:
    """A step that simulates the build before it on ``data``; ``options`` are the fields of `Simulate`.

    Raises:
        UserError: when an option is unknown or has a wrong value.
    """
    return Simulate.of({"data": data, **options}, "simulate")
