"""Olive finds a pass among its surgeons, by name, from Python and from its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"

import onnx
import with_passes
from network import joins, residual
from olive.workflows import run as run_olive

import passes.adapters.olive
from passes import RemoveSkips


def main() -> None:
    with_passes.check()
    model = residual()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "model.onnx")
        run_olive(config(folder, "python"))
        check(folder / "python" / "model.onnx", model, "from Python")

        (folder / "config.json").write_text(json.dumps(config(folder, "shell")))
        command = [sys.executable, "-m", "passes.adapters.olive", "run", "--config", str(folder / "config.json")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        check(folder / "shell" / "model.onnx", model, "from the shell")


def config(folder: Path, output: str) -> dict[str, object]:
    """What Olive is to do; it edits the dictionary that it is given."""
    surgeries = [{"surgeon": "RemoveSkips", "stage": 1}, {"surgeon": "RemoveSkips", "skips": ["3"]}]
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(folder / "model.onnx")},
        "passes": {"surgery": {"type": "GraphSurgeries", "surgeries": surgeries}},
        "output_dir": str(folder / output),
        "cache_dir": str(folder / f"{output} cache"),
        "log_severity_level": 3,
    }


def check(path: Path, model: onnx.ModelProto, how: str) -> None:
    made = onnx.load(path)
    assert (joins(model), joins(made)) == (3, 1), (joins(model), joins(made))
    with_passes.same(made, model, RemoveSkips(skips=("1", "3")), in_runtime=True)
    print(f"Olive {how}: {joins(model)} joins before, {joins(made)} after, outputs as of the pass alone")


if __name__ == "__main__":
    assert set(passes.adapters.olive.surgeons) == set(passes.registry)
    main()
