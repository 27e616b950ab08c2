"""What the emitters get: a folded dataflow for a part at a clock, with data to test it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hls_backend.fifo import Implementation, depths, insert_fifos
from hls_backend.pads import waiting
from hls_backend.widths import insert_width_converters

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from hls_backend.dataflow import Dataflow, Flavour
    from hls_backend.parts import Part

__all__ = ["Design", "Implementation", "Measured", "Vectors"]


_SPARE = 1
"""Pixels that FIFOs of our RTL get more than the model says that they need: it leaves out cycles of pipelines and
registers, without which ResNet8 on digits took 3 % longer a frame."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Test data: what goes in and what must come out, integers [N, rows, columns, channels].

    Attributes:
        inputs: of the dataflow's input stream.
        outputs: of its output stream.
        origin: where the inputs are from, in words.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    origin: str = ""


@dataclass(frozen=True)
class Measured:
    """FIFO depths of our RTL that a simulation showed to be enough (see `hls_backend.measure`).

    Attributes:
        depths: in transfers, by the stream's name; 0 where no FIFO is needed.
        computed: what they were before.
        interval: cycles from one frame to the next, with these as with those.
        frames: that each simulation ran.
        simulations: how many there were.
    """

    depths: Mapping[str, int]
    computed: Mapping[str, int]
    interval: float
    frames: int
    simulations: int


@dataclass(frozen=True, eq=False)
class Design:
    """A network as it is to be built.

    Attributes:
        dataflow: folded, with neither width converters nor FIFOs.
        part: that it is for.
        clock_mhz: of its clock, in MHz.
        target_fps: images a second that were asked for; None where nothing was.
        flavour: of FINN that its nodes are for.
        vectors: to test it on.
        measured: depths of our RTL's FIFOs by simulation; None to compute them.
    """

    dataflow: Dataflow
    part: Part
    clock_mhz: float
    target_fps: float | None
    flavour: Flavour
    vectors: Vectors
    measured: Measured | None = None

    @property
    def fps(self) -> float:
        """Images a second of our RTL: the clock by the cycles of the slowest layer."""
        return self.clock_mhz * 1e6 / self.dataflow.cycles

    def connected(self, implementation: Implementation) -> Dataflow:
        """The dataflow with a StreamingDataWidthConverter where lanes differ and a StreamingFIFO where one must wait.

        Args:
            implementation: whose layers it is built of; the depths of FIFOs follow from how they fill.
        """
        joined = insert_width_converters(self.dataflow)
        shallowest = 1 if implementation == "rtl" and self.measured else 3
        return insert_fifos(joined, self.depths(implementation), shallowest)

    def depths(self, implementation: Implementation) -> dict[str, int]:
        """The depth, in transfers, of each stream that has a FIFO.

        Args:
            implementation: whose layers it is built of.
        """
        if implementation == "rtl" and self.measured:
            return {name: depth for name, depth in self.measured.depths.items() if depth}
        joined = insert_width_converters(self.dataflow)
        if implementation == "rtl":
            return waiting(joined) | depths(joined, implementation, _SPARE)
        return depths(joined, implementation)
