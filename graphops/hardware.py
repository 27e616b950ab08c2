"""Quantised networks as hardware, for verbs and for steps of pipelines: builds made, simulated, synthesised, compared.

What comes out are dictionaries, as ``--json`` prints them and reports keep them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from passes.errors import UserError

if TYPE_CHECKING:
    from graphops.data import DataSet
    from hls_backend.dataflow import Dataflow, Flavour
    from hls_backend.design import Design, Vectors
    from hls_backend.report import Report
    from hls_backend.simulate import Simulation
    from hls_backend.synthesize import Placement, Synthesis

RTL, SIMULATION, SYNTHESIS = "rtl", "simulation", "synthesis"
"""Folders in a build: its RTL, and what the tools leave to use again."""

Sizing = Literal["computed", "measured"]
"""How the depths of the RTL's FIFOs are found: by a model, or shrunk by simulation to what is needed."""

Progress = Callable[[float, float, str], None]
"""Is told what is done, of how much, and what is going on."""


@dataclass(frozen=True)
class Exported:
    """A build that was written.

    Attributes:
        design: what it holds.
        report: what there is to say about the design.
        emitters: what it holds besides the dataflow: ``finn``, ``hls``, ``rtl``.
        notes: sentences that a person should know.
    """

    design: Design
    report: Report
    emitters: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """All of it but the test data themselves."""
        return {
            "emitters": list(self.emitters),
            "vectors": {"count": len(self.design.vectors.inputs), "origin": self.design.vectors.origin},
            "notes": list(self.notes),
            "fifos": fifo_figures(self.design),
            **asdict(self.report),
        }


def export(
    model: onnx.ModelProto,
    folder: Path,
    *,
    name: str = "network",
    target_fps: float | None = None,
    clock_mhz: float = 100,
    part: str = "xc7z020",
    flavour: Flavour = "finn-plus",
    dataset: DataSet | None = None,
    count: int = 10,
    normalisation: str | None = None,
    fifo: Sizing = "computed",
    emitters: Iterable[str] | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Exported:
    """Map a quantised model to FINN layers, fold it to a frame rate, and write a build folder.

    Args:
        model: quantised.
        folder: to make.
        name: of the network.
        target_fps: images a second; None for the smallest design.
        clock_mhz: of the clock, in MHz.
        part: to fit into.
        flavour: whose names of nodes and attributes.
        dataset: where test images come from; None for random integers.
        count: test images.
        normalisation: of the images; None is the model's, else the data set's.
        fifo: how the depths of the RTL's FIFOs are found: by a model, or by simulation.
        emitters: what the build holds besides the dataflow; None for everything.
        force: replace a build that is there.
        say: is told what is going on.
        progress: is told how far it is, where it takes long.

    Raises:
        UserError: when the network is no such network, cannot be as fast or fit, or the folder cannot be written.
    """
    from hls_backend import build, lower
    from hls_backend import vectors as test_data
    from hls_backend.design import Design
    from hls_backend.folding import fold_to_rate
    from hls_backend.parts import part as part_called
    from hls_backend.report import report

    chosen = part_called(part)
    build.check(folder, force)
    say("lowering")
    lowered = lower(model, name)
    say("folding")
    dataflow = fold_to_rate(lowered.dataflow, target_fps, clock_mhz, chosen)
    say("test data")
    if dataset is None:
        vectors = test_data.random(dataflow, count)
    else:
        vectors = from_dataset(model, dataflow, dataset, count, normalisation)
    design = Design(dataflow, chosen, clock_mhz, target_fps, flavour, vectors)
    known = build.emitters()
    written = known if emitters is None else {key: emit for key, emit in known.items() if key in set(emitters)}
    with TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}.") as work:
        design = sized(design, fifo, Path(work), say, progress)
        build.create(folder, design, model, written, force, lambda part: say(f"writing {part}"))
        keep_simulation(Path(work), folder)
    return Exported(design, report(design), tuple(written), tuple(lowered.notes))


def sized(
    design: Design, fifo: Sizing | str, work: Path, say: Callable[[str], None], progress: Progress = lambda *_: None
) -> Design:
    """The design with FIFO depths found in the way that was asked for; ``work`` is a folder for simulations."""
    from hls_backend.measure import measure

    if fifo == "computed":
        return replace(design, measured=None)
    say("measuring FIFOs")
    return measure(design, work, progress=progress)


def keep_simulation(work: Path, build: Path) -> None:
    """What was compiled to measure FIFOs serves simulations as well."""
    if (work / SIMULATION).is_dir():
        shutil.rmtree(build / SIMULATION, ignore_errors=True)
        shutil.move(work / SIMULATION, build / SIMULATION)


def fifo_figures(design: Design) -> dict[str, Any] | None:
    """The measured depths; None where they are computed."""
    return asdict(design.measured) if design.measured else None


def from_dataset(
    model: onnx.ModelProto, dataflow: Dataflow, dataset: DataSet, count: int | None, normalisation: str | None
) -> Vectors:
    """The first ``count`` test images of ``dataset``, or all, and what ``dataflow``, the model's, makes of them."""
    from graphops.data.feed import Feed
    from hls_backend import vectors

    images = dataset.test.first(count).images
    values = Feed(model, dataset, normalisation)(images)
    return vectors.from_images(dataflow, values, f"the first {len(images)} test images of {dataset.name}")


def classified(
    model: onnx.ModelProto, dataflow: Dataflow, dataset: DataSet, count: int, normalisation: str | None
) -> tuple[Vectors, dict[str, int] | None]:
    """As `from_dataset`; and how many images there are (``count``), how many of them the integers and the quantised
    model put into the same class (``equal``), and how many the integers put into the right one (``correct``); None
    where the output says no class."""
    from graphops.evaluate import evaluate

    vectors = from_dataset(model, dataflow, dataset, count, normalisation)
    found = classes(dataflow, vectors.outputs)
    if found is None:
        return vectors, None
    theirs = evaluate(model, dataset, limit=len(found), normalisation=normalisation).predictions
    labels = dataset.test.first(count).labels
    equal, correct = int((found == theirs).sum()), int((found == labels).sum())
    return vectors, {"count": len(found), "equal": equal, "correct": correct}


def stored(design: Design, count: int) -> Vectors:
    """The first ``count`` of the test data that lie in a build."""
    from hls_backend.design import Vectors

    own = design.vectors
    return Vectors(own.inputs[:count], own.outputs[:count], f"{len(own.inputs[:count])} of {own.origin}")


def classes(dataflow: Dataflow, integers: np.ndarray) -> np.ndarray | None:
    """The class of each image, by the output stream's integers [N, ...]; None where the output says none."""
    from hls_backend.layers import LabelSelect

    (last,) = dataflow.outputs
    flat = integers.reshape(len(integers), -1)
    if last.source is not None and isinstance(dataflow.layer(last.source.layer), LabelSelect):
        return flat[:, 0]
    if last.shape[:2] != (1, 1) or last.shape[2] == 1:
        return None
    return (flat * last.scale + last.bias).argmax(axis=1)


def simulation_figures(
    found: Simulation, design: Design, origin: str, classes: dict[str, int] | None
) -> dict[str, Any]:
    """What a simulation showed, and the images a second that follow; ``classes`` as `classified` says."""
    return {
        "data": origin,
        "clock_mhz": design.clock_mhz,
        "slowest_layer_cycles": design.dataflow.cycles,
        "fps": None if found.interval is None else design.clock_mhz * 1e6 / found.interval,
        "classes": None if found.errors else classes,
        **asdict(found),
    }


def check_simulation(found: Simulation, folder: Path) -> None:
    """Refuse a simulation that differs from the integer dataflow.

    Raises:
        UserError: when a word of it does.
    """
    if found.errors:
        raise UserError(
            f"{found.errors:,} of {found.words:,} words of the simulation are wrong ({found.difference}); "
            f"report this with the build folder {str(folder)!r}."
        )


def synthesis_figures(found: Synthesis, design: Design, placed: Placement | None) -> dict[str, Any]:
    """What a synthesis counted, beside what the part has."""
    part = design.part
    return {
        "tool": "Yosys",
        "family": found.family,
        "part": part.name,
        "capacity": {"luts": part.luts, "ffs": part.ffs, "bram18": part.bram18, "dsps": part.dsps},
        "total": asdict(found.total),
        "layers": [{"name": n.name, "op": n.op, **asdict(n.cells)} for n in found.layers],
        "ecp5": asdict(placed) if placed else None,
    }


def synth(
    folder: Path, family: str | None, place: bool, jobs: int, progress: Progress, together: bool = False
) -> tuple[Synthesis, Placement | None]:
    """Synthesise the build in ``folder``; what was done there before is not done again.

    Args:
        folder: a build.
        family: of the part; None for that of the build's own.
        place: whether to place and route the whole design on ECP5 as well.
        jobs: processes at once.
        progress: is told layers done, layers in all, and what is going on.
        together: whether small layers share a process: faster, and counts may differ by a per cent.

    Raises:
        UserError: when the build is damaged, or a tool is missing or fails.
    """
    from hls_backend.build import load
    from hls_backend.synthesize import check_tools, place_ecp5, synthesize

    check_tools(place)
    work, design = folder / SYNTHESIS, load(folder)
    found = synthesize(design, family or design.part.family, work, jobs, progress, together)
    return found, place_ecp5(folder / RTL, work, progress) if place else None


def compare(
    builds: Sequence[tuple[str, Path]],
    family: str | None,
    place: bool,
    jobs: int,
    progress: Callable[[str], Progress],
    together: bool = False,
) -> dict[str, Any]:
    """Synthesise builds and set them beside each other.

    Args:
        builds: what to call each, and its folder; figures are compared with those of the first.
        family, place, jobs, together: as in `synth`.
        progress: told a build's name, gives what is told of its progress.

    Raises:
        UserError: as `synth`; when no family is given and the builds' parts are of several.
    """
    from hls_backend.build import load
    from hls_backend.comparison import summarise

    designs = [load(folder) for _, folder in builds]
    families = {family or design.part.family for design in designs}
    if len(families) > 1:
        said = ", ".join(f"{name} is for {design.part.name}" for (name, _), design in zip(builds, designs, strict=True))
        raise UserError(f"The builds' parts are of several families ({said}); choose one to count for with --family.")
    (family,) = families
    found = []
    for (name, folder), design in zip(builds, designs, strict=True):
        cells, placed = synth(folder, family, place, jobs, progress(name), together)
        found.append(summarise(name, design, cells, placed.mhz if placed else None))
    return {"family": family, "tool": "Yosys", "builds": [{**asdict(one), "figures": one.figures} for one in found]}
