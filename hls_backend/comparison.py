"""Designs beside each other: how fast they are and what they take, by what it is for."""

from __future__ import annotations

from dataclasses import dataclass

from hls_backend.dataflow import Dataflow
from hls_backend.design import Design
from hls_backend.layers import FMPadding, StreamingFIFO
from hls_backend.synthesize import Cells, Synthesis

SKIP = ("DuplicateStreams", "ElementwiseAdd", "StreamingFIFO")
"""Layers that are there for skips alone: forks, joins and what waits between. A FIFO in front of a padding is not."""

PURPOSES = {
    "skips": SKIP,
    "thresholds": ("Thresholding",),
    "convolutions": ("MVAU", "VVAU", "ConvolutionInputGenerator", "FMPadding"),
}
"""What layers are for; anything else is "other"."""


@dataclass(frozen=True)
class Compared:
    """One design.

    Attributes:
        name: of its build.
        fps: frames a second, by the cycles of its slowest layer at its clock.
        cells: what it takes.
        purposes: the same, by what it is for.
        waiting_bits: that the FIFOs of skips hold.
        mhz: after place and route on ECP5; None where it was not asked for.
    """

    name: str
    fps: float
    cells: Cells
    purposes: dict[str, Cells]
    waiting_bits: int
    mhz: float | None = None

    @property
    def figures(self) -> dict[str, float]:
        """What is compared, by name."""
        found = {
            "images/s": self.fps,
            "LUT, LUTRAM included": self.cells.all_luts,
            "LUTRAM": self.cells.lutrams,
            "FF": self.cells.ffs,
            "BRAM18": self.cells.all_bram18,
            "DSP": self.cells.dsps,
            "bits in skips' FIFOs": self.waiting_bits,
        }
        return found if self.mhz is None else {**found, "MHz on ECP5": self.mhz}


def summarise(name: str, design: Design, synthesis: Synthesis, mhz: float | None = None) -> Compared:
    """What there is to compare of one design."""
    dataflow = design.connected("rtl")
    fifos = [layer for layer in dataflow.layers if isinstance(layer, StreamingFIFO)]
    of_paddings = {fifo.name for fifo in fifos if _feeds_padding(dataflow, fifo)}
    purposes = {purpose: Cells() for purpose in (*PURPOSES, "other")}
    for layer in synthesis.layers:
        op = FMPadding.op if layer.name in of_paddings else layer.op
        purposes[next((p for p, ops in PURPOSES.items() if op in ops), "other")] += layer.cells
    waiting = sum(fifo.depth * fifo.inputs[0].width for fifo in fifos if fifo.name not in of_paddings)
    return Compared(name, design.fps, synthesis.total, purposes, waiting, mhz)


def _feeds_padding(dataflow: Dataflow, fifo: StreamingFIFO) -> bool:
    (stream,) = dataflow.outputs_of(fifo)
    return stream.target is not None and isinstance(dataflow.layer(stream.target.layer), FMPadding)
