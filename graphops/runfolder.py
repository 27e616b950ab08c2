"""A run's folder: what is done, what is not, and whose it is.

run.json                  whose folder it is
recipe.yaml               the recipe, every default spelled out
00-input/model.onnx       the model given, if one was
01-shorten-skips/         a step: model.onnx, and step.json once the model is whole
02-export-hls/build/      what a step makes besides a model: a build folder
metrics.jsonl, .png       every measurement of every training, and its curves
report.json, .md, .png    the table and the curves
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphops.files import LOCK, TEMPORARY, fingerprint_of_folder, held, write_bytes, write_json
from graphops.hardware import SIMULATION, SYNTHESIS
from graphops.modelfile import fingerprint
from graphops.report.curves import Curves
from graphops.steps.base import BUILD
from passes.errors import UserError

_CHECKPOINTS = "checkpoints"


class RunFolder:
    """The files of one run; every one of them is whole or not there, whenever the machine stops.

    Args:
        path: the folder; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curves = Curves(path)

    @contextmanager
    def claimed(self, identity: str, steps: list[str], force: bool) -> Iterator[None]:
        """Hold the folder for the run called ``identity`` while the block runs.

        Args:
            identity: what decides the run's results.
            steps: the names of its step folders.
            force: take over a folder that belongs to another recipe; its steps that this one shares are kept.

        Raises:
            UserError: when another process works here, or the folder belongs to another recipe and not ``force``.
        """
        with held(self.path):
            self._claim(identity, steps, force)
            for folder in ("", *steps):
                for leftover in (self.path / folder).glob(TEMPORARY):  # of a process that was killed while writing
                    leftover.unlink()
            for name in steps:
                for leftover in (self.path / name).glob(f".{BUILD}.*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            yield

    def _claim(self, identity: str, steps: list[str], force: bool) -> None:
        owner = _read(self.path / "run.json")
        others = [entry for entry in self.path.iterdir() if entry.name != LOCK and not entry.match(TEMPORARY)]
        if owner is None and others and not force:
            raise UserError(
                f"{self.path} holds files that are no run's; choose another folder with --out, or pass --force."
            )
        if owner is not None and owner.get("identity") != identity:
            if not force:
                raise UserError(
                    f"{self.path} belongs to a run of another recipe, model or data set; "
                    "choose another folder with --out, or pass --force to overwrite it."
                )
            for name in set(map(str, owner.get("steps", []))) - set(steps):
                if re.fullmatch(r"\d\d+-[\w.-]+", name):  # a step's folder, whatever the file may say
                    shutil.rmtree(self.path / name, ignore_errors=True)
        write_json(self.path / "run.json", {"identity": identity, "steps": steps})

    def step(self, name: str) -> Path:
        """The folder of step ``name``; made when it is not there."""
        folder = self.path / name
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be made: {error.strerror}; make room or choose another folder."
            ) from error
        return folder

    def model(self, name: str) -> Path:
        """Where step ``name`` keeps its model."""
        return self.path / name / "model.onnx"

    def record(self, name: str, key: str) -> dict[str, Any] | None:
        """What step ``name`` wrote when it was done under ``key``; None when it is not done, or its model or its
        build changed."""
        record = _read(self.path / name / "step.json")
        if record is None or record.get("key") != key:
            return None
        try:
            found = fingerprint(self.model(name)), self.build_id(name)
        except UserError:
            return None
        return record if found == (record.get("model"), record.get("build")) else None

    def build(self, name: str) -> Path:
        """Where step ``name`` keeps its build, if it makes one."""
        return self.path / name / BUILD

    def build_id(self, name: str) -> str | None:
        """What tells the build of step ``name`` from others: its contents, but for what tools leave in it."""
        return fingerprint_of_folder(self.build(name), (SIMULATION, SYNTHESIS)) if self.build(name).is_dir() else None

    def clear(self, name: str) -> None:
        """What step ``name`` left when it was done otherwise goes."""
        shutil.rmtree(self.build(name), ignore_errors=True)

    def write_record(self, name: str, record: dict[str, Any]) -> None:
        """Note that step ``name`` is done; its checkpoints go."""
        write_json(self.path / name / "step.json", record)
        shutil.rmtree(self.path / name / _CHECKPOINTS, ignore_errors=True)

    def scratch(self, name: str, key: str) -> Path:
        """Where step ``name`` keeps checkpoints that go by ``key`` while it works."""
        return self.path / name / _CHECKPOINTS / key[:16]

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """``lines`` as metrics.jsonl; now and then its picture."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_bytes(self.path / "metrics.jsonl", text.encode())
        self.curves.draw()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
