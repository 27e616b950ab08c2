"""The folder for Vitis HLS: top, constants, test bench and its data, scripts, headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hls_backend.design import Design, Vectors
from hls_backend.hls import scripts
from hls_backend.hls.top import Top, Wire, declaration

HEADERS = ("library", "extra", "support", "simulation")
"""The folders of headers that are copied in."""

DATA = "data"
"""The folder of test data."""


def emit(design: Design, folder: Path) -> None:
    """Write what Vitis HLS, or a C++ compiler, makes of ``design``.

    top.cpp, top.hpp     the dataflow function
    parameters/          weights and thresholds
    testbench.cpp        runs it on data/
    data/                inputs and expected outputs, an image a line, and the depths of streams
    run_hls.tcl          C simulation, synthesis, cosimulation and export in Vitis HLS
    Makefile             C simulation with a C++ compiler

    Args:
        folder: exists and is empty.

    Raises:
        UserError: when a word of the design is wider than ap_int can be.
    """
    top = Top(design.connected("hls"))
    (folder / "top.hpp").write_text(top.header())
    (folder / "top.cpp").write_text(top.source())
    parameters = folder / "parameters"
    parameters.mkdir()
    for placed in top.layers:
        for name, memory in placed.memories:
            (parameters / f"{name}.hpp").write_text(declaration(name, memory))
            (parameters / f"{name}.inc").write_text(memory.initialiser())
    here = Path(__file__).parent
    for kind in HEADERS:
        (folder / kind).mkdir()
        for file in (here / kind).iterdir():  # without its permissions, which may be a read-only installation's
            (folder / kind / file.name).write_bytes(file.read_bytes())
    (folder / "support" / "testbench.cpp").rename(folder / "testbench.cpp")
    (folder / DATA).mkdir()
    write_data(folder / DATA, design.vectors, top.wires)
    (folder / "run_hls.tcl").write_text(scripts.tcl(design, top.name))
    (folder / "Makefile").write_text(scripts.makefile())


def write_data(folder: Path, vectors: Vectors, wires: list[Wire]) -> None:
    """What the test bench reads."""
    for name, array in (("inputs", vectors.inputs), ("outputs", vectors.outputs)):
        np.savetxt(folder / f"{name}.txt", array.reshape(len(array), -1), fmt="%d")
    (folder / "depths.txt").write_text("".join(f"{wire.name} {wire.depth}\n" for wire in wires))
