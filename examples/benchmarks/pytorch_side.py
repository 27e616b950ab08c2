"""PyTorch's half of the training benchmark: runs in an environment of its own and works on command over pipes.

    python pytorch_side.py FOLDER THREADS

FOLDER holds network.json (the nodes of an ONNX graph), weights.npz and batch.npz. Each line on standard input is a
command as JSON, each line on standard output its answer. It needs torch and numpy, and nothing of graphops.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Network(torch.nn.Module):
    """The nodes of an ONNX graph, one PyTorch operator each; ReLU works in place where nobody else reads its input."""

    def __init__(self, network: dict[str, Any], weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.input, self.output = network["input"], network["output"]
        self._keys = {name: name.replace(".", "/") for name in weights}  # PyTorch allows no dots
        for name, array in weights.items():
            tensor = torch.from_numpy(array.copy())
            if name in network["trained"]:
                self.register_parameter(self._keys[name], torch.nn.Parameter(tensor))
            else:
                self.register_buffer(self._keys[name], tensor)
        self._readers = Counter(i for node in network["nodes"] for i in node["inputs"])
        self._calls = [(self._call(node), node["inputs"], node["outputs"][0]) for node in network["nodes"]]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = {self.input: images}
        for call, inputs, output in self._calls:
            arguments = [values[i] if i in values else getattr(self, self._keys[i]) for i in inputs]
            values[output] = call(*arguments)
        return values[self.output]

    def _call(self, node: dict[str, Any]) -> Callable[..., torch.Tensor]:
        given = node["attributes"]
        simple: dict[str, Callable[..., torch.Tensor]] = {
            "Add": torch.add,
            "Relu": lambda x: F.relu(x, inplace=self._readers[node["inputs"][0]] == 1),
            "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1),
            "Flatten": lambda x: torch.flatten(x, 1),
            "Gemm": lambda x, w, b=None: F.linear(x, w if given.get("transB") else w.T, b),
        }
        if node["op"] in simple:
            return simple[node["op"]]
        if node["op"] == "Conv":
            top, left, bottom, right = given.get("pads", [0] * 4)
            if (top, left) != (bottom, right):
                raise SystemExit(f"Conv {node['outputs'][0]} pads one side more than the other.")
            options = {"stride": given.get("strides", 1), "padding": (top, left)}
            options |= {"dilation": given.get("dilations", 1), "groups": given.get("group", 1)}
            return lambda x, w, b=None: F.conv2d(x, w, b, **options)
        if node["op"] == "BatchNormalization":
            share, epsilon = 1 - given.get("momentum", 0.9), given.get("epsilon", 1e-5)
            return lambda x, s, b, m, v: F.batch_norm(x, m, v, s, b, self.training, share, epsilon)
        if node["op"] == "Slice":
            constants = [getattr(self, self._keys[i]).tolist() for i in node["inputs"][1:]]
            return lambda x, *_: _slice(x, *constants)
        if node["op"] == "Pad":
            pads = getattr(self, self._keys[node["inputs"][1]]).tolist()
            pairs = [p for axis in reversed(range(len(pads) // 2)) for p in (pads[axis], pads[axis + len(pads) // 2])]
            return lambda x, *_: F.pad(x, pairs)
        raise SystemExit(f"The PyTorch side knows no {node['op']}.")


def _slice(x: torch.Tensor, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> torch.Tensor:
    chosen = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen[axis] = slice(start, end, step)
    return x[tuple(chosen)]


class Clock:
    """Seconds that passed, and that all threads of this process worked."""

    def __init__(self) -> None:
        self._begun, self._worked = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._begun, "cpu_seconds": time.process_time() - self._worked}


class Side:
    """A network in one memory layout and its optimizer."""

    def __init__(self, folder: Path, layout: str) -> None:
        network = json.loads((folder / "network.json").read_text())
        with np.load(folder / "weights.npz", allow_pickle=False) as weights:
            self.model = Network(network, dict(weights)).to(memory_format=LAYOUTS[layout])
        with np.load(folder / "batch.npz", allow_pickle=False) as batch:
            self.images = torch.from_numpy(batch["images"]).contiguous(memory_format=LAYOUTS[layout])
            self.labels = torch.from_numpy(batch["labels"])
        options = network["optimizer"]
        self.clip = options.pop("clip_norm")
        self.optimizer = torch.optim.SGD(self.model.parameters(), **options)

    def train(self, steps: int) -> dict[str, Any]:
        self.model.train()
        losses, clock = [], Clock()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(self.model(self.images), self.labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
            losses.append(loss.item())
        return {**clock.read(), "losses": losses}

    def infer(self, steps: int) -> dict[str, Any]:
        self.model.eval()
        clock = Clock()
        with torch.inference_mode():
            for _ in range(steps):
                self.model(self.images)
        return clock.read()


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    sides = {layout: Side(folder, layout) for layout in LAYOUTS}
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "renew":  # the weights that the folder holds
            sides[command["layout"]] = Side(folder, command["layout"])
            answer: dict[str, Any] = {}
        else:
            answer = getattr(sides[command["layout"]], command["do"])(command["steps"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
