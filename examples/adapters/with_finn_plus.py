"""FINN+ builds a network from which two steps, found by their dotted names, take the skips.

No Xilinx tool is needed as far as the estimates. The one line for that is `finn.xsi.SimEngine = object`, and
XILINX_VIVADO may name any folder.
"""

# ruff: noqa: E402  (the environment comes before FINN+)

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory()
os.environ |= {"XILINX_VIVADO": FOLDER.name, "FINN_BUILD_DIR": FOLDER.name, "HOME": FOLDER.name}

import finn.xsi

finn.xsi.SimEngine = object

import numpy as np
import onnx
import with_passes
import yaml
from finn.builder.build_dataflow import build_dataflow_cfg
from finn.builder.build_dataflow_config import DataflowBuildConfig, estimate_only_dataflow_steps
from network import image, joins, residual, run
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from passes import RemoveSkips

# FINN+ finds this module beside the configuration.
STEPS = """
from passes import RemoveSkips
from passes.adapters.finn import as_step

remove_first = as_step(RemoveSkips(skips=("1",)), "remove_first")
"""
FORK_AND_JOIN = ("DuplicateStreams", "ElementwiseAdd")  # what FINN+ makes of a skip


def main() -> None:
    with_passes.check()
    folder = Path(FOLDER.name)
    (folder / "my_steps.py").write_text(STEPS)
    sys.path.append(str(folder))  # as FINN+'s command line does
    model = residual(bits=4, blocks=((4, 1), (4, 1)), head=False)
    onnx.save(model, folder / "model.onnx")

    steps = estimate_only_dataflow_steps
    hardware = steps.index("step_convert_to_hw") + 1
    before = build(folder, "before", steps[:hardware])
    after = build(folder, "after", ["my_steps.remove_first", "passes.adapters.finn.step_remove_skips", *steps])

    assert [skips(before["step_convert_to_hw"]), skips(after["step_convert_to_hw"])] == [4, 0]
    left = [joins(model), joins(after["remove_first"]), joins(after["step_remove_skips"])]
    assert left == [2, 1, 0], left
    with_passes.same(after["step_remove_skips"], model, RemoveSkips(), in_runtime=False)
    expected = run(RemoveSkips().apply(model).model, image())
    layers = ModelWrapper(after["step_convert_to_hw"])
    (made,) = execute_onnx(layers, {layers.graph.input[0].name: image()}).values()
    np.testing.assert_array_equal(made, expected)
    cycles = json.loads((folder / "after/report/estimate_network_performance.json").read_text())["max_cycles"]
    print(
        f"FINN+: joins {left[0]} before, {left[1]} after my_steps.remove_first, {left[2]} after step_remove_skips; no "
        f"{' and no '.join(FORK_AND_JOIN)} (4 before); its hardware layers compute what the pass alone gives, to the "
        f"bit; it estimates {cycles} cycles a frame"
    )


def build(folder: Path, name: str, steps: list[str]) -> dict[str, onnx.ModelProto]:
    """Run FINN+'s builder; the model after each step, by the step's name."""
    config = {
        "output_dir": str(folder / name),
        "synth_clk_period_ns": 10.0,
        "fpga_part": "xc7z020clg400-1",
        "target_fps": 1000,
        "generate_outputs": ["estimate_reports"],
        "steps": steps,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    try:
        code = build_dataflow_cfg(folder / "model.onnx", DataflowBuildConfig.construct_from(folder / f"{name}.yaml"))
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # the builder keeps them
    assert code == 0, (folder / name / "build_dataflow.log").read_text()
    return {path.stem: onnx.load(path) for path in (folder / name / "intermediate_models").glob("*.onnx")}


def skips(model: onnx.ModelProto) -> int:
    return sum(node.op_type.startswith(FORK_AND_JOIN) for node in model.graph.node)


if __name__ == "__main__":
    with FOLDER:
        main()
