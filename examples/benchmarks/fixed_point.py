"""What a 16-bit fixed-point network would cost on the same layers and foldings, by the backend's own formulas.

    python -m examples.benchmarks.fixed_point examples/models/cifar10-nonresnet20.onnx --target-fps 1000

For 2 and 8 bits the network is quantised, lowered and folded. For 16 bits, which `lower` does not take, the foldings
are those of 2 bits, and what depends on the width is counted anew: weight and line memories by `hls_backend.resources`,
products as a DSP48 each, accumulators by the sums' lengths, and thresholds as they would be.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from math import ceil, log2
from pathlib import Path
from typing import Any

import onnx

from examples import script
from examples.benchmarks.lowering import MODEL, quantised
from hls_backend import Dataflow, Resources, lower
from hls_backend.datatypes import named
from hls_backend.folding import cost, fold_to
from hls_backend.layers import MVAU, ConvolutionInputGenerator, Thresholding
from hls_backend.resources import product, rom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=MODEL, help="a float network for CIFAR's images")
    parser.add_argument("--target-fps", type=float, default=1000, help="images a second")
    parser.add_argument("--clock-mhz", type=float, default=100, help="the clock in MHz")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    model = onnx.load(chosen.model)
    budget = int(chosen.clock_mhz * 1e6 / chosen.target_fps)
    folded = {bits: fold_to(lower(quantised(model, bits, bits)).dataflow, budget) for bits in (2, 8)}
    found = {str(bits): _costs(dataflow, bits) for bits, dataflow in folded.items()}
    found["16"] = _costs(folded[2], 16)
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    for name in found["16"]:
        print(f"{name:42}" + "".join(f"{found[bits][name]!s:>14}" for bits in found))


def _costs(dataflow: Dataflow, bits: int) -> dict[str, Any]:
    matrices = [n for n in dataflow.layers if isinstance(n, MVAU)]
    thresholds = [n for n in dataflow.layers if isinstance(n, Thresholding)]
    windows = [n for n in dataflow.layers if isinstance(n, ConvolutionInputGenerator)]
    products = sum(n.folding.pe * n.folding.simd for n in matrices)
    weights = sum((_weights(n, bits) for n in matrices), Resources())
    lines = sum((_lines(n, bits) for n in windows), Resources())
    if bits == 16:
        widest = max(2 * bits - 1 + ceil(log2(n.mw)) for n in matrices)
        steps = sum(n.channels for n in thresholds) * (2**bits - 1)
        held, logic, total = steps * widest, "-", "-"
    else:
        widest = max(int(n.output_type.bitwidth()) for n in matrices)
        held = sum(n.thresholds.size * int(n.threshold_type.bitwidth()) for n in thresholds)
        logic = f"{sum(n.resources().luts for n in thresholds):,}"
        whole = cost(dataflow)
        total = f"{whole.luts:,} / {whole.bram18}"
    return {
        "bits": bits,
        "products a cycle": products,
        "LUTs of the products, without DSPs": f"{products * product(bits, bits):,}",
        "BRAM18 of the weights": weights.bram18,
        "BRAM18 of the line buffers": lines.bram18,
        "bits of the widest accumulator": widest,
        "kbit of thresholds": f"{held / 1000:,.0f}",
        "LUTs of thresholding": logic,
        "LUTs / BRAM18 in all": total,
    }


def _weights(layer: MVAU, bits: int) -> Resources:
    pe, simd = layer.folding.pe, layer.folding.simd
    return rom((layer.mh // pe) * (layer.mw // simd), pe * simd * bits)


def _lines(layer: ConvolutionInputGenerator, bits: int) -> Resources:
    return replace(layer, type=named(f"UINT{bits}")).resources()


if __name__ == "__main__":
    script.run(main)
