"""Images a second of graphops' trainer and of PyTorch eager, alternating in one run, on the same network and batch.

    python -m examples.benchmarks.training                    # makes an environment with PyTorch in the user's cache
    python -m examples.benchmarks.training --torch-python venv/bin/python --json
    python -m examples.benchmarks.training --profile          # where a step of ours goes; no PyTorch

A step is: forward, cross-entropy, gradients, clipping by norm, Nesterov SGD with weight decay, on a batch in memory.
PyTorch runs the same operators from the same ONNX weights; it normalises over the whole batch, graphops over each
core's share. First one worker of graphops and PyTorch train a few steps, and their losses must agree.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from examples import script
from graphops.inference import session
from graphops.models import build
from graphops.training import TrainOptions, optimizers, runtime
from graphops.training.engine import Engine, usable_cores
from graphops.training.loss import LABELS, Loss, add_loss
from graphops.training.prepare import Prepared, prepare

TORCH = "2.13.0"
LAYOUTS = ("contiguous", "channels_last")
LEARNING_RATE = 0.01
AGREES = (1e-5, 1e-3, 1e-2)  # relative differences of the first losses: later ones hold the kinks of ReLU


class Clock:
    """Seconds that passed, and that all threads of this process worked."""

    def __init__(self) -> None:
        self._begun, self._worked = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._begun, "cpu_seconds": time.process_time() - self._worked}


class Ours:
    """The trainer's step on one batch."""

    def __init__(self, prepared: Prepared, batch: dict[str, np.ndarray], workers: int) -> None:
        self.options, self.batch, self.done = TrainOptions(), batch, 0
        graph = add_loss(prepared.model, prepared.logits, Loss())
        feeds = {name: (array.dtype, array.shape[1:]) for name, array in batch.items()}
        size, classes = len(batch[LABELS]), int(batch[LABELS].max()) + 1
        self.engine = Engine(graph, prepared.logits, prepared.roles, feeds, classes, size, workers)
        self.optimizer = optimizers.make(self.options, self.engine.layout.size)

    def train(self, steps: int) -> dict[str, Any]:
        losses, clock = [], Clock()
        for _ in range(steps):
            result = self.engine.step(self.batch)
            optimizers.clip(result.gradient, self.options.clip_norm)
            self.optimizer.update(self.engine.parameters, result.gradient, LEARNING_RATE, self.done)
            self.done += 1
            losses.append(result.terms["loss"])
        return {**clock.read(), "losses": losses}


class PyTorch:
    """The process of ``pytorch_side.py``."""

    def __init__(self, python: Path, folder: Path, threads: int) -> None:
        command = [str(python), str(Path(__file__).with_name("pytorch_side.py")), str(folder), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._answer()["torch"]

    def ask(self, do: str, layout: str, steps: int = 0) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, "layout": layout, "steps": steps}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The PyTorch process ended; what it said stands above.")
        return json.loads(line)


def write_network(folder: Path, model: onnx.ModelProto, prepared: Prepared, batch: dict[str, np.ndarray]) -> None:
    """What the PyTorch side reads: nodes as JSON, weights and the batch as plain arrays."""
    options = TrainOptions()
    nodes = [
        {
            "op": node.op_type,
            "inputs": list(node.input),
            "outputs": list(node.output),
            "attributes": {a.name: helper.get_attribute_value(a) for a in node.attribute},
        }
        for node in model.graph.node
    ]
    optimizer = {"lr": LEARNING_RATE, "momentum": options.momentum, "nesterov": options.nesterov}
    optimizer |= {"weight_decay": options.weight_decay, "clip_norm": options.clip_norm}
    network = {"input": prepared.input, "output": prepared.logits, "nodes": nodes, "optimizer": optimizer}
    network["trained"] = list(prepared.roles.trained)
    (folder / "network.json").write_text(json.dumps(network, default=lambda b: b.decode()))
    np.savez(folder / "weights.npz", **{i.name: numpy_helper.to_array(i) for i in model.graph.initializer})
    np.savez(folder / "batch.npz", images=batch[prepared.input], labels=batch[LABELS])


def check(prepared: Prepared, batch: dict[str, np.ndarray], torch: PyTorch) -> list[float]:
    """The relative differences between the losses of the first steps, ours with one worker; they must be small."""
    ours = Ours(prepared, batch, workers=1).train(len(AGREES))["losses"]
    theirs = torch.ask("train", "contiguous", len(AGREES))["losses"]
    torch.ask("renew", "contiguous")
    found = [abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)]
    if not all(difference <= limit for difference, limit in zip(found, AGREES, strict=True)):
        raise SystemExit(f"The two do not compute the same: losses {ours} and {theirs}.")
    return found


def measure(ours: Ours, model: onnx.ModelProto, torch: PyTorch, rounds: int, steps: int) -> dict[str, dict[str, Any]]:
    """Images a second of each, medians over the rounds, in which they take turns; the first round warms up."""
    running = session(model)
    (images,) = (array for name, array in ours.batch.items() if name != LABELS)
    name = running.get_inputs()[0].name

    def infer(count: int) -> dict[str, Any]:
        clock = Clock()
        for _ in range(count):
            running.run(None, {name: images})
        return clock.read()

    found: dict[str, dict[str, Any]] = {}
    for what, own in (("train", ours.train), ("infer", infer)):
        turns = {"graphops": own} | {la: lambda n, la=la, do=what: torch.ask(do, la, n) for la in LAYOUTS}
        times: dict[str, list[dict[str, float]]] = {who: [] for who in turns}
        for turn in range(rounds + 1):
            for who, work in turns.items():
                answer = work(steps)
                if turn:
                    times[who].append({name: answer[name] / steps for name in ("seconds", "cpu_seconds")})
        found[what] = {
            "images_per_second": {who: len(images) / median(t["seconds"] for t in times[who]) for who in times},
            "ratio_to_channels_last": _ratio(times, "seconds"),
            "ratio_by_cpu_time": _ratio(times, "cpu_seconds"),
            "rounds": times,
        }
    return found


def _ratio(times: dict[str, list[dict[str, float]]], clock: str) -> float:
    """How many times as fast as PyTorch channels_last, the median over the rounds."""
    return median(b[clock] / a[clock] for a, b in zip(times["graphops"], times["channels_last"], strict=True))


def profile(ours: Ours, steps: int) -> list[tuple[str, float]]:
    """Operators of one worker's session and their share of its time, the largest first.

    Of each node the fastest of the steps counts: what else the machine does falls on some of them.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = runtime.session_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "step"))
        running = onnxruntime.InferenceSession(ours.engine.model.SerializeToString(), options)
        values = {**ours.engine.values(), **ours.batch}
        feeds = {i.name: values[i.name] for i in running.get_inputs()}
        for _ in range(steps):
            running.run(None, feeds)
        events = json.loads(Path(running.end_profiling()).read_text())
    fastest: dict[tuple[str, str], int] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = (event["args"]["op_name"], event["name"])
            fastest[node] = min(event["dur"], fastest.get(node, event["dur"]))
    times: Counter[str] = Counter()
    for (operator, _), spent in fastest.items():
        times[operator] += spent
    return [(name, spent / sum(times.values())) for name, spent in times.most_common()]


@contextlib.contextmanager
def started(arguments: argparse.Namespace, folder: Path, cores: int) -> Iterator[PyTorch]:
    torch = PyTorch(arguments.torch_python or environment(), folder, cores)
    try:
        yield torch
    finally:
        torch.close()


def environment() -> Path:
    """The interpreter of an environment with PyTorch in the user's cache, made when it is not there."""
    import pooch

    folder = Path(pooch.os_cache("graphops")) / f"torch-{TORCH}"
    python, done = folder / "bin" / "python", folder / "done"
    if not done.exists():
        print(f"Making an environment with PyTorch {TORCH} in {folder} (once).", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"torch=={TORCH}", "numpy"], check=True)
        done.touch()
    return python


def show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("images/s, medians")
    for column in ("graphops", *LAYOUTS, "graphops / channels_last", "by CPU time"):
        table.add_column(column, justify="right")
    for what, name in (("train", "training"), ("infer", "inference")):
        speeds = found[what]["images_per_second"]
        ratios = [found[what][name] for name in ("ratio_to_channels_last", "ratio_by_cpu_time")]
        table.add_row(name, *(f"{speeds[who]:,.0f}" for who in ("graphops", *LAYOUTS)), *(f"{r:.2f}" for r in ratios))
    screen = Console()
    screen.print(table)
    screen.print(f"PyTorch {found['torch']}, batch {found['batch']}, {found['cores']} cores, load {found['load']:.1f}.")
    screen.print(f"First losses differ by {', '.join(f'{d:.1e}' for d in found['loss_differences'])} of their value.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an ONNX classifier; default: a ResNet20 for CIFAR-10")
    parser.add_argument("--batch", type=int, default=128, help="images a step")
    parser.add_argument("--rounds", type=int, default=9, help="turns that are counted")
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    parser.add_argument("--cores", type=int, default=usable_cores(), help="cores that each side may use")
    parser.add_argument("--torch-python", type=Path, help=f"an interpreter with torch {TORCH} and numpy")
    parser.add_argument("--profile", action="store_true", help="print where our step goes instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    model = onnx.load(arguments.model) if arguments.model else build("resnet20")
    prepared = prepare(model)
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    generator = np.random.default_rng(0)
    images = generator.standard_normal((arguments.batch, *dims)).astype(np.float32)
    classes = session(model).run(None, {prepared.input: images[:1]})[0].shape[1]
    labels = np.arange(arguments.batch, dtype=np.int64) % classes
    batch = {prepared.input: images, LABELS: labels}
    ours = Ours(prepared, batch, arguments.cores)
    if arguments.profile:
        shares = profile(ours, arguments.steps)
        lines = "\n".join(f"{share:6.1%}  {name}" for name, share in shares)
        print(json.dumps(dict(shares)) if arguments.json else lines)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_network(Path(folder), model, prepared, batch)
        with started(arguments, Path(folder), arguments.cores) as torch:
            found: dict[str, Any] = {"torch": torch.version, "batch": arguments.batch, "cores": arguments.cores}
            found |= {"load": os.getloadavg()[0], "loss_differences": check(prepared, batch, torch)}
            found |= measure(ours, model, torch, arguments.rounds, arguments.steps)
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    script.run(main)
