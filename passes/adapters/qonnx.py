"""Passes as qonnx transformations."""

from __future__ import annotations

from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from passes.adapters.common import run
from passes.base import Pass


class AsQonnx(Transformation):
    """A pass as a qonnx transformation: ``model = model.transform(AsQonnx(RemoveSkips(stage=1)))``.

    Attributes:
        changed: whether the last application changed the model.
        notes: the notes of the last application.
    """

    def __init__(self, rewriter: Pass) -> None:
        super().__init__()
        self.rewriter = rewriter
        self.changed = False
        self.notes: tuple[str, ...] = ()

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Put the rewritten graph into ``model``, which ``transform`` has copied.

        The flag asks qonnx to apply the transformation again. It is always False: a pass does all it can at once.
        """
        result = run(self.rewriter, model.model)
        self.changed, self.notes = result.changed, result.notes
        model.model = result.model
        return model, False
