"""What C simulation needs from outside, and small designs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hls_backend import Folding, lower
from hls_backend.design import Design
from hls_backend.hls import headers
from hls_backend.layers import MVAU, ConvolutionInputGenerator, FMPadding
from hls_backend.parts import part
from hls_backend.vectors import from_images
from passes.errors import UserError
from tests.hls_backend.graphs import Net

Designer = Callable[[bool], Design]


@pytest.fixture(scope="session")
def ap_int() -> Path:
    """The folder of ap_int.h; a compiler is there."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    try:
        return headers.ap_int()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def hlslib() -> Path | None:
    """finn-hlslib itself, to run the same tests on it, where GRAPHOPS_HLSLIB names its folder; else our templates."""
    return Path(os.environ["GRAPHOPS_HLSLIB"]) if "GRAPHOPS_HLSLIB" in os.environ else None


@pytest.fixture(scope="session")
def the_block() -> Designer:
    """A small residual block of 1-bit weights and 2-bit activations, with its skip or without."""

    def make(skip: bool) -> Design:
        net = Net((4, 6, 6))
        x = net.quant("x", 0.25, 2)
        y = net.quant(net.node("Relu", net.batchnorm(net.conv(x, 4, 4, bits=1, pads=[1] * 4), 4)), 0.5, 2)
        y = net.batchnorm(net.conv(y, 4, 4, bits=1, pads=[1] * 4), 4)
        if skip:
            y = net.node("Add", net.quant(y, 0.25, 4, signed=True), x)
        model = net.model(net.quant(net.node("Relu", y), 0.5, 2))
        chosen = part("xc7z020")
        dataflow = lower(model, "resblock").dataflow
        wide = (FMPadding, ConvolutionInputGenerator, MVAU)
        dataflow = dataflow.fold({n.name: Folding(simd=2) for n in dataflow.layers if isinstance(n, wide)})
        vectors = from_images(dataflow, net.images(5), "noise")
        return Design(dataflow, chosen, 100, None, "finn-plus", vectors)

    return make
