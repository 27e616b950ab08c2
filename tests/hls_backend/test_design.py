"""A design connects its layers for whoever builds them."""

from __future__ import annotations

import numpy as np
import pytest

from hls_backend import Dataflow, Folding, lower, run
from hls_backend.design import Design, Implementation, Vectors
from hls_backend.layers import AddStreams, StreamingDataWidthConverter, StreamingFIFO
from hls_backend.parts import part
from tests.hls_backend.graphs import Net


def block() -> Dataflow:
    """A residual block over one convolution."""
    net = Net((4, 6, 6))
    x = net.quant("x", 0.25, 2)
    y = net.quant(net.conv(x, 4, 4, bits=2, pads=[1] * 4), 0.25, 4, signed=True)
    return lower(net.model(net.quant(net.node("Relu", net.node("Add", y, x)), 0.5, 2))).dataflow


@pytest.mark.parametrize("implementation", ["rtl", "hls", "finn"])
def test_connected_streams_have_equal_ends_and_the_same_function(implementation: Implementation) -> None:
    plain = block()
    add = next(n for n in plain.layers if isinstance(n, AddStreams))
    folded = plain.fold({add.name: Folding(pe=4)})
    images = np.random.default_rng(0).integers(0, 4, (3, *plain.inputs[0].shape))
    (expected,) = run(plain, images).values()
    design = Design(folded, part("xc7z020"), 100, None, "finn-plus", Vectors(images, expected))
    connected = design.connected(implementation)
    for stream in connected.streams:
        source, target = connected.source_port(stream), connected.target_port(stream)
        assert source is None or target is None or source.lanes == target.lanes
    kinds = {type(n) for n in connected.layers}
    assert {StreamingDataWidthConverter, StreamingFIFO} <= kinds
    (found,) = run(connected, images).values()
    np.testing.assert_array_equal(found, expected)


def test_the_frame_rate_is_the_clock_by_the_slowest_layer() -> None:
    dataflow = block()
    empty = np.zeros((0, 1, 1, 1))
    design = Design(dataflow, part("xc7z020"), 100, 3000, "finn-plus", Vectors(empty, empty))
    assert design.fps == 100e6 / max(n.cycles for n in dataflow.layers)
