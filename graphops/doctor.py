"""What is installed, what is broken and how to mend it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from passes.errors import UserError

NEEDED_BYTES = 1 << 30
"""Free disk below which runs may stop: models, checkpoints and CIFAR take about so much."""

INSTEAD = {"onnxruntime-training-cpu": "onnxruntime-training"}
"""Packages that do as well as the one asked for: here the build for CUDA."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: what.
        state: how it is.
        remedy: how to mend it; None where it is well.
    """

    subject: str
    state: str
    remedy: str | None = None


def examine(folder: Path) -> list[Finding]:
    """Look at the interpreter, the packages that graphops asks for, the training runtime, the disk and the cores.

    Args:
        folder: where runs are going to be written.
    """
    return [_python(), *_packages(), *_training(), *_passes(), _disk(folder), _cores()]


def _python() -> Finding:
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        remedy = "Use Python 3.11 or 3.12: onnxruntime-training has no wheel for others."
        return Finding("Python", version, remedy)
    return Finding("Python", version)


def _packages() -> list[Finding]:
    """Each requirement of graphops against what is there."""
    try:
        requirements = metadata.requires("graphops") or []
    except metadata.PackageNotFoundError:
        return [Finding("graphops", "runs from a folder and is not installed", "Run `python -m pip install .` in it.")]
    return [Finding("graphops", metadata.version("graphops"))] + [
        _package(requirement) for requirement in requirements if "extra ==" not in requirement
    ]


def _package(requirement: str) -> Finding:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    name = match[0] if match else requirement
    remedy = f"Run `python -m pip install '{requirement.split(';')[0].strip()}'`."
    try:
        name, version = _installed(name)
    except metadata.PackageNotFoundError:
        return Finding(name, f"missing ({requirement} is asked for)", remedy)
    pin = re.search(r"==\s*([^\s,;]+)", requirement)
    least = re.search(r">=\s*([^\s,;]+)", requirement)
    if pin and version != pin[1]:
        return Finding(name, f"{version}, where {pin[1]} is asked for", remedy)
    if least and _numbers(version) < _numbers(least[1]):
        return Finding(name, f"{version}, older than {least[1]}", remedy)
    return Finding(name, version + (" (pinned)" if pin else ""))


def _installed(name: str) -> tuple[str, str]:
    """The name and version of the package that does the work of ``name``."""
    try:
        return name, metadata.version(name)
    except metadata.PackageNotFoundError:
        if name not in INSTEAD:
            raise
        return INSTEAD[name], metadata.version(INSTEAD[name])


def _numbers(version: str) -> tuple[int, ...]:
    found = tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
    return found + (0,) * (3 - len(found))


def _training() -> list[Finding]:
    from graphops.training import runtime

    try:
        return [Finding("training", finding) for finding in runtime.check()]
    except UserError as error:
        state, _, remedy = str(error).rstrip(".").rpartition("; ")
        return [Finding("training", state or remedy, f"{remedy[:1].upper()}{remedy[1:]}.")]


def _passes() -> list[Finding]:
    """How many passes there are, and those of other packages that cannot be had."""
    from passes.base import registry

    found = [Finding("passes", f"{len(registry)} known")]
    for sentence in registry.broken.values():
        state, _, remedy = sentence.rstrip(".").rpartition("; ")
        found.append(Finding("passes", state, f"{remedy[:1].upper()}{remedy[1:]}."))
    return found


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    state = f"{free / 1e9:.1f} GB free at {folder.resolve()}"
    return Finding("disk", state, "Make room, or run elsewhere." if free < NEEDED_BYTES else None)


def _cores() -> Finding:
    from graphops.training.engine import usable_cores

    return Finding("cores", f"{usable_cores()} usable of {os.cpu_count()}")
