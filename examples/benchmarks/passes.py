"""How long finding and removing skip connections takes, and how much memory.

    python -m examples.benchmarks.passes --nodes 1000 10000 50000 --rounds 5 --tools-python tools/bin/python

Every graph is run beside what onnx-graphsurgeon needs to import and export it, and beside what other tools need to do
as much to it as they can: onnxslim, onnxsim, onnxoptimizer and the onnxscript rewriter, in an environment of theirs.
Times are processor seconds, on which other work on the machine has less influence. Memory is the peak of a process of
its own that reads the model from a file, does the one thing and writes the result.
"""

from __future__ import annotations

import argparse
import gc
import math
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs

from examples.benchmarks.networks import residual, transformer
from examples.benchmarks.tool import TOOLS
from passes import GateSkips, RemoveSkips, ShortenSkips, find_skips

Task = Callable[[onnx.ModelProto], onnx.ModelProto | None]


def graphsurgeon(model: onnx.ModelProto) -> onnx.ModelProto:
    return gs.export_onnx(gs.import_onnx(model))


def find(model: onnx.ModelProto) -> None:
    find_skips(model)


def remove(model: onnx.ModelProto) -> onnx.ModelProto:
    return RemoveSkips().apply(model).model


def rewire(model: onnx.ModelProto) -> onnx.ModelProto:
    """Passes that only rewire, one after the other."""
    find_skips(model)
    for rewriter in (GateSkips(), ShortenSkips(), RemoveSkips(stage=1), RemoveSkips()):
        model = rewriter.apply(model).model
    return model


TASKS: dict[str, Task] = {"graphsurgeon": graphsurgeon, "find": find, "remove": remove}


def seconds(task: Task, model: onnx.ModelProto) -> float:
    gc.collect()
    start = time.process_time()
    task(model)
    return time.process_time() - start


def peak(task: str, path: Path) -> float:
    """Megabytes of a process that only does ``task`` on the file at ``path``."""
    command = [sys.executable, "-m", "examples.benchmarks.passes", "--task", task, "--model", str(path)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def alone(task: str, path: Path) -> None:
    """What `peak` runs."""
    model = onnx.load_model(path, load_external_data=False)
    if task != "nothing":
        result = {**TASKS, "rewire": rewire}[task](model)
        if result is not None:
            path.with_suffix(".result.onnx").write_bytes(result.SerializeToString())
    print(high_water())


def high_water() -> float:
    """This process's peak in megabytes; Linux counts in `getrusage` what the process that started it had, too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1000, 10_000, 50_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tools-python", type=Path, help="a Python with onnxslim, onnxsim, onnxoptimizer, onnxscript")
    parser.add_argument("--limit", type=int, default=300, help="processor seconds after which another tool is stopped")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        alone(options.task, options.model)
        return
    print(
        "| nodes | joins | graphsurgeon s | find s | remove all s | (find + remove) / graphsurgeon | peak MB of each |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        ours: dict[int, float] = {}
        for nodes in options.nodes:
            line, ours[nodes] = row(nodes, options.rounds, path)
            print(line, flush=True)
        if options.tools_python is None:
            print(f"\nBeside {', '.join(TOOLS)}: not measured, as --tools-python names no Python that has them.")
        else:
            beside(ours, options.tools_python, options.limit, path)
        model = transformer()
        path.write_bytes(model.SerializeToString())
        parameters = sum(math.prod(i.dims) for i in model.graph.initializer)
        print(f"\nA transformer of {parameters / 1e9:.2f} billion parameters, its data file not there: peak")
        print(f"{peak('rewire', path):.0f} MB to gate, shorten and remove its {len(find_skips(model))} skips,", end=" ")
        print(f"{peak('nothing', path):.0f} MB to read it and do nothing.")


def beside(ours: dict[int, float], python: Path, limit: int, path: Path) -> None:
    """A table of what other tools take, the time of ours (find and remove) given by number of nodes."""
    print("\n| nodes | find + remove s |", " | ".join(f"{tool} s" for tool in TOOLS), "|")
    print("| --- | --- |", " | ".join("---" for _ in TOOLS), "|")
    for nodes, own in ours.items():
        path.write_bytes(residual(nodes).SerializeToString())
        cells = [by_tool(tool, python, limit, path) for tool in TOOLS]
        print("|", " | ".join([f"{nodes:,}", f"{own:.3f}", *cells]), "|", flush=True)


def by_tool(tool: str, python: Path, limit: int, path: Path) -> str:
    """Processor seconds of another tool, or why there are none."""
    command = [str(python), str(Path(__file__).with_name("tool.py")), tool, str(path), str(limit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"stopped after {limit} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it crashed"])[-1]
        return "not there" if "ModuleNotFoundError" in last else f"fails: {last[:60]}"
    return f"{float(done.stdout.split()[-1]):.3f}"


def row(nodes: int, rounds: int, path: Path) -> tuple[str, float]:
    """Medians of ``rounds`` rounds in which the tasks take turns; and the seconds of find and remove."""
    model = residual(nodes)
    times: dict[str, list[float]] = {name: [] for name in TASKS}
    for _ in range(rounds):
        for name, task in TASKS.items():
            times[name].append(seconds(task, model))
    theirs, found, removed = (statistics.median(times[name]) for name in TASKS)
    path.write_bytes(model.SerializeToString())
    peaks = " ".join(f"{peak(name, path):.0f}" for name in TASKS)
    figures = [f"{theirs:.3f}", f"{found:.3f}", f"{removed:.3f}", f"{(found + removed) / theirs:.2f}", peaks]
    return "| " + " | ".join([f"{nodes:,}", f"{nodes // 5:,}", *figures]) + " |", found + removed


if __name__ == "__main__":
    main()
