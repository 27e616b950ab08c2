"""What FINN+ makes of a folder that `emit` wrote. Run by FINN+'s Python, in that folder; imports nothing of ours.

usage: python -I inside.py IMAGES.npy WORK PIPE

IMAGES.npy holds the input stream's integers, WORK is an empty folder. To the open file descriptor PIPE go lines of
JSON: ``{"step": words, "done": n, "of": m}`` while it works, and ``{"found": ...}`` at the end, see `look`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Progress = Callable[[str, int, int], None]


def digest(values: np.ndarray) -> str:
    """A name for an array's integers, whatever their type; "" where they are no integers."""
    whole = np.rint(values)
    if not np.array_equal(whole, values):
        return ""
    return hashlib.blake2b(whole.astype("<i8").tobytes(), digest_size=16).hexdigest()


def look(images: np.ndarray, work: Path, say: Progress) -> dict[str, Any]:
    """Execute, specialise, fold, estimate, generate code for, and connect the graph in the current folder.

    Returns:
        ``version`` of FINN+; ``tensors``: for each, its digest for each image; ``verified``: whether FINN+'s own
        verification said so; ``nodes``: name, cycles and number of generated files, or the error, of each; ``fifos``:
        depths in order; ``joints``: like ``nodes``, of width converters and FIFOs that FINN+ put in.
    """
    say("starting FINN+", 0, 0)
    os.environ["XILINX_VIVADO"] = str(work)  # it asks for this and needs no more, as far as this goes
    os.environ["FINN_BUILD_DIR"] = str(work / "code")
    (work / "code").mkdir()
    import finn.xsi

    finn.xsi.SimEngine = object  # named in annotations, and there only with Vivado
    from importlib.metadata import version

    from finn.builder import build_dataflow_steps as steps
    from finn.builder.build_dataflow_config import DataflowBuildConfig
    from qonnx.core.modelwrapper import ModelWrapper

    config = DataflowBuildConfig.construct_from(Path("dataflow_build.json").absolute())
    config.output_dir = str(work / "output")
    graph = ModelWrapper("model.onnx")
    tensors = _execute(graph, images, say)
    say("verifying, specialising and folding", 0, 0)
    model = steps.step_tidy_up(graph, config)
    reports = list(config.get_verification_output_directory().glob("verify_initial_python_*"))
    verified = bool(reports) and all("SUCCESS" in path.name for path in reports)
    for step in ("create_dataflow_partition", "specialize_layers", "apply_folding_config"):
        model = getattr(steps, f"step_{step}")(model, config)
    nodes = _generate(model, config, say)
    model, fifos = _connect(model, config)
    known = {node["name"] for node in nodes}
    joints = [node for node in _generate(model, config, say) if node["name"] not in known]
    return {
        "version": version("finn-plus"),
        "tensors": tensors,
        "verified": verified,
        "nodes": nodes,
        "fifos": fifos,
        "joints": joints,
    }


def _execute(model: Any, images: np.ndarray, say: Progress) -> dict[str, list[str]]:
    """The digests of what the graph computes in Python."""
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes

    model = model.transform(InferShapes()).transform(InferDataTypes())
    (source,) = (t.name for t in model.graph.input)
    constants = {t.name for t in model.graph.initializer}
    found: dict[str, list[str]] = {}
    for number, image in enumerate(images):
        say("executing images", number, len(images))
        values = execute_onnx(model, {source: image[None].astype(np.float32)}, return_full_exec_context=True)
        for name, value in values.items():
            if value is not None and name not in constants:
                found.setdefault(name, []).append(digest(value))
    return found


def _generate(model: Any, config: Any, say: Progress) -> list[dict[str, Any]]:
    """C++ or Verilog for each node that has none yet."""
    from finn.analysis.fpgadataflow.exp_cycles_per_layer import exp_cycles_per_layer
    from finn.transformation.fpgadataflow.prepare_ip import _codegen_single_node
    from qonnx.custom_op.registry import getCustomOp

    cycles = model.analysis(exp_cycles_per_layer)
    found = []
    for number, node in enumerate(model.graph.node):
        say("generating code", number, len(model.graph.node))
        row = {"name": node.name, "cycles": int(cycles[node.name]), "files": 0, "error": ""}
        try:
            _codegen_single_node(node, model, config._resolve_fpga_part(), config._resolve_hls_clk_period())
            folder = Path(getCustomOp(node).get_nodeattr("code_gen_dir_ipgen"))
            row["files"] = sum(path.is_file() and path.stat().st_size > 0 for path in folder.rglob("*"))
        except Exception as error:  # one node's trouble says nothing of the next
            row["error"] = f"{type(error).__name__}: {error}"
        found.append(row)
    return found


def _connect(model: Any, config: Any) -> tuple[Any, list[int]]:
    """The model with width converters and FIFOs, as FINN+'s ``step_set_fifo_depths`` puts them in, and all depths."""
    from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
    from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
    from finn.transformation.fpgadataflow.set_fifo_depths import ApplyFIFODepthsFromFile
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive
    from qonnx.custom_op.registry import getCustomOp

    for step in (InsertDWC(), InsertFIFO(create_shallow_fifos=True), SpecializeLayers(config._resolve_fpga_part())):
        model = model.transform(step)
    model = model.transform(GiveUniqueNodeNamesRecursive())
    fifos = [getCustomOp(node) for node in model.graph.node if node.op_type == "StreamingFIFO_rtl"]
    depths = [int(fifo.get_nodeattr("depth")) for fifo in fifos]
    return model.transform(ApplyFIFODepthsFromFile(Path(config.fifo_config_file))), depths


def main(images: str, work: str, pipe: str) -> None:
    with os.fdopen(int(pipe), "w") as out:

        def say(step: str, done: int, of: int) -> None:
            print(json.dumps({"step": step, "done": done, "of": of}), file=out, flush=True)

        found = look(np.load(images), Path(work), say)
        print(json.dumps({"found": found}), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
