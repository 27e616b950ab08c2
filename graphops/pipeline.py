"""A chain of passes and trainings whose every step is kept, and which goes on where it was stopped.

from graphops import Pipeline, finetune
from passes import FoldSkips, ShortenSkips

Pipeline([ShortenSkips(keep="last"), finetune("cifar10", epochs=10, teacher="input"), FoldSkips()]).run(
    "resnet20.onnx", out="runs/nonresnet20"
)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from graphops import external
from graphops.bench import Bench, Watch
from graphops.files import write_bytes
from graphops.modelfile import load_model
from graphops.plan import INPUT_FOLDER, Entry, plan
from graphops.report.run import write_report
from graphops.resolved import resolved
from graphops.runfolder import RunFolder
from graphops.runner import Runner
from graphops.steps import Step
from passes.base import Pass
from passes.errors import UserError


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where everything lies.
        records: what each step did, in order, as in ``report.json``.
    """

    folder: Path
    records: tuple[dict[str, Any], ...]

    def load(self, name: str) -> onnx.ModelProto:
        """The model of the step called ``name``, by its own name or its folder's.

        Raises:
            UserError: when there is no such step.
        """
        found = [record for record in self.records if name in (record["name"], record["folder"])]
        if len(found) != 1:
            folders = ", ".join(record["folder"] for record in found or self.records)
            raise UserError(f"The run has {len(found) or 'no'} steps called {name!r}; say one of {folders}.")
        return load_model(self.folder / found[0]["folder"] / "model.onnx")


@dataclass
class Pipeline:
    """Steps, one after another or branching.

    Args:
        steps: passes, ``finetune(...)``, ``build(...)``, ``export_hls(...)``, ``simulate(...)``, ``synth(...)``,
            ``compare(...)``, or ``step(..., name=..., start=...)`` of one of these.
        model: the model to start from where ``run`` is given none.
        data: the data set of steps that name none, and the one that every step's model is scored on; by default
            the first that a step names.
        data_dir: where data sets lie.
        limit: how many test images to score on; all by default.
        bits: the width of an activation that no quantiser gives one, for the skip buffers.
        title: one line for people.
        base: the folder from which relative paths of data sets and teachers start.

    Raises:
        UserError: when a step's name is unfit or taken, or it refers to no earlier step; when ``limit`` or ``bits`` is
            below 1.
    """

    steps: Sequence[Pass | Step | Entry]
    model: str | Path | None = None
    data: str | None = None
    data_dir: Path | None = None
    limit: int | None = None
    bits: int = 32
    title: str | None = None
    base: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("bits", self.bits)):
            if value is not None and value < 1:
                raise UserError(f"A pipeline with {name}={value} is impossible; give at least 1.")
        self.planned = plan(self.steps)

    def run(
        self,
        model: onnx.ModelProto | str | Path | None = None,
        out: str | Path = "run",
        force: bool = False,
        watch: Watch | None = None,
    ) -> Run:
        """Do every step that is not done in folder ``out``, and write the report.

        Args:
            model: what to start from: a file, a model in memory, or None where the first step builds one.
            out: the run folder.
            force: take over a folder that belongs to another recipe; steps that both share are not done again.
            watch: is told about progress.

        Raises:
            UserError: when a step cannot be done, or ``out`` belongs to another run.
        """
        given = self._given(self.model if model is None else model)
        outputs = (planned.step.output for planned in self.planned if planned.step)
        output = next(filter(None, outputs), None)
        bench = Bench(self._scored_on(), self.data_dir, self.base, output, watch=watch or Watch())
        self._check_references(bench)
        runner = Runner(RunFolder(Path(out)), bench, given, self.limit, self.bits)
        with runner.folder.claimed(runner.identity(self.planned), [p.folder for p in self.planned], force):
            write_bytes(runner.folder.path / "recipe.yaml", resolved(self, bench).encode())
            records = [runner.do(planned) for planned in self.planned]
            write_report(runner.folder.path, self.title, records)
            runner.folder.curves.draw(at_end=True)
        return Run(runner.folder.path, tuple(records))

    def check_tools(self) -> None:
        """Say before any work that a tool is missing which a step needs.

        Raises:
            UserError: when one is.
        """
        for planned in self.planned:
            if planned.step:
                planned.step.check_tools()

    def _given(self, model: onnx.ModelProto | str | Path | None) -> onnx.ModelProto | Path | None:
        is_wanted = self.planned[0].folder == INPUT_FOLDER
        if model is None and is_wanted:
            raise UserError("The pipeline needs a model to start from; give one, e.g. --model model.onnx.")
        if model is not None and not is_wanted:
            raise UserError("The pipeline builds its own model, so there is no use for another; leave it out.")
        if isinstance(model, onnx.ModelProto) and external.locations(model):
            raise UserError("The model's weights lie in data files; give the pipeline the model's path, or load them.")
        if model is None or isinstance(model, onnx.ModelProto):
            return model
        load_model(model, weights=False)
        return Path(model)

    def _scored_on(self) -> str | None:
        steps = [planned.step for planned in self.planned if planned.step is not None]
        named = [name for step in steps for name in step.data_sets() if name is not None]
        return next(iter(named), None) if self.data is None else self.data

    def _check_references(self, bench: Bench) -> None:
        """Say now, not after hours of training, that a teacher, a data set or a tool is not there."""
        folders = {planned.folder for planned in self.planned}
        self.check_tools()
        for planned in self.planned:
            for teacher in planned.teachers:
                if teacher not in folders:
                    load_model(bench.model_path(teacher), weights=False)
            for name in planned.step.data_sets() if planned.step else ():
                bench.data(name)
        if bench.default_data is not None:
            bench.data(None)
