"""What a design costs and how fast it is, layer by layer; estimates, none of them a synthesis result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from hls_backend.dataflow import Dataflow, Layer
from hls_backend.design import Design
from hls_backend.fifo import Implementation
from hls_backend.layers import MVAU, VVAU, StreamingDataWidthConverter, StreamingFIFO, Thresholding
from hls_backend.pace import pace
from hls_backend.resources import Resources


@dataclass(frozen=True)
class LayerReport:
    """One layer, with the width converters and FIFOs in front of its inputs.

    Attributes:
        name, op: of the layer, as in FINN+.
        pe, simd: its folding.
        cycles, finn_cycles: an image, in our RTL and by FINN's estimate.
        weight_bits: of all its weights.
        steps: thresholds a channel.
        threshold_bits: of all its thresholds.
        fifo_depth: transfers that the FIFO in front of it holds in our RTL; the deepest of several, 0 for none.
        luts, bram18: estimated, with what is in front of it.
    """

    name: str
    op: str
    pe: int
    simd: int
    cycles: int
    finn_cycles: int
    weight_bits: int
    steps: int
    threshold_bits: int
    fifo_depth: int
    luts: int
    bram18: int


@dataclass(frozen=True)
class Report:
    """A design.

    Attributes:
        name: of the network.
        part, clock_mhz, target_fps: that it is for.
        fps, finn_fps, hls_fps: images a second, by our RTL's cycles, by FINN's estimate, and with what finn-hlslib's
            matrices wait for their windows besides.
        cycles, finn_cycles: between one image and the next: those of the slowest layer.
        bottleneck: the name of the slowest layer.
        luts, bram18: estimated.
        part_luts, part_bram18: what the part has.
        layers: in topological order.
        fifo_depths: by implementation and stream, in transfers.
    """

    name: str
    part: str
    clock_mhz: float
    target_fps: float | None
    fps: float
    finn_fps: float
    hls_fps: float
    cycles: int
    finn_cycles: int
    bottleneck: str
    luts: int
    bram18: int
    part_luts: int
    part_bram18: int
    layers: tuple[LayerReport, ...]
    fifo_depths: dict[str, dict[str, int]]


def report(design: Design) -> Report:
    """What there is to say about ``design``."""
    connected = design.connected("rtl")
    layers = tuple(_layer(connected, layer) for layer in design.dataflow.layers)
    # An output's own FIFO or converter stands in front of no layer.
    total = sum((layer.resources() for layer in connected.layers), Resources())
    finn_cycles = max(layer.finn_cycles for layer in layers)
    clock = design.clock_mhz * 1e6
    return Report(
        design.dataflow.name,
        design.part.name,
        design.clock_mhz,
        design.target_fps,
        design.fps,
        clock / finn_cycles,
        clock / pace(design.dataflow),
        design.dataflow.cycles,
        finn_cycles,
        max(layers, key=lambda layer: layer.cycles).name,
        total.luts,
        total.bram18,
        design.part.luts,
        design.part.bram18,
        layers,
        {implementation: design.depths(implementation) for implementation in get_args(Implementation)},
    )


def _layer(connected: Dataflow, layer: Layer) -> LayerReport:
    cost, deepest = layer.resources(), 0
    for stream in connected.inputs_of(layer):
        before = stream.source
        while before is not None:
            passing = connected.layer(before.layer)
            if not isinstance(passing, StreamingFIFO | StreamingDataWidthConverter):
                break
            cost += passing.resources()
            deepest = max(deepest, passing.depth if isinstance(passing, StreamingFIFO) else 0)
            before = connected.inputs_of(passing)[0].source
    weights = layer.weights.size * int(layer.weight_type.bitwidth()) if isinstance(layer, MVAU | VVAU) else 0
    steps = layer.steps if isinstance(layer, Thresholding) else 0
    thresholds = layer.thresholds.size * int(layer.threshold_type.bitwidth()) if isinstance(layer, Thresholding) else 0
    pe, simd = layer.folding.pe, layer.folding.simd
    counts = (layer.cycles, layer.finn_cycles, weights, steps, thresholds, deepest, cost.luts, cost.bram18)
    return LayerReport(layer.name, layer.op, pe, simd, *counts)
