"""How many images of a data set a model classifies rightly, by onnxruntime on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from graphops.data.dataset import DataSet
from graphops.data.feed import Feed
from graphops.data.normalisation import Normalisation
from graphops.inference import run, session
from passes.errors import ModelError, UserError


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's score.

    Attributes:
        correct: images whose class has the largest output.
        count: images scored.
        predictions: int64 [count], the class with the largest output; the first of equals; -1 where that is no finite
            number, which is never right.
        seconds: spent in the model.
        output: which of the model's was scored.
    """

    correct: int
    count: int
    predictions: np.ndarray
    seconds: float
    output: str

    @property
    def undecided(self) -> int:
        """Images without a prediction."""
        return int((self.predictions < 0).sum())

    @property
    def accuracy(self) -> float:
        """``correct / count``, from 0 to 1."""
        return self.correct / self.count


def evaluate(
    model: onnx.ModelProto,
    dataset: DataSet,
    split: str = "test",
    limit: int | None = None,
    batch: int = 256,
    normalisation: Normalisation | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    output: str | None = None,
) -> Evaluation:
    """Score ``model`` on one split of ``dataset``.

    Args:
        model: with its weights in memory, below 2 GB.
        dataset: must fit the model's input and have as many classes as the output.
        split: "test" or "train".
        limit: score the first so many images only.
        batch: images at once, where the model leaves the choice.
        normalisation: see :class:`graphops.data.feed.Feed`.
        progress: called with images done and images to do after each batch.
        output: the output [N, classes], or [N, classes, 1, 1], that gives the classes; the first such one by default.

    Raises:
        UserError: when model and data set do not fit, onnxruntime cannot run the model, or an argument is wrong.
    """
    for option, value in (("limit", limit), ("batch", batch)):
        if value is not None and value < 1:
            raise UserError(f"Cannot evaluate with {option}={value}; give at least 1.")
    images = dataset.split(split).first(limit)
    feed = Feed(model, dataset, normalisation)
    running = session(model)
    output = _output(running, dataset, output)
    size = feed.batch_size or batch
    predictions = np.empty(len(images), np.int64)
    started = time.perf_counter()
    for first in range(0, len(images), size):
        part = images.images[first : first + size]
        (logits,) = run(running, [output], feed.input_name, _fill(feed(part), feed.batch_size))
        if not _is_row(logits.shape) or logits.shape[0] < len(part) or logits.shape[1] != len(dataset.classes):
            raise _misfit(output, list(logits.shape), dataset)
        logits = logits.reshape(logits.shape[:2])[: len(part)]
        predictions[first : first + len(part)] = np.where(np.isfinite(logits.max(axis=1)), logits.argmax(axis=1), -1)
        if progress is not None:
            progress(first + len(part), len(images))
    seconds = time.perf_counter() - started
    return Evaluation(int((predictions == images.labels).sum()), len(images), predictions, seconds, output)


def _fill(tensor: np.ndarray, size: int | None) -> np.ndarray:
    """``tensor`` with zeros appended up to ``size``, for models that take no fewer images."""
    if size is None or len(tensor) == size:
        return tensor
    return np.concatenate([tensor, np.zeros((size - len(tensor), *tensor.shape[1:]), tensor.dtype)])


def _output(session: Any, dataset: DataSet, chosen: str | None) -> str:
    """``chosen``, else the first floating-point output of [N, classes] or [N, classes, 1, 1], as far as is known."""
    outputs = session.get_outputs()
    if chosen is not None:
        if chosen not in (names := [output.name for output in outputs]):
            raise ModelError(f"The model has no output {chosen!r}; it has {', '.join(names)}.")
        return chosen
    floats = [o for o in outputs if o.type in ("tensor(float)", "tensor(float16)", "tensor(double)")]
    found = [(str(o.name), shape) for o in floats if _is_row(shape := o.shape or [None, None])]
    rows = [(name, shape) for name, shape in found if len(shape) == 2] or found  # others may well be features
    for name, (_, classes, *_) in rows:
        if not isinstance(classes, int) or classes == len(dataset.classes):
            return name
    if rows:
        raise _misfit(*rows[0], dataset)
    shapes = ", ".join(f"{output.name!r} {output.shape}" for output in outputs)
    raise ModelError(f"The model has no output [N, classes] but {shapes}; add one, e.g. a Flatten at the end.")


def _is_row(shape: Sequence[Any]) -> bool:
    return len(shape) >= 2 and all(size == 1 for size in shape[2:])


def _misfit(output: str, shape: list[int | str | None], dataset: DataSet) -> UserError:
    sizes = "x".join(str(size) for size in shape)
    return UserError(
        f"The model's output {output!r} is {sizes} and {dataset.name} has {len(dataset.classes)} classes; "
        "choose a data set or a model that fits."
    )
