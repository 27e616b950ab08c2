"""The bar that a training must clear: its teacher's accuracy less ``max_drop``, both on the test images."""

from __future__ import annotations

from functools import cached_property

import onnx

from graphops.data import DataSet
from graphops.data.feed import METADATA_KEY
from graphops.data.normalisation import Normalisation
from graphops.evaluate import evaluate
from graphops.training.progress import Trained
from graphops.training.readable import among_several
from passes.errors import UserError


class MissedBar(UserError):
    """A training ended below its bar; ``trained`` is what it came to all the same."""

    def __init__(self, sentence: str, trained: Trained) -> None:
        self.trained = trained
        super().__init__(sentence)


class Bar:
    """What ``teacher`` reaches, less ``max_drop``.

    Args:
        teacher: the model to compare with.
        dataset: its test images decide.
        normalisation: for a teacher whose metadata name none.
        limit: test images to use; None means all.
        max_drop: 0 to 1.
        output: the output that holds the logits, where the teacher has several.
    """

    def __init__(
        self,
        teacher: onnx.ModelProto,
        dataset: DataSet,
        normalisation: Normalisation,
        limit: int | None,
        max_drop: float,
        output: str | None = None,
    ) -> None:
        self._teacher, self._dataset, self._limit, self.max_drop = teacher, dataset, limit, max_drop
        self._output = among_several(teacher, output)
        named = any(p.key == METADATA_KEY for p in teacher.metadata_props)
        self._normalisation = None if named else normalisation

    @cached_property
    def teacher_accuracy(self) -> float:
        """The teacher's accuracy, 0 to 1."""
        return evaluate(
            self._teacher,
            self._dataset,
            limit=self._limit,
            normalisation=self._normalisation,
            output=self._output,
        ).accuracy

    def is_cleared_by(self, accuracy: float) -> bool:
        """Whether ``accuracy`` is at most ``max_drop`` below the teacher's (to the rounding of the figures)."""
        return accuracy >= self.teacher_accuracy - self.max_drop - 1e-9
