"""What a skip connection costs in hardware: designs with skips and without, at several foldings.

    python -m examples.table2.table --out runs/table2
    python -m examples.table2.table --out runs/table2 --foldings 1350 --place ecp5
    python -m examples.table2.table --out runs/table2-networks --networks 2 --foldings 150,300,600 --data cifar10

Without ``--networks`` it is one block with its skip and without, as in the paper; with it, the trained networks of
``examples/models`` in so many bits. Each design is folded, written as RTL, simulated (every output compared with the
integer dataflow) and synthesised by Yosys, layer by layer. Run it again after a stop, and it goes on where it was.
``results.json`` and ``table.png`` hold what came out.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import onnx
from rich.console import Console
from rich.table import Table

from examples import script
from examples.table2.blocks import block
from examples.table2.measure import DEVICE, FAMILY, Measured, measure
from graphops.files import write_bytes, write_json
from graphops.modelfile import load_model
from hls_backend import build
from hls_backend.parts import part
from hls_backend.synthesize import Cells
from passes import UserError

# Weng, Khodamoradi, Kastner 2021, Table II: one ResNet20 block on a ZCU104, by Vivado; kHz and per cent of the part.
PUBLISHED = {
    "resblock": {"kHz": 1.352, "FF %": 0.37, "LUT %": 2.97, "BRAM %": 2.83},
    "nonresblock": {"kHz": 1.415, "FF %": 0.35, "LUT %": 2.91, "BRAM %": 2.68},
}
MODELS = Path(__file__).parents[1] / "models"
NETWORKS = ("resnet20", "shortresnet20", "nonresnet20")

KINDS = {
    "FIFO": ("StreamingFIFO",),
    "fork": ("DuplicateStreams",),
    "adder": ("ElementwiseAdd",),
    "thresholds": ("Thresholding",),
    "convolutions": ("MVAU", "VVAU"),
    "windows, padding": ("ConvolutionInputGenerator", "FMPadding"),
    "width converters": ("StreamingDataWidthConverter",),
}
"""Layers by what a person calls them; what is in none of these is "other"."""


def table(designs: Sequence[Measured]) -> Table:
    """A row a design, then each one's change against the first of its folding."""
    found = Table(box=None, header_style="bold", pad_edge=False)
    found.add_column("design", no_wrap=True)
    for column in ("kHz", "slack", "LUT", "LUTRAM", "FF", "BRAM18", "FIFO bits", "LUT %", "FF %", "BRAM %", "MHz"):
        found.add_column(column, justify="right")
    chip = part(DEVICE)
    for design in designs:
        cells, placed = design.compared.cells, design.placed
        counts = (cells.luts, cells.lutrams, cells.ffs, cells.all_bram18, design.compared.waiting_bits)
        shares = (cells.all_luts / chip.luts, cells.ffs / chip.ffs, cells.all_bram18 / chip.bram18)
        late = (design.simulation.interval or design.slowest) / design.slowest - 1
        found.add_row(
            design.compared.name,
            f"{design.fps / 1000:.3f}",
            f"{late:.2%}",
            *(f"{n:,}" for n in counts),
            *(f"{share:.2%}" for share in shares),
            f"{placed.mhz:.1f}" if placed else "-",
        )
    for first, other in _pairs(designs):
        before, after = first.compared.cells, other.compared.cells
        found.add_row(
            f"{other.compared.name}: change",
            _change(first.fps, other.fps),
            "",
            _change(before.all_luts, after.all_luts),
            _change(before.lutrams, after.lutrams),
            _change(before.ffs, after.ffs),
            _change(before.all_bram18, after.all_bram18),
            _change(first.compared.waiting_bits, other.compared.waiting_bits),
            "",
            "",
            "",
            _change(first.placed.mhz, other.placed.mhz) if first.placed and other.placed else "",
        )
    return found


def costs(designs: Sequence[Measured]) -> Table:
    """What each design takes more than the last of its folding, which has no skips, by kind of layer."""
    found = Table(box=None, header_style="bold", pad_edge=False)
    found.add_column("LUT with LUTRAM / FF / BRAM18 for", no_wrap=True)
    pairs = [(design, group[-1]) for group in _groups(designs) for design in group[:-1]]
    for design, _ in pairs:
        found.add_column(design.compared.name, justify="right", overflow="fold")
    for kind in (*KINDS, "other", "in all"):
        found.add_row(kind, *(_three(_of(design, kind), _of(without, kind)) for design, without in pairs))
    return found


def plot(designs: Sequence[Measured]) -> bytes:
    """A PNG: what each design takes, by kind of layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, max(3.2, 1.2 + 0.45 * len(designs))), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    figures: tuple[tuple[str, Callable[[Cells], int]], ...] = (
        ("LUT with LUTRAM", lambda c: c.all_luts),
        ("FF", lambda c: c.ffs),
        ("BRAM18", lambda c: c.all_bram18),
    )
    names = [design.compared.name for design in designs]
    for axis, (title, value) in zip(axes, figures, strict=True):
        left = [0] * len(designs)
        for kind in (*KINDS, "other"):
            widths = [value(_of(design, kind)) for design in designs]
            axis.barh(names, widths, left=left, label=kind)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axis.set_title(f"{title} (Yosys, {FAMILY})", fontsize=10)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def _groups(designs: Sequence[Measured]) -> list[list[Measured]]:
    """The designs of each folding, in their order."""
    found: dict[float, list[Measured]] = {}
    for design in designs:
        found.setdefault(design.asked_fps, []).append(design)
    return list(found.values())


def _pairs(designs: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    return [(group[0], other) for group in _groups(designs) for other in group[1:]]


def _of(design: Measured, kind: str) -> Cells:
    if kind == "in all":
        return design.compared.cells
    known = {op for ops in KINDS.values() for op in ops}
    ops = KINDS[kind] if kind in KINDS else {layer.op for layer in design.layers} - known
    return design.of_kinds(*ops)


def _three(cells: Cells, without: Cells) -> str:
    pairs = (
        (cells.all_luts, without.all_luts),
        (cells.ffs, without.ffs),
        (cells.all_bram18, without.all_bram18),
    )
    return " / ".join(f"{a - b:+,}" for a, b in pairs)


def _change(before: float, after: float) -> str:
    return f"{after / before - 1:+.1%}" if before else "-"


def designs_of(arguments: argparse.Namespace) -> dict[str, Callable[[], onnx.ModelProto]]:
    """The designs to compare, by name; the one without skips comes last."""
    if arguments.networks is None:
        bits = (arguments.weight_bits, arguments.act_bits)
        return {"resblock": partial(block, True, *bits), "nonresblock": partial(block, False, *bits)}
    ending = f"w{arguments.networks}a{arguments.networks}.onnx"
    return {name: partial(load_model, MODELS / f"cifar10-{name}-{ending}") for name in NETWORKS}


def begin(path: Path, asked: dict[str, object]) -> None:
    """Note in the results what builds are made by, besides their names.

    Raises:
        UserError: when there are builds that were made by something else.
    """
    if not path.is_file() or not any(path.parent.glob(f"*/{build.REPORT}")):
        write_json(path, {"asked": asked, "designs": []})
        return
    before = json.loads(path.read_text()).get("asked", asked)
    for name, value in asked.items():
        if before.get(name) != value:
            raise UserError(f"{path} is of {name}={before.get(name)!r}, not {value!r}; give another --out.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for builds and results")
    parser.add_argument("--networks", type=int, choices=[2, 4], help="complete networks of so many bits")
    parser.add_argument("--foldings", default="680,1350,2700", help="images a second at 100 MHz, comma between them")
    parser.add_argument("--weight-bits", type=int, default=1, help="of the block")
    parser.add_argument("--act-bits", type=int, default=2, help="of the block")
    parser.add_argument("--frames", type=int, default=4, help="to simulate")
    parser.add_argument("--data", help="data set whose test images are simulated; default: random integers")
    parser.add_argument("--data-dir", type=Path, help="where data sets lie")
    parser.add_argument("--place", choices=["ecp5"], help="for a frequency")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    asked = {name: vars(arguments)[name] for name in ("networks", "weight_bits", "act_bits", "frames", "data")}
    begin(arguments.out / "results.json", asked)
    images = (arguments.data, arguments.data_dir) if arguments.data else None
    found: list[Measured] = []
    for fps in map(float, arguments.foldings.split(",")):
        first: Path | None = None
        for name, model in designs_of(arguments).items():
            place, together = arguments.place is not None, arguments.networks is not None
            found.append(measure(name, model, fps, arguments.out, arguments.frames, images, place, together, first))
            first = first or arguments.out / f"{name}-{fps:g}"
            content = {"asked": asked, "published": PUBLISHED, "tool": "Yosys", "family": FAMILY, "part": DEVICE}
            write_json(arguments.out / "results.json", content | {"designs": [d.as_json() for d in found]})
            write_bytes(arguments.out / "table.png", plot(found))
    screen = Console(width=max(Console().width, 120))
    screen.print(table(found))
    screen.print()
    screen.print(costs(found))


if __name__ == "__main__":
    script.run(main)
