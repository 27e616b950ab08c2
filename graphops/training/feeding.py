"""What each step of a training is fed with: images, labels, and what the teacher makes of the images."""

from __future__ import annotations

import onnx
from numpy.typing import NDArray

from graphops.data import DataSet
from graphops.data.feed import Feed
from graphops.training.ahead import Ahead
from graphops.training.batches import Batches
from graphops.training.loss import LABELS, TEACHER, LossGraph
from graphops.training.options import TrainOptions
from graphops.training.prepare import Prepared, prepare, probe
from graphops.training.remembered import Remembered, fits
from graphops.training.teacher import Teacher
from passes.errors import UserError

Shapes = dict[str, tuple[int, ...]]


class Feeding:
    """The inputs of each step, the next step's prepared while one is computed.

    Args:
        prepared: the model.
        graph: its loss, which says what of the teacher is wanted.
        feed: images as the model takes them.
        dataset: whose training images they are.
        batches: which of them, step by step.
        teacher: the model whose values the loss compares with, if it does.
        workers: threads of the teacher.
        again: whether images are seen again as they were, so that the teacher's values can be remembered.
        output: the output that holds the logits, where a model has several.
    """

    def __init__(
        self,
        prepared: Prepared,
        graph: LossGraph,
        feed: Feed,
        dataset: DataSet,
        batches: Batches,
        teacher: onnx.ModelProto | None,
        workers: int,
        again: bool,
        output: str | None,
    ) -> None:
        self._input, self._feed, self._dataset, self._batches = prepared.input, feed, dataset, batches
        self._teacher, self._again = None, again
        if teacher is not None and graph.wanted:
            self._teacher = Teacher(
                teacher, dataset, feed.normalisation, graph.wanted, prepared.logits, workers, output
            )
        self._remembered: Remembered | None = None
        self._ahead = Ahead(self.prepare)

    def remember(self) -> None:
        """Ask the teacher once for every image, where that serves later steps."""
        images = self._dataset.train.images
        if self._teacher is not None and self._again and fits(self._teacher, images):
            self._remembered = Remembered(self._teacher, images, self._batches.size)

    def signature(self, shapes: Shapes) -> dict[str, tuple]:
        """The type of each input and its shape for one image.

        Args:
            shapes: of the model's tensors that the teacher's are compared with, for one image.

        Raises:
            UserError: when the teacher's have other shapes.
        """
        train = self._dataset.train
        example = self._inputs(train.images[:2], train.labels[:2])
        found = {name: (array.dtype, array.shape[1:]) for name, array in example.items()}
        _check_teacher({name: tail for name, (_, tail) in found.items()}, shapes)
        return found

    def prepare(self, step: int) -> dict[str, NDArray]:
        """What step ``step`` (from 0) is fed with."""
        return self._inputs(*self._batches.take(step))

    def take(self, step: int, steps: int) -> dict[str, NDArray]:
        """As `prepare`; meanwhile the next step's begin, if it is below ``steps``."""
        return self._ahead.take(step, steps)

    def close(self) -> None:
        """End the thread."""
        self._ahead.close()

    def _inputs(self, images: NDArray, labels: NDArray, numbers: NDArray | None = None) -> dict[str, NDArray]:
        inputs = {self._input: self._feed(images), LABELS: labels}
        if self._remembered is not None and numbers is not None:
            return inputs | self._remembered(numbers)
        return inputs | self._teacher(images) if self._teacher else inputs


def checked(model: onnx.ModelProto, feed: Feed, dataset: DataSet, options: TrainOptions) -> tuple[Prepared, Shapes]:
    """The prepared model and the shapes for one image of its logits and features, after it was run on a few.

    Raises:
        UserError: when model and data do not fit each other.
    """
    images = feed(dataset.train.images[:2])
    prepared = prepare(model, options.output, options.freeze, options.features, images.shape[1:])
    prepared, shapes = probe(prepared, images, prepared.features)
    classes = shapes[prepared.logits][0]
    if classes != len(dataset.classes):
        raise UserError(
            f"The model has {classes} classes and {dataset.name} has {len(dataset.classes)}; "
            "choose a data set or a model that fits."
        )
    return prepared, shapes


def _check_teacher(given: Shapes, wanted: Shapes) -> None:
    for tensor, shape in wanted.items():
        found = given.get(TEACHER + tensor, shape)
        if found != shape:
            raise UserError(
                f"The teacher's values for {tensor!r} are {list(found)} an image and the model's {list(shape)}; "
                "give a teacher of the same classes and feature sizes."
            )
