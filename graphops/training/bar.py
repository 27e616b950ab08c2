"""The bar that a training must clear: its teacher's accuracy less ``max_drop``, both on the test images."""

from __future__ import annotations

import onnx

from graphops.data import DataSet
from graphops.data.feed import knows_normalisation
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
        normalisation: for a teacher that knows none.
        limit: test images to use; None means all.
        max_drop: 0 to 1.
        output: the output that holds the logits, where the teacher has several.

    Attributes:
        teacher_accuracy: 0 to 1.

    Raises:
        UserError: when the teacher does not fit the images.
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
        self.max_drop = max_drop
        self.teacher_accuracy = evaluate(
            teacher,
            dataset,
            limit=limit,
            normalisation=None if knows_normalisation(teacher) else normalisation,
            output=among_several(teacher, output),
        ).accuracy

    def is_cleared_by(self, accuracy: float) -> bool:
        """Whether ``accuracy`` is at most ``max_drop`` below the teacher's (to the rounding of the figures)."""
        return accuracy >= self.teacher_accuracy - self.max_drop - 1e-9
