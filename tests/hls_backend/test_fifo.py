"""FIFO depths: what the model of self-timed execution says, beside what was measured on RTL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.benchmarks.fifos import CASES
from examples.benchmarks.fifos import block as swept
from graphops.modelfile import load_model
from hls_backend import Dataflow, End, Folding, Layer, Stream, insert_width_converters, lower, run
from hls_backend.datatypes import named
from hls_backend.design import Design, Vectors
from hls_backend.fifo import depths, insert_fifos
from hls_backend.folding import fold_to_rate
from hls_backend.layers import (
    MVAU,
    AddStreams,
    ConvolutionInputGenerator,
    DuplicateStreams,
    FMPadding,
    StreamingFIFO,
    Thresholding,
)
from hls_backend.parts import part
from hls_backend.schedule import Kind, network
from hls_backend.selftimed import Actor, Network, Reading, Writing
from hls_backend.sizing import rooms
from tests.hls_backend.graphs import Net

UINT2 = named("UINT2")


def block(convolutions: int, width: int, stride: int = 1, kernel: int = 3, channels: int = 16) -> Dataflow:
    """A skip over so many same-padded convolutions, 2 PEs of 16 each; a pixel of the skip is one transfer.

    With a stride, the first convolution has it, and the skip leaves out pixels.
    """
    pad = (kernel - 1) // 2
    size = (width, width)
    streams: list[Stream] = []
    layers: list[Layer] = []

    def chain(layer: Layer, source: End | None, name: str = "", port: int = 0) -> End:
        layers.append(layer)
        shape = layer.inputs[port].shape
        streams.append(
            Stream(name or f"to_{layer.name}", shape, layer.inputs[port].type, source, End(layer.name, port))
        )
        return End(layer.name)

    whole, two = Folding(pe=channels), Folding(pe=2)
    chain(DuplicateStreams("fork", (*size, channels), UINT2, folding=whole), None)
    main, skip = End("fork", 0), End("fork", 1)
    for i in range(convolutions):
        step = stride if i == 0 else 1
        main = chain(FMPadding(f"pad{i}", size, channels, UINT2, (pad,) * 4, folding=Folding(simd=channels)), main)
        window = ConvolutionInputGenerator(
            f"window{i}",
            (size[0] + 2 * pad, size[1] + 2 * pad),
            channels,
            UINT2,
            (kernel, kernel),
            (step, step),
            folding=Folding(simd=channels),
        )
        main, size = chain(window, main), window.windows
        weights = np.ones((channels, kernel * kernel * channels), np.int64)
        unit = MVAU(f"mvau{i}", size, weights, named("BIPOLAR"), UINT2, named("INT11"), folding=Folding(2, channels))
        main = chain(unit, main)
        steps = np.tile([1, 2, 3], (channels, 1))
        main = chain(Thresholding(f"act{i}", size, steps, 0, named("INT11"), UINT2, folding=two), main)
    if stride > 1:
        every = ConvolutionInputGenerator(
            "every", (width, width), channels, UINT2, (1, 1), (stride, stride), folding=Folding(simd=channels)
        )
        skip = chain(every, skip)
    join = AddStreams("add", (*size, channels), (UINT2, UINT2), folding=whole)
    chain(join, main, "main")
    streams.append(Stream("skip", join.inputs[1].shape, UINT2, skip, End("add", 1)))
    streams.append(Stream("out", join.outputs[0].shape, join.output_type, End("add"), None))
    return Dataflow("block", tuple(layers), tuple(streams))


MEASURED = [(2, 32, 65, 68), (1, 32, 32, 34), (2, 16, 33, 36), (1, 16, 16, 18)]
"""Convolutions, width, the deepest FIFO that stopped for good and the least with which the rate was full, in pixels;
found by sweeping the depth in Verilator on a block of one pixel a transfer, 2 PEs of 16."""


@pytest.mark.parametrize(("convolutions", "width", "dead", "full"), MEASURED)
def test_depths_are_those_measured_on_rtl(convolutions: int, width: int, dead: int, full: int) -> None:
    dataflow = block(convolutions, width)
    assert depths(insert_width_converters(dataflow), "rtl") == {"skip": full}
    assert dead == convolutions * (width + 1) - 1, "n * p * (W + 1) is the least that does not"
    model = network(dataflow, "rtl")
    period = {pixels: model.period({"skip": pixels * 16}) for pixels in (dead, dead + 1, full - 1, full)}
    assert period[dead] is None
    assert period[full] == width * width * 72
    for pixels in (dead + 1, full - 1):
        assert (period[pixels] or 0) > width * width * 72, "slower, but not for ever"


@pytest.mark.parametrize(("convolutions", "width"), [(1, 16), (2, 16), (1, 32)])
def test_windows_that_fill_rows_first_need_a_deeper_fifo(convolutions: int, width: int) -> None:
    """Padded, the first row of windows needs 2 rows of the image, and is written while a third is read."""
    joined = insert_width_converters(block(convolutions, width))
    found = depths(joined, "hls")
    assert 2 * width < found["skip"] - depths(joined, "rtl")["skip"] + convolutions * width
    assert 2 * width * convolutions < found["skip"] <= (3 * width + 8) * convolutions
    assert depths(joined, "finn") == {"skip": found["skip"]}, "as deep, whichever windows FINN takes"


@pytest.mark.parametrize("kind", ["rtl", "hls"])
def test_a_depth_is_the_least_for_its_rate(kind: Kind) -> None:
    dataflow = block(1, 8)
    model = network(dataflow, kind)
    found: dict[str, int | None] = {name: depth * 16 for name, depth in depths(dataflow, kind).items()}
    period = model.period(found)
    assert period is not None
    assert period <= 1.02 * (model.period(dict.fromkeys(model.channels)) or 0)
    assert not model.reaches(period, found | {"skip": (found["skip"] or 0) - 16})


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_other_kernels(kernel: int) -> None:
    pad = (kernel - 1) // 2
    found = depths(block(1, 12, kernel=kernel), "rtl").get("skip", 2)
    assert found == max(2, pad * (12 + 1) + 1)


@pytest.mark.parametrize("kind", ["rtl", "hls"])
def test_a_path_whose_first_pixels_are_pads_alone(kind: Kind) -> None:
    """A 1x1 kernel gives a pixel for each pad, for which nothing has to come."""
    net = Net((2, 4, 4))
    x = net.quant("x", 0.3, 4)
    wide = net.quant(net.conv(x, 2, 2, (3, 3), pads=[2] * 4), 0.3, 4, signed=True)
    narrow = net.quant(net.conv(x, 2, 2, (1, 1), pads=[1] * 4), 0.3, 4, signed=True)
    dataflow = lower(net.model(net.quant(net.node("Add", wide, narrow), 0.5, 3))).dataflow
    model = network(dataflow, kind)
    assert model.period() is None
    assert model.reaches((model.period(dict.fromkeys(model.channels)) or 0) * 1.02, dict(rooms(dataflow, kind)))


def test_a_skip_that_leaves_out_pixels_waits_in_the_window_that_does() -> None:
    """Behind it a FIFO is left with what the window has no room for; at stride 1 it holds all."""
    assert "skip" not in depths(block(1, 16, stride=2), "rtl")
    plain, strided = (depths(block(2, 16, stride=stride), "rtl")["skip"] for stride in (1, 2))
    assert 16 // 2 <= strided < plain // 2
    model = network(block(2, 16, stride=2), "rtl")
    assert model.period({"skip": strided * 16}) == model.period(dict.fromkeys(model.channels))


SWEPT = {
    "3x3": (9, 10),
    "3x3 3x3": (18, 20),
    "3x3 3x3 3x3": (27, 31),
    "3x3 3x3 3x3 3x3": (36, 41),
    "3x3 3x3, 16 wide": (34, 36),
    "1x1": (1, 6),
    "1x1, a pixel a cycle": (1, 8),
    "1x1 1x1 1x1, a pixel a cycle": (1, 22),
    "1x1 3x3 1x1": (9, 11),
    "1x1 3x3 1x1, 9 cycles a pixel": (9, 12),
    "5x5": (18, 19),
    "5x5 5x5": (52, 54),
    "7x7": (39, 40),
    "3x3 5x5": (27, 28),
    "3x3/2": (1, 1),
    "3x3/2, 1x1/2": (1, 1),
    "3x3/2 3x3": (3, 7),
    "3x3/2 3x3, 1x1/2": (1, 2),
    "3x3/2 3x3, 1x1/2, 9 cycles a pixel": (1, 4),
    "3x3/2 3x3, 1x1/2, 16 wide": (2, 6),
    "3x3 3x3/2": (1, 2),
    "3x3/2 3x3 3x3": (15, 21),
    "5x5/2": (5, 5),
    "3x3 max3": (18, 20),
    "3x3 max2/2": (1, 1),
    "max2/2 3x3": (3, 5),
    "3x3 3x3, 4x9 products": (18, 21),
    "3x3 3x3, fast then slow": (18, 19),
    "3x3 3x3, slow then fast": (18, 19),
    "3x3 3x3, 1 lane": (18.75, 21.25),
    "3x3 3x3 3x3, 2 lanes": (27.5, 31),
}
"""By `examples.benchmarks.fifos`, in Verilator: the least pixels that do not stop for good, and for the full rate."""


@pytest.mark.parametrize("name", list(SWEPT))
def test_depths_are_what_rtl_needs_or_little_more(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    nothing = Vectors(np.zeros(0), np.zeros(0))
    design = Design(swept(case), part("xc7z020"), 100, None, "finn-plus", nothing)
    alive, full = SWEPT[name]
    computed = design.depths("rtl")["skip"] * case.lanes / case.channels
    assert alive <= full <= computed <= full + 5


def network_with_skips() -> Dataflow:
    """A skip over two convolutions, one of which has a skip of its own, and a projection beside a pooled path."""
    net = Net((4, 8, 8))
    x = net.quant("x", 0.25, 3)
    y = net.quant(net.conv(x, 4, 4, pads=[1] * 4), 0.25, 3, signed=True)
    y = net.quant(net.node("Add", y, x), 0.25, 4, signed=True)
    z = net.quant(net.conv(y, 4, 4, pads=[1] * 4), 0.25, 4, signed=True)
    z = net.quant(net.node("Relu", net.node("Add", z, y)), 0.25, 3)
    pooled = net.quant(net.node("MaxPool", z, kernel_shape=[2, 2], strides=[2, 2]), 0.25, 3)
    main = net.quant(net.conv(pooled, 4, 6, pads=[1] * 4), 0.25, 4, signed=True)
    side = net.quant(net.conv(z, 4, 6, (1, 1), strides=[2, 2]), 0.25, 4, signed=True)
    return lower(net.model(net.quant(net.node("Add", main, side), 0.25, 3))).dataflow


@pytest.mark.parametrize(("kind", "nearly"), [("rtl", 1.01), ("hls", 1.15)])
@pytest.mark.parametrize("folded", [False, True])
def test_every_join_of_a_network_runs_at_full_rate(kind: Kind, nearly: float, folded: bool) -> None:
    """Or near it, where windows of a small image fill rows first."""
    dataflow = network_with_skips()
    if folded:
        units = [n for n in dataflow.layers if isinstance(n, MVAU)]
        dataflow = dataflow.fold({n.name: Folding(pe=2, simd=n.mw // 2) for n in units})
    joined = insert_width_converters(dataflow)
    found = depths(joined, kind)
    joins = [n for n in joined.layers if isinstance(n, AddStreams)]
    assert len(joins) == 3
    assert all(any(s.name in found for s in joined.inputs_of(join)) for join in joins)
    full = network(joined, kind)
    with_fifos = network(insert_fifos(joined, found), kind)
    target = full.period(dict.fromkeys(full.channels))
    assert target is not None
    assert with_fifos.reaches(round(target * nearly), {})
    assert full.period() is None, "and without them it stops"


def test_fifos_change_nothing_but_the_room() -> None:
    dataflow = insert_width_converters(network_with_skips())
    found = depths(dataflow, "rtl")
    deep = insert_fifos(dataflow, found)
    fifos = {n.name: n for n in deep.layers if isinstance(n, StreamingFIFO)}
    assert {name: fifo.depth for name, fifo in fifos.items()} == {f"{n}_fifo": depth for n, depth in found.items()}
    for stream in deep.streams:
        source, target = deep.source_port(stream), deep.target_port(stream)
        assert source is None or target is None or source.lanes == target.lanes
    images = np.random.default_rng(0).integers(0, 8, (2, *dataflow.inputs[0].shape))
    (expected,), (given,) = run(dataflow, images).values(), run(deep, images).values()
    np.testing.assert_array_equal(given, expected)
    assert [s.tensor for s in deep.outputs] == [s.tensor for s in dataflow.outputs]


def test_shallow_streams_get_no_fifo() -> None:
    dataflow = block(1, 8)
    assert insert_fifos(dataflow, {"skip": 2, "main": 1}).layers == dataflow.layers


def test_fifos_are_sized_once() -> None:
    dataflow = block(1, 8)
    with pytest.raises(ValueError, match="has FIFOs already"):
        depths(insert_fifos(dataflow, {"skip": 20}), "rtl")


def test_self_timed_execution_of_two_actors() -> None:
    """One makes an element every 2 cycles; the other takes three at a time and 10 cycles for them."""
    ones, threes = np.arange(1, 13), np.arange(3, 13, 3)
    first = Actor("first", 12, 2, (), (Writing("between", ones),))
    second = Actor("second", 4, 10, (Reading("between", threes, threes, 1),))
    endless = Network((first, second)).run(2, {"between": None})
    assert endless is not None
    assert endless[0] == [2 * k for k in range(1, 25)]
    assert endless[1] == [max(7 if k == 0 else 0, 10 * (k + 1)) for k in range(8)]
    assert Network((first, second)).most(endless, "between") == 24 - 3 * 4
    tight = Network((first, second), {"between": 3}).run(1)
    assert tight is not None
    assert tight[1] == [10, 20, 30, 40]
    assert tight[0][3:6] == [10, 12, 14], "room comes when the reader is through"


def test_what_needs_more_than_can_come_stops() -> None:
    """The second path gives nothing before five of the first are there, and the first holds three."""
    counts = np.arange(1, 11)
    late = np.minimum(counts + 4, 10)
    source = Actor("source", 10, 1, (), (Writing("a", counts), Writing("b", counts)))
    wait = Actor("wait", 10, 1, (Reading("b", late, counts),), (Writing("c", counts),))
    join = Actor("join", 10, 1, (Reading("a", counts, counts), Reading("c", counts, counts)))
    model = Network((source, wait, join), {"a": 3, "b": 5})
    assert model.run(1) is None
    assert model.ahead("a") == 5
    assert model.run(1, {"a": 5}) is not None


def test_strided_skips_of_a_network_keep_the_pace_of_layers_that_have_no_cycles_to_spare() -> None:
    models = Path(__file__).parents[2] / "examples" / "models"
    lowered = lower(load_model(models / "cifar10-resnet8-w2a2.onnx"))
    dataflow = insert_width_converters(fold_to_rate(lowered.dataflow, 300, 100, part("xczu7ev")))
    assert network(dataflow, "rtl").period(rooms(dataflow, "rtl")) == dataflow.cycles
