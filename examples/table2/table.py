"""What a skip connection costs in hardware: one ResNet block with its skip and without, at several foldings.

    python -m examples.table2.table --out runs/table2
    python -m examples.table2.table --out runs/table2 --foldings 1350 --place ecp5

Each design is folded, written as RTL, simulated (every output compared with the integer dataflow) and synthesised by
Yosys, layer by layer. Run it again after a stop, and it goes on where it was. ``results.json`` holds what came out.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.table2.blocks import block
from graphops.cli.common import ScreenWatch
from graphops.files import write_json
from hls_backend import build, lower, rtl
from hls_backend import vectors as test_data
from hls_backend.comparison import Compared, summarise
from hls_backend.design import Design
from hls_backend.folding import fold_to_rate
from hls_backend.parts import part
from hls_backend.simulate import Simulation, simulate
from hls_backend.synthesize import place_ecp5, synthesize
from passes import UserError

# Weng, Khodamoradi, Kastner 2021, Table II: one ResNet20 block on a ZCU104, by Vivado; kHz and per cent of the part.
PUBLISHED = {
    "resblock": {"images/s": 1352, "FF %": 0.37, "LUT %": 2.97, "BRAM %": 2.83},
    "nonresblock": {"images/s": 1415, "FF %": 0.35, "LUT %": 2.91, "BRAM %": 2.68},
}
CLOCK_MHZ = 100.0
DEVICE = "xczu7ev"


def measure(name: str, fps: float, arguments: argparse.Namespace) -> tuple[Compared, Simulation]:
    """One design, from ONNX to what it takes."""
    folder = arguments.out / f"{name}-{fps:g}"
    chosen = part(DEVICE)
    with ScreenWatch(folder.name) as watch:
        if not (folder / build.REPORT).is_file():
            model = block(name == "resblock", arguments.weight_bits, arguments.act_bits)
            dataflow = fold_to_rate(lower(model, name).dataflow, fps, CLOCK_MHZ, chosen)
            data = test_data.random(dataflow, arguments.frames)
            design = Design(dataflow, chosen, CLOCK_MHZ, fps, "finn-plus", data)
            build.create(folder, design, model, {"rtl": rtl.emit})
        design = build.load(folder)
        simulated = simulate(design, design.vectors, folder / "rtl", folder / "simulation", watch.progress)
        if simulated.errors:
            raise UserError(f"{folder.name} computes what it should not: {simulated.difference}.")
        found = synthesize(design, arguments.family, folder / "synthesis", 2, watch.progress)
        placed = place_ecp5(folder / "rtl", folder / "synthesis", watch.progress) if arguments.place else None
    return summarise(folder.name, design, found, placed.mhz if placed else None), simulated


def table(results: list[tuple[Compared, Simulation]]) -> Table:
    """Pairs of designs at one folding, the second in per cent of the first."""
    found = Table(box=None, header_style="bold", pad_edge=False)
    found.add_column("design", no_wrap=True)
    for column in ("cycles", "LUT", "FF", "BRAM18", "skip's LUT", "skip's FF", "skip's bits", "MHz"):
        found.add_column(column, justify="right")
    for one, simulated in results:
        skip = one.purposes["skips"]
        counts = (simulated.interval or 0, one.cells.all_luts, one.cells.ffs, one.cells.all_bram18)
        costs = (skip.all_luts, skip.ffs, one.waiting_bits)
        mhz = "-" if one.mhz is None else f"{one.mhz:.1f}"
        found.add_row(one.name, *(f"{n:,}" for n in (*counts, *costs)), mhz)
    for (first, _), (second, _) in zip(results[::2], results[1::2], strict=True):
        changes = [
            _change(getattr(c, n) for c in (first.cells, second.cells)) for n in ("all_luts", "ffs", "all_bram18")
        ]
        found.add_row(f"{second.name.split('-')[1]}: without it", "", *changes, "", "", "", "")
    return found


def _change(pair: Any) -> str:
    before, after = pair
    return f"{after / before - 1:+.1%}" if before else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for builds and results")
    parser.add_argument("--foldings", default="680,1350,2700", help="images a second at 100 MHz, comma between them")
    parser.add_argument("--weight-bits", type=int, default=1)
    parser.add_argument("--act-bits", type=int, default=2)
    parser.add_argument("--frames", type=int, default=3, help="to simulate")
    parser.add_argument("--family", default="xcup")
    parser.add_argument("--place", choices=["ecp5"], help="for a frequency")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = [
        measure(name, fps, arguments)
        for fps in map(float, arguments.foldings.split(","))
        for name in ("resblock", "nonresblock")
    ]
    content = [{**asdict(one), "figures": one.figures, "simulation": asdict(seen)} for one, seen in results]
    write_json(arguments.out / "results.json", {"published": PUBLISHED, "tool": "Yosys", "designs": content})
    Console(width=120).print(table(results))


if __name__ == "__main__":
    main()
