"""Whole designs run at the pace of their slowest layer, to one per cent: all of them in one simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from hls_backend import Dataflow, Folding, lower, pads
from hls_backend.datatypes import named
from hls_backend.design import Design, Vectors
from hls_backend.fifo import depths, insert_fifos
from hls_backend.folding import fold_to
from hls_backend.layers import FMPadding
from hls_backend.parts import part
from hls_backend.widths import insert_width_converters
from tests.hls_backend.graphs import Net
from tests.hls_backend.rtl.bench import Seen, simulate_designs
from tests.hls_backend.rtl.test_modules import needs_verilator


def act(net: Net, x: str, bits: int = 2) -> str:
    return net.quant(net.node("Relu", x), 0.5, bits)


def two_convolutions(net: Net, x: str) -> str:
    y = act(net, net.conv(x, 4, 4, bits=1, pads=[1] * 4))
    return act(net, net.conv(y, 4, 4, bits=1, pads=[1] * 4))


def skip_over_two(net: Net, x: str) -> str:
    y = act(net, net.conv(x, 4, 4, bits=1, pads=[1] * 4))
    y = net.quant(net.conv(y, 4, 4, bits=1, pads=[1] * 4), 0.25, 4, signed=True)
    return act(net, net.node("Add", y, x))


def strided_with_a_shortcut(net: Net, x: str) -> str:
    y = act(net, net.conv(x, 4, 8, bits=1, pads=[1] * 4, strides=[2, 2]))
    y = net.quant(net.conv(y, 8, 8, bits=1, pads=[1] * 4), 0.25, 4, signed=True)
    short = net.quant(net.conv(x, 4, 8, (1, 1), bits=1, strides=[2, 2]), 0.25, 4, signed=True)
    return act(net, net.node("Add", y, short))


def wide_kernel_over_a_stride(net: Net, x: str) -> str:
    y = act(net, net.conv(x, 4, 4, (5, 5), bits=1, pads=[2] * 4, strides=[2, 2]))
    return act(net, net.conv(y, 4, 4, (1, 1), bits=2))


def depthwise(net: Net, x: str) -> str:
    y = act(net, net.conv(x, 4, 4, bits=2, groups=4, pads=[1] * 4))
    return act(net, net.conv(y, 4, 8, (1, 1), bits=2))


def pooled(net: Net, x: str) -> str:
    y = act(net, net.conv(x, 4, 4, bits=1, pads=[1] * 4))
    y = net.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    return act(net, net.conv(y, 4, 4, bits=1, pads=[1] * 4))


def folded(build: Callable[[Net, str], str], budget: int, narrow: bool = False) -> Dataflow:
    """At its cheapest, or with paddings that pass one integer at a time."""
    net = Net((4, 8, 8))
    found = fold_to(lower(net.model(build(net, net.quant("x", 0.25, 2)))).dataflow, budget)
    return found.fold({n.name: Folding() for n in found.layers if narrow and isinstance(n, FMPadding)})


FOLDED = {
    "two": folded(two_convolutions, 1152),
    "two_fast": folded(two_convolutions, 600),
    "two_narrow": folded(two_convolutions, 1152, narrow=True),
    "skip_narrow": folded(skip_over_two, 1152, narrow=True),
    "shortcut": folded(strided_with_a_shortcut, 600),
    "shortcut_narrow": folded(strided_with_a_shortcut, 600, narrow=True),
    "wide_kernel": folded(wide_kernel_over_a_stride, 1600),
    "depthwise": folded(depthwise, 600),
    "pooled_narrow": folded(pooled, 1200, narrow=True),
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    nothing = Vectors(np.zeros(0), np.zeros(0))
    designs = {
        n: Design(d, part("xc7z020"), 100.0, None, "finn-plus", nothing).connected("rtl") for n, d in FOLDED.items()
    }
    joined = insert_width_converters(FOLDED["shortcut_narrow"])
    designs["bare"] = insert_fifos(joined, dict.fromkeys(depths(joined, "rtl"), 200))
    return simulate_designs(designs, tmp_path_factory.mktemp("designs"))


@needs_verilator
@pytest.mark.parametrize("name", list(FOLDED))
def test_a_frame_takes_the_cycles_of_the_slowest_layer(name: str, simulated: dict[str, Seen]) -> None:
    seen = simulated[name]
    assert not seen.stuck
    assert seen.errors == 0, seen.difference
    assert median(seen.intervals) <= 1.01 * FOLDED[name].cycles


@needs_verilator
def test_without_a_fifo_before_its_padding_a_design_is_slower(simulated: dict[str, Seen]) -> None:
    """However deep the FIFO at its join is."""
    assert simulated["bare"].errors == 0
    assert median(simulated["bare"].intervals) > 1.05 * FOLDED["shortcut_narrow"].cycles


def test_paddings_behind_a_matrix_get_a_fifo_where_they_are_slow() -> None:
    for name, dataflow in FOLDED.items():
        assert len(pads.waiting(insert_width_converters(dataflow))) == name.endswith("_narrow"), name


def test_a_fifo_before_a_padding_holds_what_comes_while_it_pads() -> None:
    """8x8 pixels of 4 channels, one a cycle: 22 pads of 4 cycles lie between two images, 2 between two rows."""
    padding = FMPadding("pad", (8, 8), 4, named("UINT2"), (1, 1, 1, 1))
    assert pads.depth(padding, 1024) == 22, "one comes every 4 cycles"
    assert pads.depth(padding, 256 * 30) == 0, "registers hold the two that come"
    assert pads.depth(replace(padding, folding=Folding(simd=4)), 1024) == 0
    uneven = FMPadding("pad", (4, 6), 4, named("UINT2"), (1, 0, 2, 1))
    assert pads.depth(uneven, 384) == 22, "3 rows of 7 pixels and a column"
