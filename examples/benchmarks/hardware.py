"""What it takes to get from a quantised graph to hardware: export, simulation and synthesis, and what comes of it.

    python -m examples.benchmarks.hardware
    python -m examples.benchmarks.hardware --network examples/models/cifar10-nonresnet20-w2a2.onnx --target-fps 339

Without a network it is the block of ``examples/table2``, with its skip, at 64 multiplications a cycle. Simulation runs
on random integers; every output is compared with the integer dataflow's. Compiling the simulation and running it are
timed apart. Times are by the clock and by CPU time of all processes; of several rounds, medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

import onnx

from examples import script
from examples.table2.blocks import block
from graphops.modelfile import load_model
from hls_backend import lower, rtl
from hls_backend import vectors as test_data
from hls_backend.comparison import summarise
from hls_backend.design import Design
from hls_backend.folding import fold_to_rate
from hls_backend.parts import part
from hls_backend.simulate import prepare
from hls_backend.synthesize import FAMILIES, place_ecp5, synthesize

CLOCK_MHZ = 100.0
Found = TypeVar("Found")
Times = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, help="a quantised graph; default: the block of Table II")
    parser.add_argument("--target-fps", type=float, default=1350, help=f"images a second at {CLOCK_MHZ:g} MHz")
    parser.add_argument("--frames", type=int, default=4, help="to simulate")
    parser.add_argument("--part", default="xczu7ev", help="that it must fit into")
    parser.add_argument("--family", choices=FAMILIES, default="xcup", help="to synthesise for")
    parser.add_argument("--skip-synthesis", action="store_true", help="only export and simulate")
    parser.add_argument("--place", choices=["ecp5"], help="for a frequency")
    parser.add_argument("--rounds", type=int, default=1, help="from nothing, each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    model = load_model(chosen.network) if chosen.network else block(skip=True)
    rounds = [_round(model, chosen) for _ in range(chosen.rounds)]
    times = {
        step: {clock: median(taken[step][clock] for taken, _ in rounds) for clock in rounds[0][0][step]}
        for step in rounds[0][0]
    }
    _, found = rounds[-1]
    frame = {clock: spent / chosen.frames for clock, spent in times["simulate"].items()}
    total = {clock: sum(spent[clock] for spent in times.values()) for clock in frame}
    if chosen.json:
        print(json.dumps({"steps": times, "total": total, "simulated frame": frame, **found}, indent=2))
        return
    for name, spent in {**times, "total": total, "simulated frame": frame}.items():
        print(f"{name:16} {spent['seconds']:8.1f} s {spent['cpu_seconds']:8.1f} s of CPU time")
    for name, value in found.items():
        print(f"{name:32} {value:,.4g}" if isinstance(value, float) else f"{name:32} {value:,}")


def _round(model: onnx.ModelProto, chosen: argparse.Namespace) -> tuple[Times, dict[str, float]]:
    """Each step's times, and what came of them."""
    times: Times = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        design = _timed(times, "export", lambda: _export(model, chosen, folder))
        prepared = _timed(
            times, "compile", lambda: prepare(design, design.vectors, folder / "rtl", folder / "simulation")
        )
        seen = _timed(times, "simulate", prepared.run)
        cycles = design.dataflow.cycles
        found: dict[str, float] = {"cycles of the slowest layer": cycles, "words that differ": seen.errors}
        if seen.interval:
            found |= {"cycles a frame": seen.interval, "of the slowest layer's": seen.interval / cycles}
        if not chosen.skip_synthesis:
            counted = _timed(times, "synthesise", lambda: synthesize(design, chosen.family, folder / "synthesis"))
            found |= {k: v for k, v in summarise("", design, counted).figures.items() if k != "images/s"}
        if chosen.place:
            placed = _timed(times, "place and route", lambda: place_ecp5(folder / "rtl", folder / "synthesis"))
            found["MHz on ECP5"] = placed.mhz
    return times, found


def _export(model: onnx.ModelProto, chosen: argparse.Namespace, folder: Path) -> Design:
    device = part(chosen.part)
    dataflow = fold_to_rate(lower(model).dataflow, chosen.target_fps, CLOCK_MHZ, device)
    data = test_data.random(dataflow, chosen.frames)
    design = Design(dataflow, device, CLOCK_MHZ, chosen.target_fps, "finn-plus", data)
    (folder / "rtl").mkdir()
    rtl.emit(design, folder / "rtl")
    return design


def _timed(times: Times, step: str, work: Callable[[], Found]) -> Found:
    """What ``work`` returns; its times, those of the processes that it started included, go into ``times``."""
    start, cpu = time.perf_counter(), _cpu_seconds()
    found = work()
    times[step] = {"seconds": time.perf_counter() - start, "cpu_seconds": _cpu_seconds() - cpu}
    return found


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    script.run(main)
