"""FINN+'s environment of its own: its pins cannot live beside onnxruntime-training's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from passes.errors import UserError

Progress = Callable[[float, float, str], None]

TORCH = "torch==2.13.0+cpu"
"""Without CUDA: that build is several GB larger."""

PINS = {"torch": "2.13.0", "finn-plus": "1.6.1", "brevitas": "0.13.0", "mip": "1.17", "qonnx": "1.0.0"}
"""What an environment is known by."""

_ALONE = ("finn-plus==1.6.1", "brevitas==0.13.0", "mip==1.17.0", "dependencies==2.0.1", "unfoldNd==0.2.3")
"""Installed without what they depend on, which would bring torch's CUDA build; see `required_besides`."""

_BESIDES = ("cffi", "psutil", "onnx-graphsurgeon", "setuptools<70")

_MARK = "graphops-finn.json"
"""Stands in an environment of ours from the beginning on, and names its packages once they are all there."""

_SPACE_GB = 3


@dataclass(frozen=True)
class Environment:
    """A Python environment with FINN+ in it, or to be."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def missing(self) -> list[str]:
        """What it lacks of what FINN+ is known by; empty where it is right."""
        if not self.python.exists():
            return ["python"]
        mark = self.folder / _MARK
        if mark.exists() and not mark.read_text().strip():
            return ["packages, as it was left half made"]
        found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions(path=self._paths())}
        return [
            f"{name} {version}"
            for name, version in PINS.items()
            if not (found.get(name) or "").split("+")[0].startswith(version)
        ]

    def _paths(self) -> list[str]:
        return [str(path) for path in self.folder.glob("lib/python3.*/site-packages")]

    def _distribution(self, name: str) -> Distribution:
        return next(iter(distributions(name=name, path=self._paths())))


def find(folder: Path) -> Environment:
    """FINN+'s environment in ``folder``.

    Raises:
        UserError: when it is not there, or not right.
    """
    environment = Environment(folder)
    missing = environment.missing()
    if missing == ["python"]:
        raise UserError(f"There is no FINN+ in {str(folder)!r}; make its environment with `graphops finn setup`.")
    if missing:
        raise UserError(
            f"The environment in {str(folder)!r} lacks {', '.join(missing)}; mend it with `graphops finn setup --at "
            f"{folder}`."
        )
    return environment


def make(folder: Path, torch: str = TORCH, torch_index: str = "", progress: Progress | None = None) -> Environment:
    """FINN+'s environment in ``folder``, made where it is not there; one that was left half made is finished.

    Args:
        folder: need not exist.
        torch: what to ask pip for.
        torch_index: where pip is to look for it; "" for where it looks anyway.
        progress: told how many of how many parts are done, and which comes.

    Raises:
        UserError: when ``folder`` is something else, or a package cannot be had.
    """
    environment = Environment(folder)
    if not environment.missing():
        return environment
    mark = folder / _MARK
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise UserError(f"{str(folder)!r} is there and is no environment of graphops'; name another folder.")
    tell = progress or (lambda done, total, text: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text("")
    except OSError as error:
        raise UserError(f"FINN+'s environment cannot be made in {str(folder)!r}: {error.strerror}.") from error
    free = shutil.disk_usage(folder).free / 1e9
    if free < _SPACE_GB:
        raise UserError(
            f"FINN+'s environment takes {_SPACE_GB} GB and {str(folder)!r} has {free:.1f} left; name another folder "
            "with --at."
        )
    tell(0, 4, "a virtual environment")
    if not environment.python.exists():
        _call([sys.executable, "-m", "venv", str(folder)], "a virtual environment", "install Python's venv")
    tell(1, 4, "torch")
    index = ["--index-url", torch_index] if torch_index else []
    elsewhere = "name an index that has it with --torch-index, or another build with --torch torch==2.13.0 (several GB)"
    _install(environment, [torch, *index], elsewhere)
    tell(2, 4, "FINN+")
    remedy = "look at what pip says with `pip download` and your index"
    _install(environment, ["--no-deps", *_ALONE], remedy)
    tell(3, 4, "what FINN+ needs")
    _install(environment, [*required_besides(environment), *_BESIDES], remedy)
    mark.write_text(json.dumps([torch, *_ALONE]) + "\n")
    tell(4, 4, "")
    return find(folder)


def required_besides(environment: Environment) -> list[str]:
    """What FINN+ pins besides the packages that are there without their dependencies."""
    there = {re.split(r"[=<>]", package)[0] for package in _ALONE}
    required = environment._distribution("finn-plus").requires or []
    plain = [r.split(";")[0].strip() for r in required if "extra ==" not in r]
    return [r.replace("(", "").replace(")", "") for r in plain if re.split(r"[ =<>(\[]", r)[0] not in there]


def _install(environment: Environment, arguments: list[str], remedy: str) -> None:
    command = [str(environment.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    packages = ", ".join(a for a in arguments if not a.startswith("-") and "//" not in a)
    _call(command, packages, remedy)


def _call(command: list[str], what: str, remedy: str) -> None:
    """Run ``command``; nothing it prints is shown.

    Raises:
        UserError: when it fails, with the last thing it said.
    """
    try:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"{command[0]!r} cannot be run: {error.strerror}; {remedy}.") from error
    if ran.returncode:
        said = [line.removeprefix("ERROR: ") for line in (ran.stdout + ran.stderr).splitlines() if "ERROR" in line]
        reason = said[-1] if said else (ran.stderr.strip().splitlines() or ["it does not say why"])[-1]
        short = what if len(what) < 100 else what[:100] + " ..."
        raise UserError(f"{short} could not be had ({reason[:200].rstrip('.')}); {remedy}.")
