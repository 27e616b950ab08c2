"""Doing the steps of one run, or finding them done."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from graphops.bench import INPUT, Bench, Watch
from graphops.modelfile import fingerprint, load_model, save_model
from graphops.plan import Planned
from graphops.report.summary import summarise
from graphops.runfolder import RunFolder
from graphops.steps import Outcome

FORMAT = 1
"""Counted up when what a step's key covers changes."""

_MEASURED = (
    *("measured", "operators", "joins", "parameters", "macs", "buffer_bits"),
    *("accuracy", "correct", "count"),
)
"""What is known of every step's model."""


class Runner:
    """One run.

    A step is done when its model lies in its folder under the step's key: a hash of its options and of the contents
    of whatever it reads (the model it starts from, its teachers, its data sets, builds).

    Args:
        folder: the run folder.
        bench: what steps work with; gets to know each step's model when it is done.
        given: the model that the pipeline starts from.
        limit: how many test images to score on.
        bits: the width of activations in skip buffers.
    """

    def __init__(
        self,
        folder: RunFolder,
        bench: Bench,
        given: onnx.ModelProto | Path | None,
        limit: int | None,
        bits: int,
    ) -> None:
        self.folder, self.bench, self.given, self.limit, self.bits = folder, bench, given, limit, bits
        self.records: list[dict[str, Any]] = []

    def identity(self, plan: list[Planned]) -> str:
        """What decides the results of the whole run."""
        own = {planned.folder for planned in plan}
        steps = [
            (
                *(p.folder, p.start, self._settings(p)),
                [t if t in own else self.bench.model_id(t) for t in p.teachers],
                *([p.builds] if p.builds else []),
            )
            for p in plan
        ]
        return _digest(FORMAT, self._given_id(), steps, self._measurement())

    def do(self, planned: Planned) -> dict[str, Any]:
        """Do one step unless it is done; return what is known of it, as ``step.json`` keeps it."""
        self.bench.watch.begin(planned.folder)
        self.bench.builds = tuple((name, self.folder.build(folder)) for folder, name in planned.builds)
        reads = self._reads(planned)
        key = _digest(FORMAT, self._settings(planned), *reads)
        record = self.folder.record(planned.folder, key)
        was_done = record is not None
        if record is None:
            record = self._work(planned, key, reads)
        record |= {"name": planned.name, "start": planned.start}  # another recipe may call them otherwise
        if record.get("measured") != self._measurement():
            was_done = False
            record |= self._measure(planned, record)
            self.folder.write_record(planned.folder, record)
        self.records.append(record)
        path = self.folder.model(planned.folder)
        self.bench.models |= {planned.name: path, planned.folder: path}
        self.folder.write_metrics(list(metrics(self.records)))
        self.bench.watch.end(record, was_done)
        return record

    def _reads(self, planned: Planned) -> list[Any]:
        """The contents of the models and builds that the step reads."""
        contents = {record["folder"]: record["model"] for record in self.records}
        start = contents[planned.start] if planned.start else self._given_id() if planned.step is None else None
        teachers = [contents.get(t) or self.bench.model_id(t) for t in planned.teachers]
        builds = [(name, self.folder.build_id(folder)) for folder, name in planned.builds]
        return [start, teachers, *([builds] if builds else [])]

    def _settings(self, planned: Planned) -> dict[str, Any] | None:
        return planned.step.identity(self.bench) if planned.step else None

    def _given_id(self) -> str | None:
        if isinstance(self.given, onnx.ModelProto):
            return hashlib.sha256(self.given.SerializeToString(deterministic=True)).hexdigest()
        return fingerprint(self.given) if self.given else None

    def _measurement(self) -> str:
        """What decides the figures that are taken of every step's model."""
        data = self.bench.data_id(None) if self.bench.default_data else None
        return _digest(data, self.limit, self.bits, *([self.bench.output] if self.bench.output else []))

    def _work(self, planned: Planned, key: str, reads: list[Any]) -> dict[str, Any]:
        target = self.folder.step(planned.folder) / "model.onnx"
        self.folder.clear(planned.folder)
        started = time.perf_counter()
        outcome, source = self._outcome(planned, reads)
        save_model(outcome.model, target, force=True, source=source)
        record = {
            "folder": planned.folder,
            "kind": planned.step.name if planned.step else INPUT,
            "key": key,
            "model": fingerprint(target),
            "seconds": round(outcome.seconds or time.perf_counter() - started, 3),
            "notes": list(outcome.notes),
            "figures": outcome.figures,
            "history": outcome.history,
        }
        if planned.step and planned.step.makes_build:
            record["build"] = self.folder.build_id(planned.folder)
        self.folder.write_record(planned.folder, record)
        return record

    def _outcome(self, planned: Planned, reads: list[Any]) -> tuple[Outcome, Path | None]:
        """The step's outcome, and the file in whose folder the data files of its model lie."""
        if planned.step is None:
            assert self.given is not None, "a plan takes in a model only where one is given"
            if isinstance(self.given, onnx.ModelProto):
                return Outcome(self.given), None
            return Outcome(load_model(self.given, weights=False)), self.given
        source = self.folder.model(planned.start) if planned.start else None
        model = load_model(source, weights=planned.step.reads_weights) if source else onnx.ModelProto()
        beginning = _digest(FORMAT, planned.step.beginning(self.bench), *reads)
        watch, scratch = self.bench.watch, self.folder.scratch(planned.folder, beginning)
        self.bench.watch, self.bench.scratch = _Live(watch, self.folder, self.records, planned.folder), scratch
        self.bench.folder = self.folder.path / planned.folder
        try:
            return planned.step.run(model, self.bench), source
        finally:
            self.bench.watch, self.bench.scratch, self.bench.folder = watch, None, None

    def _measure(self, planned: Planned, record: dict[str, Any]) -> dict[str, Any]:
        """The figures of a step's model, and its accuracy on the pipeline's data set; taken once of equal models."""
        for other in self.records:
            if other["model"] == record["model"]:
                return {name: other[name] for name in _MEASURED if name in other}
        is_scored = self.bench.default_data is not None
        model = load_model(self.folder.model(planned.folder), weights=is_scored)
        figures = {"measured": self._measurement(), **asdict(summarise(model, self.bits)), "accuracy": None}
        if is_scored:
            from graphops.evaluate import evaluate

            output = self.bench.output_of(model)
            progress = self.bench.watch.progress
            found = evaluate(model, self.bench.data(None), limit=self.limit, progress=progress, output=output)
            figures |= {"accuracy": found.accuracy, "correct": found.correct, "count": found.count}
        return figures


class _Live(Watch):
    """Keeps ``metrics.jsonl`` up to date while a step trains, and hands everything on."""

    def __init__(self, watch: Watch, folder: RunFolder, records: list[dict[str, Any]], step: str) -> None:
        self._watch, self._folder, self._step = watch, folder, step
        self._lines = list(metrics(records))

    def progress(self, done: float, total: float, text: str = "") -> None:
        self._watch.progress(done, total, text)

    def metrics(self, line: dict[str, Any]) -> None:
        self._lines.append({"folder": self._step, **line})
        self._folder.write_metrics(self._lines)
        self._watch.metrics(line)


def metrics(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every measurement of every training, and each step's score, as lines of ``metrics.jsonl``."""
    for record in records:
        for line in record["history"]:
            yield {"folder": record["folder"], **line}
        if record["accuracy"] is not None:
            yield {"folder": record["folder"], "test_accuracy": record["accuracy"]}


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
