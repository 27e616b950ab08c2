"""What it takes to lower a quantised network and to fold it to a rate, in a process of its own for each.

    python -m examples.benchmarks.lowering examples/models/cifar10-nonresnet20.onnx --weights 2 --acts 2

The network is quantised on ranges measured on random images. Printed: seconds by the clock and of CPU time, and the
peak memory of the process, of which so much had been there before the work began (Python, numpy, onnx, the graph).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from examples import script
from examples.benchmarks.passes import high_water
from graphops.calibrate import calibrated
from graphops.data import DataSet, Split
from graphops.data.normalisation import by_name
from hls_backend import lower
from hls_backend.design import Design
from hls_backend.folding import fold_to_rate
from hls_backend.parts import part
from hls_backend.report import report
from hls_backend.vectors import random
from passes import Quantize

MODEL = Path(__file__).parents[1] / "models" / "cifar10-nonresnet20.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=MODEL, help="a float network for CIFAR's images")
    parser.add_argument("--weights", type=int, default=2, help="bits of weights")
    parser.add_argument("--acts", type=int, default=2, help="bits of activations")
    parser.add_argument("--target-fps", type=float, default=1000, help="images a second")
    parser.add_argument("--clock-mhz", type=float, default=100, help="the clock in MHz")
    parser.add_argument("--part", default="xc7z020", help="the part to fit into")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    model = quantised(onnx.load(chosen.model), chosen.weights, chosen.acts)
    found = {}
    for name, work in {"lowering": _lower, "lowering, folding and FIFO depths": _fold}.items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(work, (model.SerializeToString(), vars(chosen)))
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{chosen.model.stem}, {chosen.weights}-bit weights, {chosen.acts}-bit activations:")
    for name, cost in found.items():
        print(
            f"  {name}: {cost['seconds']:.1f} s ({cost['cpu_seconds']:.1f} s of CPU time), "
            f"peak {cost['peak_mb']:,.0f} MB, {cost['before_mb']:,.0f} MB before"
        )
        if "design" in cost:
            print(f"  {cost['design']}")


def quantised(model: onnx.ModelProto, weights: int, acts: int) -> onnx.ModelProto:
    """``model`` with quantisers, its ranges measured on random images of CIFAR's size."""
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), np.uint8)
    split = Split(images, np.arange(10))
    data = DataSet("noise", split, split, tuple("0123456789"), by_name("cifar10"))
    return calibrated(Quantize(weights=weights, acts=acts), model, data).apply(model).model


def _lower(model: bytes, _: dict[str, Any]) -> dict[str, Any]:
    loaded = onnx.load_from_string(model)
    return _measured(lambda: lower(loaded))


def _fold(model: bytes, options: dict[str, Any]) -> dict[str, Any]:
    loaded = onnx.load_from_string(model)
    designs: list[Design] = []

    def work() -> None:
        chosen = part(options["part"])
        dataflow = fold_to_rate(lower(loaded).dataflow, options["target_fps"], options["clock_mhz"], chosen)
        designs.append(
            Design(dataflow, chosen, options["clock_mhz"], options["target_fps"], "finn-plus", random(dataflow, 1))
        )
        designs[0].connected("rtl")

    cost = _measured(work)
    found = report(designs[0])
    cost["design"] = (
        f"{found.fps:,.0f} images/s at {found.clock_mhz:g} MHz, estimated {found.luts:,} of {found.part_luts:,} LUTs "
        f"and {found.bram18} of {found.part_bram18} BRAM18"
    )
    return cost


def _measured(work: Any) -> dict[str, Any]:
    before, start, cpu = high_water(), time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": high_water(),
        "before_mb": before,
    }


if __name__ == "__main__":
    script.run(main)
