"""How deep a skip's FIFO must be: what is computed, beside what our RTL needs in Verilator, cycle by cycle.

    python -m examples.benchmarks.fifos
    python -m examples.benchmarks.fifos --only "3x3 3x3" "5x5"

Each case is one block: a fork, convolutions and pools, a skip, a join. It is compiled once, with a FIFO for all of the
skip's pixels; then the FIFO holds fewer and fewer (see stream_fifo.sv). Depths are in pixels of the join.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from examples import script
from graphops.cli.common import ScreenWatch
from hls_backend import Dataflow, End, Folding, Layer, Stream, rtl, run
from hls_backend.datatypes import least, named
from hls_backend.design import Design, Measured, Vectors
from hls_backend.fifo import fifo_of
from hls_backend.layers import (
    MVAU,
    AddStreams,
    ConvolutionInputGenerator,
    DuplicateStreams,
    FMPadding,
    Pool,
    Thresholding,
)
from hls_backend.parts import part
from hls_backend.simulate import Prepared, Stopped, prepare

FRAMES = 6
UINT2, BIPOLAR = named("UINT2"), named("BIPOLAR")


@dataclass(frozen=True)
class Step:
    """A layer of the main path: a convolution and its thresholds, or a max pool; padded by half its kernel."""

    kernel: int
    stride: int = 1
    pool: bool = False
    pe: int = 2
    simd: int = 4

    @property
    def folding(self) -> Folding:
        return Folding(self.pe, self.simd)


@dataclass(frozen=True)
class Case:
    """A block.

    Attributes:
        name: what it is.
        steps: of the main path.
        width: rows and columns of the image.
        projection: a strided skip is a 1x1 convolution; else it leaves out pixels.
        lanes: elements that fork and join pass at once.
        channels: everywhere.
    """

    name: str
    steps: tuple[Step, ...]
    width: int = 8
    projection: bool = False
    lanes: int = 4
    channels: int = 4

    @property
    def stride(self) -> int:
        return prod(step.stride for step in self.steps)

    @property
    def formula(self) -> int:
        """Pixels of the join that the skip is ahead by (see hls_backend/README.md), and one for each layer."""
        further, scale = 0, 1
        for step in self.steps:
            further += (step.kernel - 1 - (step.kernel - 1) // 2) * scale
            scale *= step.stride
        columns = self.width // self.stride
        rows, between = divmod(further, self.stride)
        ahead = (rows + 1) * columns if between else rows * (columns + 1)
        return ahead + len(self.steps)


@dataclass(frozen=True)
class Row:
    """What came out, depths in pixels of the join.

    Attributes:
        case: its name.
        alive: the least depth that does not stop for good.
        full: the least depth with which frames come as often as with room for all pixels.
        formula: `Case.formula`.
        computed: `hls_backend.fifo.depths`, as `Design` takes them.
        cycles: of the slowest layer.
        interval: cycles a frame with room for all pixels.
        computed_interval: with the depth computed.
    """

    case: str
    alive: float
    full: float
    formula: int
    computed: float
    cycles: int
    interval: float
    computed_interval: float


C3, C5, C7, C1 = Step(3), Step(5), Step(7), Step(1)
MAX2, MAX3 = Step(2, 2, pool=True), Step(3, pool=True)
HALF = Step(3, 2)


CASES = (
    Case("3x3", (C3,)),
    Case("3x3 3x3", (C3,) * 2),
    Case("3x3 3x3 3x3", (C3,) * 3),
    Case("3x3 3x3 3x3 3x3", (C3,) * 4),
    Case("3x3 3x3, 16 wide", (C3,) * 2, 16),
    Case("1x1", (C1,)),
    Case("1x1, a pixel a cycle", (Step(1, pe=4),)),
    Case("1x1 1x1 1x1, a pixel a cycle", (Step(1, pe=4),) * 3, 16),
    Case("1x1 3x3 1x1", (C1, C3, C1)),
    Case("1x1 3x3 1x1, 9 cycles a pixel", (Step(1, pe=4), Step(3, pe=4, simd=36), Step(1, pe=4))),
    Case("5x5", (C5,)),
    Case("5x5 5x5", (C5,) * 2, 12),
    Case("7x7", (C7,), 12),
    Case("3x3 5x5", (C3, C5)),
    Case("3x3/2", (HALF,)),
    Case("3x3/2, 1x1/2", (HALF,), projection=True),
    Case("3x3/2 3x3", (HALF, C3)),
    Case("3x3/2 3x3, 1x1/2", (HALF, C3), projection=True),
    Case("3x3/2 3x3, 1x1/2, 9 cycles a pixel", (Step(3, 2, pe=4, simd=36), Step(3, pe=4, simd=36)), projection=True),
    Case("3x3/2 3x3, 1x1/2, 16 wide", (HALF, C3), 16, projection=True),
    Case("3x3 3x3/2", (C3, HALF)),
    Case("3x3/2 3x3 3x3", (HALF, C3, C3), 16),
    Case("5x5/2", (Step(5, 2),), 12),
    Case("3x3 max3", (C3, MAX3)),
    Case("3x3 max2/2", (C3, MAX2)),
    Case("max2/2 3x3", (MAX2, C3)),
    Case("3x3 3x3, 1 product a cycle", (Step(3, pe=1, simd=1),) * 2),
    Case("3x3 3x3, 4x9 products", (Step(3, pe=4, simd=36),) * 2),
    Case("3x3 3x3, fast then slow", (Step(3, pe=4, simd=12), Step(3, pe=1))),
    Case("3x3 3x3, slow then fast", (Step(3, pe=1), Step(3, pe=4, simd=12))),
    Case("3x3 3x3, 1 lane", (C3,) * 2, lanes=1),
    Case("3x3 3x3 3x3, 2 lanes", (C3,) * 3, lanes=2),
)


def block(case: Case) -> Dataflow:
    """The case's layers."""
    layers: list[Layer] = []
    streams: list[Stream] = []
    channels = case.channels

    def chain(layer: Layer, source: End | None, name: str = "", port: int = 0) -> End:
        layers.append(layer)
        ends = layer.inputs[port]
        streams.append(Stream(name or f"to_{layer.name}", ends.shape, ends.type, source, End(layer.name, port)))
        return End(layer.name)

    def convolution(name: str, pixels: tuple[int, int], inputs: int, folding: Folding, source: End) -> End:
        weights = np.ones((channels, inputs), np.int64)
        sums = least(0, 3 * inputs)
        source = chain(MVAU(f"{name}_mvau", pixels, weights, BIPOLAR, UINT2, sums, folding=folding), source)
        steps = np.tile([inputs // 2, inputs, 2 * inputs], (channels, 1))
        return chain(Thresholding(f"{name}_act", pixels, steps, 0, sums, UINT2, folding=Folding(folding.pe)), source)

    def window(name: str, image: tuple[int, int], step: Step, source: End) -> tuple[End, tuple[int, int]]:
        pad, simd = (step.kernel - 1) // 2, Folding(simd=channels)
        if pad:
            source = chain(FMPadding(f"{name}_pad", image, channels, UINT2, (pad,) * 4, folding=simd), source)
        padded = (image[0] + 2 * pad, image[1] + 2 * pad)
        made = ConvolutionInputGenerator(
            f"{name}_window",
            padded,
            channels,
            UINT2,
            (step.kernel, step.kernel),
            (step.stride, step.stride),
            step.pool,
            folding=simd,
        )
        return chain(made, source), made.windows

    image = (case.width, case.width)
    chain(DuplicateStreams("fork", (*image, channels), UINT2, folding=Folding(case.lanes)), None)
    main, skip, size = End("fork", 0), End("fork", 1), image
    for i, step in enumerate(case.steps):
        main, size = window(f"l{i}", size, step, main)
        if step.pool:
            kernel = (step.kernel, step.kernel)
            main = chain(Pool(f"l{i}_pool", size, channels, kernel, UINT2, folding=Folding(channels)), main)
        else:
            main = convolution(f"l{i}", size, step.kernel**2 * channels, step.folding, main)
    if case.stride > 1:
        skip, _ = window("skip", image, Step(1, case.stride), skip)
    if case.projection:
        skip = convolution("skip", size, channels, Folding(2, 4), skip)
    join = AddStreams("join", (*size, channels), (UINT2, UINT2), folding=Folding(case.lanes))
    chain(join, main, "main")
    streams.append(Stream("skip", join.inputs[1].shape, UINT2, skip, End("join", 1)))
    streams.append(Stream("out", join.outputs[0].shape, join.output_type, End("join"), None))
    return Dataflow("block", tuple(layers), tuple(streams))


def measured(case: Case, work: Path) -> Row:
    """Sweep the depth of the case's skip."""
    dataflow = block(case)
    (first,), (last,) = dataflow.inputs, dataflow.outputs
    images = np.random.default_rng(0).integers(0, 4, (FRAMES, *first.shape))
    outputs = run(dataflow, images)[last.name].reshape(-1, *last.shape)
    design = Design(dataflow, part("xc7z020"), 100, None, "finn-plus", Vectors(images, outputs, "noise"))
    computed = design.depths("rtl")
    pixel = case.channels // case.lanes
    whole = (case.width // case.stride) ** 2 * pixel
    deep = Measured({**computed, "skip": max(whole, computed.get("skip", 0))}, {}, 0, 0, 0)
    design = Design(dataflow, design.part, 100, None, "finn-plus", design.vectors, deep)
    sources = work / "rtl"
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir()
    rtl.emit(design, sources)
    bench = prepare(design, design.vectors, sources, work / "simulation")
    interval = cycles(bench, deep.depths["skip"])
    assert interval is not None, "what has room for a whole image never stops"

    def least_room(target: float) -> int:
        low, high = 0, deep.depths["skip"]
        while high - low > 1:
            middle = (low + high) // 2
            found = cycles(bench, middle)
            low, high = (low, middle) if found is not None and found <= target else (middle, high)
        return high

    alive, full = least_room(float("inf")), least_room(interval)
    given = computed.get("skip", 2)
    return Row(
        case.name,
        alive / pixel,
        full / pixel,
        case.formula,
        given / pixel,
        dataflow.cycles,
        interval,
        cycles(bench, given) or float("inf"),
    )


def cycles(bench: Prepared, room: int) -> float | None:
    """A frame, over the second half of them; None where the block stops for good."""
    try:
        ends = bench.run(rooms={fifo_of("skip"): room}).ends
    except Stopped:
        return None
    return (ends[-1] - ends[FRAMES // 2 - 1]) / (FRAMES - FRAMES // 2)


def table(rows: list[Row]) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("convolutions and pools")
    for name in ("runs from", "full from", "formula", "computed", "slowest layer", "cycles", "as computed"):
        made.add_column(name, justify="right")
    for row in rows:
        figures = (row.alive, row.full, row.formula, row.computed, row.cycles, row.interval, row.computed_interval)
        made.add_row(row.case, *(f"{figure:,.5g}" for figure in figures))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="*", choices=names, metavar="CASE", help="names of cases; default: all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    cases = [case for case in CASES if not chosen.only or case.name in chosen.only]
    rows = []
    with ScreenWatch("blocks") as watch, tempfile.TemporaryDirectory() as work:
        for i, case in enumerate(cases):
            watch.progress(i, len(cases), case.name)
            rows.append(measured(case, Path(work)))
    if chosen.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        Console(width=120).print(table(rows))


if __name__ == "__main__":
    script.run(main)
