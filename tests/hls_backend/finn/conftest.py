"""Designs that tests hand to FINN."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hls_backend import Dataflow, Folding, lower
from hls_backend.dataflow import Flavour
from hls_backend.design import Design, Vectors
from hls_backend.execute import run
from hls_backend.host import prepare
from hls_backend.parts import part
from tests.hls_backend.test_lower import block

Designer = Callable[..., Design]


def designed(dataflow: Dataflow, inputs: np.ndarray, flavour: Flavour) -> Design:
    outputs = run(dataflow, inputs)[dataflow.outputs[0].name]
    return Design(dataflow, part("xc7z020"), 100.0, None, flavour, Vectors(inputs, outputs, "noise"))


@pytest.fixture(scope="session")
def the_block() -> Designer:
    """The seed's residual block, folded so that some streams need a width converter."""

    def make(skip: bool = True, flavour: Flavour = "finn-plus", images: int = 6) -> Design:
        net, model = block(skip, 1, 2)
        dataflow = lower(model).dataflow
        values = prepare(dataflow, net.images(images))
        widest = {n.name: Folding(pe=2, simd=16) for n in dataflow.layers if n.op == "MVAU"}
        widest |= {n.name: Folding(simd=8) for n in dataflow.layers if n.op == "ConvolutionInputGenerator"}
        return designed(dataflow.fold(widest), values, flavour)

    return make
