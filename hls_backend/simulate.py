"""A design's RTL in Verilator, cycle by cycle: every output compared, and how fast it is and how full its FIFOs get."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import MappingProxyType

from hls_backend import rtl, verilator
from hls_backend.dataflow import Dataflow
from hls_backend.design import Design, Vectors
from hls_backend.layers import StreamingFIFO
from passes.errors import UserError

PATIENCE = 3
"""A simulation is stuck when nothing comes for so many frames' cycles."""

Progress = Callable[[float, float, str], None]

_VECTORS = "vectors"

_TOP = "TOP.testbench.dut"
"""Where Verilator puts the top; a FIFO looks there for how much it may hold (see stream_fifo.sv)."""


class Stopped(UserError):
    """The simulation came to a stop for good, since a FIFO is too shallow."""


@dataclass(frozen=True)
class FifoUse:
    """The most transfers that a FIFO ever held, and that it can hold."""

    name: str
    used: int
    depth: int


@dataclass(frozen=True)
class Simulation:
    """What a simulation showed.

    Attributes:
        frames: that came out whole.
        words: transfers that came out.
        errors: how many of them differ from the integer dataflow's.
        difference: the first of these, in words; empty where there is none.
        latency: cycles from reset to the first frame's last word.
        interval: cycles from one frame to the next, the median; None for a single frame.
        cycles: in all.
        fifos: how full each FIFO was.
        ends: the cycle of each frame's last word, from reset.
    """

    frames: int
    words: int
    errors: int
    difference: str
    latency: int
    interval: int | None
    cycles: int
    fifos: tuple[FifoUse, ...]
    ends: tuple[int, ...]


def simulate(
    design: Design,
    vectors: Vectors,
    sources: Path,
    work: Path,
    progress: Progress = lambda *_: None,
) -> Simulation:
    """Run ``vectors`` through the RTL of ``design``.

    Args:
        design: whose RTL it is.
        vectors: inputs, and the outputs that the integer dataflow makes of them.
        sources: the folder that `hls_backend.rtl.emit` filled.
        work: a folder for the compiled simulation, which is made where it is missing and used again where nothing
            has changed.
        progress: is told frames done, frames in all, and what is going on.

    Raises:
        UserError: when a tool is missing or fails, the RTL is missing, or the simulation stops early.
    """
    return prepare(design, vectors, sources, work, progress).run(progress)


def prepare(
    design: Design, vectors: Vectors, sources: Path, work: Path, progress: Progress = lambda *_: None
) -> Prepared:
    """What `simulate` compiles and writes before it runs; for running it more than once.

    Raises:
        UserError: when a tool is missing or fails, or the RTL is missing.
    """
    if not (sources / "testbench.sv").is_file():
        raise UserError(f"There is no RTL in {str(sources)!r}; make it with `graphops export-rtl`.")
    verilator.command()
    program = _built(sources, work, progress)
    dataflow = design.connected("rtl")
    (first,), (last,) = dataflow.inputs, dataflow.outputs
    given = work / _VECTORS
    given.mkdir(exist_ok=True)
    (given / "inputs.hex").write_text(rtl.vectors(dataflow, first, vectors.inputs))
    (given / "expected.hex").write_text(rtl.vectors(dataflow, last, vectors.outputs))
    return Prepared(program.resolve(), sources, given.resolve(), dataflow, len(vectors.inputs))


@dataclass(frozen=True)
class Prepared:
    """A compiled simulation and its data.

    Attributes:
        program: that simulates.
        sources: the folder with the RTL, whose memories it reads.
        vectors: the folder with inputs and expected outputs.
        dataflow: with converters and FIFOs.
        frames: of the data.
    """

    program: Path
    sources: Path
    vectors: Path
    dataflow: Dataflow
    frames: int

    def run(self, progress: Progress = lambda *_: None, rooms: Mapping[str, int] = MappingProxyType({})) -> Simulation:
        """Simulate.

        Args:
            progress: is told frames done, frames in all, and what is going on.
            rooms: how many transfers a FIFO may hold, by its layer's name, instead of all that it has room for.

        Raises:
            Stopped: when nothing more comes.
            UserError: when the simulation fails otherwise.
        """
        names = {rtl.identifier(n.name): n.name for n in self.dataflow.layers if isinstance(n, StreamingFIFO)}
        fill = sum(layer.cycles for layer in self.dataflow.layers)  # a bound for the first frame's way through
        arguments = [f"+vectors={self.vectors}", f"+patience={PATIENCE * self.dataflow.cycles + fill + 10_000}"]
        arguments += [f"+{_TOP}.{rtl.identifier(name)}={room}" for name, room in rooms.items()]
        lines = []
        call = [str(self.program), *arguments]
        with subprocess.Popen(
            call, cwd=self.sources, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                lines.append(line.rstrip())
                if line.startswith("frame "):
                    done = int(line.split()[2]) + 1
                    progress(done, self.frames, f"frame {done} of {self.frames}")
        if running.returncode:
            raise UserError(
                f"The simulation ended with an error ({(lines or ['no output'])[-1]}); export the RTL again."
            )
        return _read(lines, names, self.frames)


def _built(sources: Path, work: Path, progress: Progress) -> Path:
    """The simulation of ``sources``, compiled unless it was before."""
    files = sorted(sources.glob("*.sv"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    key, program = work / "key", work / "made" / "simulation"
    if key.is_file() and program.is_file() and key.read_bytes() == digest.hexdigest().encode():
        return program
    progress(0, 1, "compiling")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    verilator.build(files, program.parent)
    key.write_text(digest.hexdigest())
    return program


def _read(lines: Iterable[str], names: dict[str, str], wanted: int) -> Simulation:
    """What the test bench printed."""
    text = "\n".join(lines)
    ends = [int(cycle) for cycle in re.findall(r"^frame \S+ \d+ (\d+)$", text, re.MULTILINE)]
    stuck = re.search(r"^stuck \S+ (\d+) (\d+)$", text, re.MULTILINE)
    if stuck:
        raise Stopped(
            f"The simulation stopped for good in frame {len(ends) + 1} of {wanted}, after cycle "
            f"{(ends or [0])[-1]:,}: a FIFO is too shallow; export the design again without depths of your own."
        )
    done = re.search(r"^done \S+ (\d+) (\d+)$", text, re.MULTILINE)
    if done is None:
        raise UserError("The simulation ended without a result; export the RTL again.")
    differs = re.search(r"^differs \S+ (\d+) (\w+) (\w+)$", text, re.MULTILINE)
    difference = f"word {differs[1]} is {differs[2]} and should be {differs[3]}" if differs else ""
    uses = re.findall(r"^fifo (\S+) (\d+) (\d+)$", text, re.MULTILINE)
    fifos = tuple(
        FifoUse(names.get(path.split(".")[-1], path.split(".")[-1]), int(used), int(depth))
        for path, used, depth in uses
    )
    intervals = [b - a for a, b in pairwise(ends)]
    return Simulation(
        len(ends),
        int(done[1]),
        int(done[2]),
        difference,
        ends[0] + 1,
        round(median(intervals)) if intervals else None,
        ends[-1] + 1,
        tuple(sorted(fifos, key=lambda use: use.name)),
        tuple(ends),
    )
