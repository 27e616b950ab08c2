"""Writes exports/NAME.EXPORTER.onnx: the networks of torch_networks.py by both of PyTorch's exporters, without weights.

In an environment of its own:

    pip install torch==2.13.0 torchvision==0.28.0 onnxscript==0.7.2
    python examples/corpus/export.py            # all that are not there yet; or name some
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import onnx
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.corpus.structure import strip
from examples.corpus.torch_networks import NETWORKS

FOLDER = Path(__file__).parent / "exports"
EXPORTERS = {"torchscript": False, "dynamo": True}


def export(name: str, dynamo: bool) -> onnx.ModelProto:
    build, inputs = NETWORKS[name]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(build().eval(), inputs(), path, dynamo=dynamo, optimize=True, verbose=False)
        return onnx.load(path)


def main() -> None:
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator that no exporter knows
    torch.set_num_threads(1)
    for name in sys.argv[1:] or NETWORKS:
        for exporter, dynamo in EXPORTERS.items():
            path = FOLDER / f"{name}.{exporter}.onnx"
            if path.exists():
                continue
            start = time.process_time()
            path.write_bytes(strip(export(name, dynamo)).SerializeToString())
            print(f"{path.name}: {path.stat().st_size:,} bytes, {time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
