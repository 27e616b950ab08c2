"""One design from quantised ONNX to what it takes: folded, written as RTL, simulated, synthesised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from graphops.bench import Bench
from graphops.cli.common import ScreenWatch
from graphops.hardware import check_simulation, export
from hls_backend import build, rtl
from hls_backend.comparison import Compared, summarise
from hls_backend.dataflow import Dataflow
from hls_backend.design import Design
from hls_backend.simulate import Simulation, simulate
from hls_backend.synthesize import Cells, LayerCells, Placement, place_ecp5, synthesize

CLOCK_MHZ = 100.0
DEVICE = "xczu7ev"
"""Of the ZCU104, as in the paper."""

FAMILY = "xcup"


@dataclass(frozen=True)
class Measured:
    """What one design came to.

    Attributes:
        network: which.
        asked_fps: images a second that it was folded for.
        compared: the sums.
        layers: what each layer takes.
        simulation: of its RTL, every output compared.
        slowest: cycles of its slowest layer.
        placed: on ECP5; None where that was not asked for.
    """

    network: str
    asked_fps: float
    compared: Compared
    layers: tuple[LayerCells, ...]
    simulation: Simulation
    slowest: int
    placed: Placement | None

    @property
    def fps(self) -> float:
        """Images a second at `CLOCK_MHZ`, from the simulated interval between frames."""
        return CLOCK_MHZ * 1e6 / (self.simulation.interval or self.slowest)

    def of_kinds(self, *kinds: str) -> Cells:
        """What the layers of these kinds take together."""
        return sum((layer.cells for layer in self.layers if layer.op in kinds), Cells())

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "network": self.network,
            "asked_fps": self.asked_fps,
            "slowest": self.slowest,
            **asdict(self.compared),
            "fps": round(self.fps, 3),  # as simulated; that of `compared` is by the slowest layer's cycles
            "figures": self.compared.figures,
            "layers": [{"name": n.name, "op": n.op, **asdict(n.cells)} for n in self.layers],
            "simulation": asdict(self.simulation),
            "ecp5": asdict(self.placed) if self.placed else None,
        }


def measure(
    network: str,
    model: Callable[[], onnx.ModelProto],
    fps: float,
    out: Path,
    frames: int = 4,
    images: tuple[str, Path | None] | None = None,
    place: bool = False,
    together: bool = False,
    like: Path | None = None,
) -> Measured:
    """Do one design, or take up what was done of it.

    Args:
        network: what to call it.
        model: makes the quantised graph.
        fps: images a second to fold it for, at `CLOCK_MHZ`.
        out: where its build folder goes.
        frames: to simulate.
        images: a data set for the test data, and where data sets lie; random integers where there is none.
        place: whether to place and route on ECP5 for a frequency.
        together: synthesise small layers together (see `hls_backend.synthesize`).
        like: a build whose layers lend their foldings to those of the same names.

    Raises:
        UserError: when an output differs from the integer dataflow's, or a tool is missing.
    """
    folder = out / f"{network}-{fps:g}"
    with ScreenWatch(folder.name) as watch:
        if not (folder / build.REPORT).is_file():
            made = model()
            design = _folded(made, network, fps, frames, images)
            if like is not None:
                design = replace(design, dataflow=as_folded(design.dataflow, build.load(like).dataflow))
            build.create(folder, design, made, {"rtl": rtl.emit})
        design = build.load(folder)
        simulated = simulate(design, design.vectors, folder / "rtl", folder / "simulation", watch.progress)
        check_simulation(simulated, folder)
        found = synthesize(design, FAMILY, out / "synthesis", 2, watch.progress, together)
        placed = place_ecp5(folder / "rtl", out / "synthesis", watch.progress) if place else None
    compared = summarise(folder.name, design, found, placed.mhz if placed else None)
    return Measured(network, fps, compared, found.layers, simulated, design.dataflow.cycles, placed)


def _folded(
    model: onnx.ModelProto, network: str, fps: float, frames: int, images: tuple[str, Path | None] | None
) -> Design:
    """As `graphops export-hls` folds it."""
    with TemporaryDirectory() as scratch:
        return export(
            model,
            Path(scratch) / "build",
            name=network,
            target_fps=fps,
            clock_mhz=CLOCK_MHZ,
            part=DEVICE,
            dataset=Bench(data_dir=images[1]).data(images[0]) if images else None,
            count=frames,
            emitters=(),
        ).design


def as_folded(dataflow: Dataflow, like: Dataflow) -> Dataflow:
    """``dataflow`` with the foldings of the layers of ``like`` that have the same names."""
    lent = {layer.name: layer.folding for layer in like.layers}
    return dataflow.fold({layer.name: lent[layer.name] for layer in dataflow.layers if layer.name in lent})
