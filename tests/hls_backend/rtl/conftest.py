"""Designs that become RTL."""

from __future__ import annotations

import numpy as np
import pytest

from hls_backend import Dataflow, Folding, lower, run
from hls_backend.design import Design, Vectors
from hls_backend.folding import fold_to
from hls_backend.layers import AddStreams, ConvolutionInputGenerator, DuplicateStreams, FMPadding
from hls_backend.parts import part
from tests.hls_backend.graphs import Net


def designed(dataflow: Dataflow, frames: int = 4) -> Design:
    (first,), (last,) = dataflow.inputs, dataflow.outputs
    inputs = np.random.default_rng(0).integers(0, 4, (frames, *first.shape))
    outputs = run(dataflow, inputs)[last.name].reshape(-1, *last.shape)
    return Design(dataflow, part("xc7z020"), 100.0, None, "finn-plus", Vectors(inputs, outputs, "noise"))


@pytest.fixture(scope="session")
def residual() -> Design:
    """A residual block over one convolution of 4 channels, its layers folded differently."""
    net = Net((4, 8, 8))
    x = net.quant("x", 0.25, 2)
    y = net.quant(net.conv(x, 4, 4, bits=1, pads=[1] * 4), 0.25, 4, signed=True)
    dataflow = lower(net.model(net.quant(net.node("Relu", net.node("Add", y, x)), 0.5, 2))).dataflow
    wide = (AddStreams, DuplicateStreams)
    pixelwise = (ConvolutionInputGenerator, FMPadding)
    foldings = {n.name: Folding(pe=4) for n in dataflow.layers if isinstance(n, wide)}
    foldings |= {n.name: Folding(simd=4) for n in dataflow.layers if isinstance(n, pixelwise)}
    foldings |= {n.name: Folding(1, 6) for n in dataflow.layers if n.op == "MVAU"}
    return designed(dataflow.fold(foldings))


@pytest.fixture(scope="session")
def dense() -> Design:
    """A 1x1 convolution and its quantiser."""
    net = Net((4, 4, 4))
    y = net.conv(net.quant("x", 0.25, 2), 4, 4, (1, 1), bits=2)
    return designed(lower(net.model(net.quant(net.node("Relu", y), 0.5, 2))).dataflow)


@pytest.fixture(scope="session")
def two_blocks() -> Design:
    """A block whose skip spans two convolutions, then one whose shortcut is a 1x1 convolution at stride 2."""
    net = Net((4, 8, 8))
    x = net.quant("x", 0.25, 2)
    y = net.quant(net.node("Relu", net.conv(x, 4, 4, bits=1, pads=[1] * 4)), 0.25, 2)
    y = net.quant(net.conv(y, 4, 4, bits=1, pads=[1] * 4), 0.25, 4, signed=True)
    x = net.quant(net.node("Relu", net.node("Add", y, x)), 0.25, 2)
    y = net.quant(net.node("Relu", net.conv(x, 4, 6, bits=1, pads=[1] * 4, strides=[2, 2])), 0.25, 2)
    y = net.quant(net.conv(y, 6, 6, bits=1, pads=[1] * 4), 0.25, 4, signed=True)
    side = net.quant(net.conv(x, 4, 6, (1, 1), bits=1, strides=[2, 2]), 0.25, 4, signed=True)
    graph = net.model(net.quant(net.node("Relu", net.node("Add", y, side)), 0.25, 2))
    return designed(fold_to(lower(graph).dataflow, 1200))
