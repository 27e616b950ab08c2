"""How fast the block of Table II runs on Lattice ECP5 after place and route: with its skip and without, and with
thresholds of every form.

    python -m examples.benchmarks.frequency --out runs/frequency
    python -m examples.benchmarks.frequency --out runs/frequency --weight-bits 4 --act-bits 4 --foldings 2700

Few thresholds are all compared with at once, many are searched, or divided by where they are an equal step apart. A
design that divides has a second row, with thresholds at random places. Run it again after a stop, and it goes on where
it was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from examples import script
from examples.table2.blocks import block
from examples.table2.measure import CLOCK_MHZ, DEVICE, as_folded
from graphops.cli.common import ScreenWatch
from graphops.files import write_json
from hls_backend import Dataflow, lower, rtl
from hls_backend import vectors as test_data
from hls_backend.design import Design
from hls_backend.folding import fold_to_rate
from hls_backend.layers import Thresholding
from hls_backend.parts import part
from hls_backend.synthesize import SEEDS, Placement, place_ecp5


def scattered(dataflow: Dataflow) -> Dataflow:
    """``dataflow`` with thresholds at random places, other ones in each channel."""
    random = np.random.default_rng(0)

    def moved(layer: Thresholding) -> Thresholding:
        low, high = int(layer.input_type.min()), int(layer.input_type.max())
        places = [random.choice(np.arange(low, high + 1), layer.steps, replace=False) for _ in layer.thresholds]
        return replace(layer, thresholds=np.sort(places, axis=1), progression=None)

    layers = tuple(moved(layer) if isinstance(layer, Thresholding) else layer for layer in dataflow.layers)
    return replace(dataflow, layers=layers)


def forms(dataflow: Dataflow) -> str:
    """How its thresholds are compared, each once."""
    return ", ".join(sorted({layer.form for layer in dataflow.layers if isinstance(layer, Thresholding)}))


def placed(dataflow: Dataflow, fps: float, work: Path, watch: ScreenWatch) -> Placement:
    """Written as RTL, placed and routed."""
    design = Design(dataflow, part(DEVICE), CLOCK_MHZ, fps, "finn-plus", test_data.random(dataflow, 1))
    with tempfile.TemporaryDirectory() as folder:
        rtl.emit(design, Path(folder))
        return place_ecp5(Path(folder), work, watch.progress)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for results")
    parser.add_argument("--foldings", default="680,1350,2700", help="images a second at 100 MHz, comma between them")
    parser.add_argument("--weight-bits", type=int, default=1, help="of the block")
    parser.add_argument("--act-bits", type=int, default=2, help="of the block")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)

    bits = (chosen.weight_bits, chosen.act_bits)
    found: list[dict[str, Any]] = []
    for fps in map(float, chosen.foldings.split(",")):
        first: Dataflow | None = None
        for name in ("resblock", "nonresblock"):
            trained = fold_to_rate(lower(block(name == "resblock", *bits)).dataflow, fps, CLOCK_MHZ, part(DEVICE))
            trained = as_folded(trained, first) if first else trained
            first = first or trained
            other = [dataflow for dataflow in (scattered(trained),) if forms(dataflow) != forms(trained)]
            for dataflow in (trained, *other):
                with ScreenWatch(f"{name}-{fps:g}") as watch:
                    result = placed(dataflow, fps, chosen.out, watch)
                row = {"design": f"{name}-{fps:g}", "bits": list(bits), "thresholds": forms(dataflow)}
                found.append(row | {"mhz": result.mhz, "all_mhz": list(result.all_mhz)})
                write_json(chosen.out / f"w{bits[0]}a{bits[1]}.json", found)
    if chosen.json:
        print(json.dumps(found))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("design", "bits", "thresholds"):
        table.add_column(column, no_wrap=True)
    table.add_column("MHz", justify="right")
    table.add_column(f"seeds {', '.join(map(str, SEEDS))}")
    for row in found:
        seeds = ", ".join(f"{mhz:.1f}" for mhz in row["all_mhz"])
        table.add_row(row["design"], "{}/{}".format(*row["bits"]), row["thresholds"], f"{row['mhz']:.1f}", seeds)
    Console().print(table)


if __name__ == "__main__":
    script.run(main)
