"""What the steps of a pipeline work with: data sets, the models of earlier steps, and somebody who watches."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from graphops.modelfile import fingerprint
from passes.errors import UserError

if TYPE_CHECKING:
    from graphops.data import DataSet

INPUT = "input"
"""The name by which steps call the model that the pipeline was given."""


class Watch:
    """Is told how a pipeline gets on; this one says nothing."""

    def begin(self, step: str) -> None:
        """A step begins."""

    def progress(self, done: float, total: float, text: str = "") -> None:
        """``done`` of ``total`` of whatever the step counts."""

    def metrics(self, line: dict[str, Any]) -> None:
        """A training step measured something."""

    def end(self, record: dict[str, Any], was_done: bool) -> None:
        """A step is done; ``was_done`` where an earlier run did it."""


@dataclass
class Bench:
    """What steps may ask for.

    Attributes:
        default_data: the data set of steps that name none.
        data_dir: where data sets lie.
        base: the folder from which relative paths start.
        output: the output that holds the logits, of models with several; None is the first that fits.
        models: the model file of each earlier step, and of the pipeline's input, by name.
        scratch: where the step at work keeps checkpoints; None where nothing is kept.
        folder: of the step at work, for what it makes besides a model; None where nothing is kept.
        builds: the build folders that the step at work reads, each with what to call it.
        watch: is told about progress.
    """

    default_data: str | None = None
    data_dir: Path | None = None
    base: Path = field(default_factory=Path)
    output: str | None = None
    models: dict[str, Path] = field(default_factory=dict)
    scratch: Path | None = None
    folder: Path | None = None
    builds: tuple[tuple[str, Path], ...] = ()
    watch: Watch = field(default_factory=Watch)
    _data: dict[str, DataSet] = field(default_factory=dict)
    _data_ids: dict[str, str] = field(default_factory=dict)

    def output_of(self, model: onnx.ModelProto) -> str | None:
        """The output by which ``model`` is scored: a single one may have any name."""
        return self.output if len(model.graph.output) > 1 else None

    def data(self, name: str | None) -> DataSet:
        """The data set called ``name``, loaded once.

        Raises:
            UserError: when there is none, or no name is given and none stands in the recipe.
        """
        from graphops.data import load

        located = self.data_name(name)
        if located not in self._data:
            self._data[located] = load(located, self.data_dir)
        return self._data[located]

    def data_name(self, name: str | None) -> str:
        """``name``, or the default; a path from ``base`` as one from here."""
        from graphops.data import names

        chosen = self.default_data if name is None else name
        if not chosen:  # an empty one as an empty variable of the shell leaves it
            raise UserError("No data set is named; give one, e.g. data: cifar10.")
        return chosen if chosen in names() else str(self.base / os.path.expanduser(chosen))

    def data_id(self, name: str | None) -> str:
        """SHA-256, in hex, of all images and labels of a data set and how they are normalised."""
        located = self.data_name(name)
        if located not in self._data_ids:
            data = self.data(name)
            digest = hashlib.sha256(repr(data.normalisation).encode())
            for part in (data.train, data.test):
                for array in (part.images, part.labels):
                    digest.update(f"{array.dtype.str} {array.shape}".encode())
                    digest.update(array.tobytes())
            self._data_ids[located] = digest.hexdigest()
        return self._data_ids[located]

    def model_path(self, name: str) -> Path:
        """The file of the earlier step called ``name``, or the file at that path."""
        return self.models[name] if name in self.models else self.base / os.path.expanduser(name)

    def model_id(self, name: str) -> str:
        """What tells the model called ``name`` from others: its contents."""
        return fingerprint(self.model_path(name))
