"""FIFOs no deeper than they must be: with room for one word less an image takes longer, or none comes at all.

Computed depths (`hls_backend.fifo`) are a model's; here the RTL itself is asked, cycle by cycle. A compiled simulation
lets each FIFO hold fewer words than it was built for (see stream_fifo.sv), so that one serves the whole search: FIFO by
FIFO, the one of most bits first, the least room is found by bisection with which images come as often as before. Every
answer is the outcome of a simulation: whatever depth stays, one less was tried and was slower.

Shallower FIFOs are built otherwise (block RAM, deep or shallow distributed RAM), with other latencies. So the design is
built again with what was found and searched again, until nothing more goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, log2
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hls_backend import rtl
from hls_backend.design import Design, Measured, Vectors
from hls_backend.fifo import fifo_of
from hls_backend.resources import in_block
from hls_backend.simulate import Prepared, Stopped, prepare
from passes.errors import UserError

FRAMES = 6
"""Simulated each time; the second half of them is timed."""

_SHALLOWEST = 2
"""A FIFO of one word passes one in two cycles. Where two are enough, none is tried."""

_PLAIN = 32
"""Words up to which a FIFO in LUTs has no register behind them (see stream_fifo.sv)."""

Progress = Callable[[float, float, str], None]


def measure(design: Design, work: Path, frames: int = FRAMES, progress: Progress = lambda *_: None) -> Design:
    """The same design with the depths of its RTL's FIFOs measured.

    Args:
        design: whose FIFOs; depths measured before count for nothing.
        work: a folder for its RTL and its compiled simulation, ``rtl`` and ``simulation`` in it; in the end both are
            those of the design that is returned.
        frames: to simulate each time, at least 4; the design's test data over and over.
        progress: is told probes done, about how many there are, and what is going on.

    Raises:
        UserError: when a tool is missing or fails, or the design stops for good with the depths computed.
    """
    computed = replace(design, measured=None)
    search = _Search(computed, work, frames, progress)
    found, stays_as_fast = search.run()
    # The first frames may run ahead into FIFOs that are still empty: then it takes more of them to see what is slow.
    return found if stays_as_fast else measure(computed, work, 2 * frames, progress)


@dataclass
class _Search:
    """The search for depths.

    Attributes:
        design: with computed depths.
        work: a folder.
        frames: to simulate.
        progress: is told how far it is.
        count, expected: simulations run, and about how many it takes.
        floors: least depths, by the stream's name, of what was too slow when it was built with less.
        peaks: the most transfers that each FIFO held in the last simulation that went through, by its layer's name.
    """

    design: Design
    work: Path
    frames: int
    progress: Progress
    count: int = 0
    floors: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    expected: int = 0

    def run(self) -> tuple[Design, bool]:
        """The design with measured depths; and whether twice as many frames come as often too."""
        computed = self.design.depths("rtl")
        self.expected = 5 + sum(4 + ceil(log2(depth)) for depth in computed.values())
        bench = self.build(computed)
        target, long_target = self.cycles(bench), self.cycles(self.build(computed, 2))
        if target is None or long_target is None:
            raise UserError(
                f"The design {self.design.dataflow.name!r} stops for good with the FIFO depths computed; "
                "report this with the build folder."
            )
        depths, known = computed, dict[str, int]()
        while depths != known:
            bench = self.build(depths)
            if self.reaches(bench, target, {}):
                known = depths
                depths = self.least(bench, known, target)
            else:
                depths = self.deeper(bench, depths, known)
        long = self.cycles(self.build(depths, 2))
        interval = target / (self.frames - self.frames // 2)
        measured = Measured(depths, computed, interval, self.frames, self.count)
        return replace(self.design, measured=measured), long is not None and long <= long_target

    def build(self, depths: dict[str, int], times: int = 1) -> Prepared:
        """The simulation of the design with these depths, of so many times the frames."""
        measured = Measured(depths, {}, 0, 0, 0)
        built = replace(self.design, measured=measured)
        sources = self.work / "rtl"
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir(parents=True)
        rtl.emit(built, sources)
        stored = built.vectors
        chosen = np.arange(times * self.frames) % len(stored.inputs)
        vectors = Vectors(stored.inputs[chosen], stored.outputs[chosen], stored.origin)
        return prepare(built, vectors, sources, self.work / "simulation", self.progress)

    def least(self, bench: Prepared, depths: dict[str, int], target: int) -> dict[str, int]:
        """Depths of which none can be one less; 0 in place of the shallowest."""
        found = {name: depth for name, depth in depths.items() if depth}
        width = {s.name: bench.dataflow.width(s) for s in bench.dataflow.streams}
        for name in sorted(found, key=lambda n: found[n] * width[n], reverse=True):
            self.shrink(bench, found, name, target)
        shallow = {n: 0 for n, depth in found.items() if depth <= _SHALLOWEST and n not in self.floors}
        return depths | found | shallow

    def deeper(self, bench: Prepared, depths: dict[str, int], known: dict[str, int]) -> dict[str, int]:
        """Less shallow depths than those that were built and too slow, where simulated in a deeper build they were not.

        What differs is that some FIFOs are gone, else that some are built in another way.
        """
        gone = [name for name, depth in depths.items() if not depth and known[name]]
        width = {s.name: bench.dataflow.width(s) for s in bench.dataflow.streams}
        other = [n for n, depth in depths.items() if _form(depth, width[n]) != _form(known[n], width[n])]
        self.floors |= {name: _SHALLOWEST if gone else depths[name] + 1 for name in gone or other or depths}
        return {name: max(depth, self.floors.get(name, 0)) for name, depth in depths.items()}

    def shrink(self, bench: Prepared, found: dict[str, int], name: str, target: int) -> None:
        """Make one of the depths the least that reaches ``target``."""
        too_low = max(_SHALLOWEST, self.floors.get(name, 0)) - 1
        # One less first: when that is too slow there is no more to ask. Then what it ever held.
        guesses = (found[name] - 1, self.peaks.get(fifo_of(name), 0))
        while found[name] - too_low > 1:
            middle = (too_low + found[name]) // 2
            guess = next((g for g in guesses if too_low < g < found[name]), middle)
            if self.reaches(bench, target, found | {name: guess}):
                found[name] = guess
            else:
                too_low = guess

    def reaches(self, bench: Prepared, target: int, rooms: Mapping[str, int]) -> bool:
        """Whether frames come as often as they must with this much room."""
        cycles = self.cycles(bench, rooms)
        return cycles is not None and cycles <= target

    def cycles(self, bench: Prepared, rooms: Mapping[str, int] = MappingProxyType({})) -> int | None:
        """From the last frame of the first half to the last; None where the simulation stops for good."""
        self.count += 1
        self.progress(self.count, self.expected, f"{self.count} of about {self.expected} simulations")
        try:
            seen = bench.run(rooms={fifo_of(name): room for name, room in rooms.items()})
        except Stopped:
            return None
        self.peaks = {use.name: use.used for use in seen.fifos}
        return seen.ends[-1] - seen.ends[len(seen.ends) // 2 - 1]


def _form(depth: int, bits: int) -> tuple[bool, bool]:
    """How stream_fifo.sv builds a FIFO: in block RAM, and with a register behind its memory."""
    return in_block(depth, bits), depth > _PLAIN
