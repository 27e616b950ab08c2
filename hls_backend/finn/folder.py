"""What FINN goes on from: a folder with the hardware-layer graph, its settings and test vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hls_backend.dataflow import Dataflow, Flavour
from hls_backend.design import Design
from hls_backend.finn import settings
from hls_backend.finn.graph import for_finn, hardware_graph, node_names

MODEL, BUILD = "model.onnx", "dataflow_build.json"

_VECTORS = 4
"""So many images go along for FINN to verify itself with: its RTL simulation takes minutes for one."""

_BUILD_SCRIPT = '''"""Build the accelerator with FINN: run this inside FINN's container, in this folder."""

from pathlib import Path

from finn.builder.build_dataflow import build_dataflow_cfg
from finn.builder.build_dataflow_config import DataflowBuildConfig

config = DataflowBuildConfig.from_json(Path("dataflow_build.json").read_text())
raise SystemExit(build_dataflow_cfg("model.onnx", config))
'''

_README = """# {name} for {finn}

| file | what it is |
| --- | --- |
| `model.onnx` | the network as FINN's hardware layers: integers in float32 tensors [1, rows, columns, channels] |
| `specialize.json` | HLS or RTL for each node |
| `folding.json` | PE and SIMD of each node, and the depths of the FIFOs around it |
{fifo_row}| `dataflow_build.json` | the build's configuration: {device}, {clock:g} MHz |
| `input.npy`, `output.npy` | {count} images ({origin}) as integers, and what must come out |

The graph is quantised, streamlined and mapped already, so the build's steps begin at tidying up. Go on with:

    {command}

in this folder. It needs Vivado and Vitis HLS.

{status}

| node | layer |
| --- | --- |
{nodes}
"""

_STATUS = {
    "finn-plus": "`graphops finn check` runs these files through FINN+ 1.6.1 as far as that goes without Vivado.",
    "finn-main": "These files follow FINN's sources (main, commit 39f0c9a). `graphops finn check` does not run them: "
    "FINN is no package. Its Python, from those sources, has executed two such graphs (a residual block, a ResNet8 "
    "without skips) to the same integers and generated code for each node; nothing has been built with Vivado.",
}


def emit(design: Design, folder: Path) -> None:
    """Write what FINN goes on from into ``folder``, which exists and is empty.

    Raises:
        OSError: when a file cannot be written.
    """
    dataflow = for_finn(design.dataflow, design.flavour)
    device = design.part.device
    onnx.save(hardware_graph(dataflow, design.flavour), folder / MODEL)
    _write_json(folder / "specialize.json", settings.specialize(dataflow, design.flavour, device))
    _write_json(folder / "folding.json", settings.folding(dataflow, design.flavour, device))
    if design.flavour == "finn-plus":
        _write_json(folder / "fifo.json", settings.fifos(dataflow))
    else:
        (folder / "build.py").write_text(_BUILD_SCRIPT)
    _write_json(folder / BUILD, settings.build(design))
    np.save(folder / "input.npy", design.vectors.inputs[:_VECTORS].astype(np.float32))
    np.save(folder / "output.npy", design.vectors.outputs[:_VECTORS].astype(np.float32))
    (folder / "README.md").write_text(_readme(design, dataflow))


def _readme(design: Design, dataflow: Dataflow) -> str:
    flavour: Flavour = design.flavour
    names = node_names(dataflow, flavour)
    is_plus = flavour == "finn-plus"
    return _README.format(
        name=dataflow.name,
        finn="FINN+" if is_plus else "FINN",
        fifo_row="| `fifo.json` | the depth of each FIFO, by the name FINN+ gives it |\n" if is_plus else "",
        device=design.part.device,
        clock=design.clock_mhz,
        count=len(design.vectors.inputs[:_VECTORS]),
        origin=design.vectors.origin or "of the build's test vectors",
        command="finn build dataflow_build.json model.onnx" if is_plus else "python build.py",
        status=_STATUS[flavour],
        nodes="\n".join(f"| `{names[layer.name]}` | `{layer.name}` |" for layer in dataflow.layers),
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    """One line for each of the object's members, so that a node is a line."""
    lines = [f" {json.dumps(name)}: {json.dumps(member)}" for name, member in value.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
