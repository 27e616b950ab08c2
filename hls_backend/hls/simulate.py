"""C simulation: the top and its test bench, compiled and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hls_backend.design import Vectors
from hls_backend.hls.folder import DATA, write_data
from hls_backend.hls.scripts import BOUNDED, FLAGS, SIMULATION
from passes.errors import UserError

_LIBRARY = "bnn-library.h"
_DIFFERENT, _HANGS = 1, 4
_WAITS = re.compile(r"waits (\S+): to (read|write) (\S+) holds (\d+) of (\d+)(, too shallow)?")


@dataclass(frozen=True)
class Waiting:
    """A layer that can never go on.

    Attributes:
        layer, stream: their names in C++.
        reads: whether it waits for a word, else for room.
        held, depth: words in the stream, and its room.
        shallow: whether this is why all others wait: who should read the stream waits for another one.
    """

    layer: str
    stream: str
    reads: bool
    held: int
    depth: int
    shallow: bool

    def __str__(self) -> str:
        what = "a word" if self.reads else "room"
        return f"{self.layer} for {what} in {self.stream} ({self.held} of {self.depth})"


@dataclass(frozen=True, eq=False)
class Simulated:
    """What came out.

    Attributes:
        outputs: integers [images, size]; none where the dataflow hangs.
        different: how many of them are not as expected.
        waiting: where the dataflow hangs, all layers that wait.
    """

    outputs: np.ndarray
    different: int
    waiting: tuple[Waiting, ...] = ()


@dataclass(frozen=True)
class Program:
    """A compiled top with its test bench.

    Attributes:
        path: of the program.
        folder: that it was compiled from, as `emit` wrote it.
    """

    path: Path
    folder: Path

    def run(
        self, vectors: Vectors | None = None, count: int | None = None, depths: Mapping[str, int] | None = None
    ) -> Simulated:
        """Run it.

        Args:
            vectors: what to run; default: those in the folder.
            count: only the first so many images.
            depths: other depths of streams, by their names in C++; for a program on bounded streams.

        Raises:
            UserError: when there is no such stream, or the program fails.
        """
        with tempfile.TemporaryDirectory(prefix="graphops-csim-") as temporary:
            data = _data(self.folder, Path(temporary), vectors, depths or {})
            return _run(self.path, data, Path(temporary) / "found.txt", count)


def compiled(folder: Path, ap_int: Path, into: Path, *, hlslib: Path | None = None, bounded: bool = False) -> Program:
    """Compile the top in ``folder`` and its test bench.

    Args:
        folder: as `emit` wrote it; nothing in it is changed.
        ap_int: the folder of ap_int.h.
        into: the folder for the program.
        hlslib: a folder of finn-hlslib, to be used in place of our templates.
        bounded: each layer in a thread, on streams as deep as in hardware.

    Raises:
        UserError: when there is no compiler, no finn-hlslib in ``hlslib``, or the C++ does not compile.
    """
    if not (folder / "top.cpp").is_file():
        raise UserError(f"There is no C++ in {str(folder)!r}; make it with `graphops export-hls`.")
    if hlslib is not None and not (hlslib / _LIBRARY).is_file():
        raise UserError(f"There is no {_LIBRARY} in {str(hlslib)!r}; name a folder of finn-hlslib with --hlslib.")
    return Program(_compile(folder, into / "csim.run", ap_int, hlslib, bounded), folder)


def simulate(
    folder: Path,
    ap_int: Path,
    *,
    vectors: Vectors | None = None,
    count: int | None = None,
    hlslib: Path | None = None,
    bounded: bool = False,
    depths: Mapping[str, int] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Simulated:
    """Compile the top in ``folder`` and run it once: see `compiled` and `Program.run`; ``progress`` is told which."""
    with tempfile.TemporaryDirectory(prefix="graphops-csim-") as temporary:
        progress("compiling")
        program = compiled(folder, ap_int, Path(temporary), hlslib=hlslib, bounded=bounded)
        progress("running")
        return program.run(vectors, count, depths)


def _data(folder: Path, work: Path, vectors: Vectors | None, depths: Mapping[str, int]) -> Path:
    """The folder of data, one of our own where anything is to differ."""
    if vectors is None and not depths:
        return folder / DATA
    lines = (folder / DATA / "depths.txt").read_text().splitlines()
    wires = {name: int(depth) for name, depth in (line.split() for line in lines)}
    unknown = sorted(set(depths) - set(wires))
    if unknown:
        raise UserError(f"There is no stream {unknown[0]!r}; depths.txt in {str(folder / DATA)!r} names them.")
    made = work / DATA
    shutil.copytree(folder / DATA, made)
    if vectors is not None:
        write_data(made, vectors, [])
    (made / "depths.txt").write_text("".join(f"{name} {depth}\n" for name, depth in {**wires, **depths}.items()))
    return made


def _compile(folder: Path, program: Path, ap_int: Path, hlslib: Path | None, bounded: bool) -> Path:
    name = os.environ.get("CXX") or "g++"
    compiler = shutil.which(name)
    if compiler is None:
        raise UserError(
            f"There is no C++ compiler {name!r}, which C simulation needs; install g++, or name another one in CXX."
        )
    includes = [folder / "simulation", folder / "extra", folder / "support", hlslib or folder / "library"]
    command: Sequence[str | Path] = [
        compiler,
        *FLAGS,
        *SIMULATION,
        *(BOUNDED if bounded else ()),
        *(f"-I{path}" for path in (folder, *includes)),
        "-isystem",
        ap_int,
        folder / "top.cpp",
        folder / "testbench.cpp",
        "-o",
        program,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:300])
        library = f"finn-hlslib in {str(hlslib)!r}" if hlslib else "the templates in library/"
        raise UserError(f"The C++ in {str(folder)!r} does not compile on {library}: {reason}; make the build again.")
    return program


def _run(program: Path, data: Path, found: Path, count: int | None) -> Simulated:
    command: Sequence[str | Path] = [program, data, str(2**31 if count is None else count), found]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == _HANGS:
        waiting = tuple(
            Waiting(layer, stream, what == "read", int(held), int(depth), bool(shallow))
            for layer, what, stream, held, depth, shallow in _WAITS.findall(done.stdout)
        )
        return Simulated(np.zeros((0, 0), np.int64), 0, waiting)
    summary = re.search(r"^images \d+ outputs \d+ different (\d+)$", done.stdout, re.MULTILINE)
    if done.returncode not in (0, _DIFFERENT) or summary is None:
        lines = (done.stdout + done.stderr).strip().splitlines() or [f"exit status {done.returncode}"]
        raise UserError(f"C simulation failed: {lines[-1]}; make the build again with `graphops export-hls --force`.")
    lines = found.read_text().splitlines()
    # Outputs that did not come leave a line short; they are counted as different, and stand as zeros here.
    rows = [np.array(line.split(), np.int64) for line in lines]
    outputs = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, integers in zip(outputs, rows, strict=True):
        row[: len(integers)] = integers
    return Simulated(outputs, int(summary[1]))
