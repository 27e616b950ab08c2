"""Designs that tests hand to FINN."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hls_backend import Dataflow, Folding, lower
from hls_backend.dataflow import Flavour
from hls_backend.design import Design, Vectors
from hls_backend.execute import run
from hls_backend.finn.environment import PINS, Environment, find
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


@pytest.fixture(scope="session")
def one_bit_block() -> Design:
    """The block with activations of 0 and 1."""
    net, model = block(True, 1, 1)
    dataflow = lower(model).dataflow
    return designed(dataflow, prepare(dataflow, net.images(3)), "finn-plus")


@pytest.fixture
def an_environment(tmp_path: Path) -> Environment:
    """What looks like FINN+'s environment, and holds none of it."""
    folder = tmp_path / "environment"
    packages = folder / "lib" / "python3.11" / "site-packages"
    for name, version in PINS.items():
        info = packages / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    return Environment(folder)


@pytest.fixture(scope="session")
def finn_plus() -> Environment:
    """The real one."""
    place = os.environ.get("GRAPHOPS_FINN")
    if not place:
        pytest.skip("GRAPHOPS_FINN names no environment with FINN+; `graphops finn setup` makes one")
    return find(Path(place))
