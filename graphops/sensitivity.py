"""How much each skip connection matters: the accuracy with only that one removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from passes import RemoveSkips
from passes.base import Pass
from passes.errors import PassError
from passes.graph import Editor
from passes.skips import find_skips, read_records

if TYPE_CHECKING:
    from graphops.data import DataSet, Split
    from graphops.data.normalisation import Normalisation

IMAGES = 2000
"""Training images that a score is measured on: test images must not choose what is tested."""

GONE = 2.0
"""The score of a skip that is out already: no accuracy is above it, so that it stays the first to go."""

STAYS = -1.0
"""The score of a skip that cannot go, as the pass will say: no accuracy is below it, so that it is the last."""


def is_wanted(rewriter: Pass) -> bool:
    """Whether a pass goes by sensitivity and does not know it yet; without a stage it goes by no order."""
    by_sensitivity = getattr(rewriter, "order", None) == "sensitivity" and getattr(rewriter, "stage", 1)
    return bool(by_sensitivity) and not getattr(rewriter, "scores", ())


def measured(
    rewriter: Pass,
    model: onnx.ModelProto,
    dataset: DataSet,
    normalisation: Normalisation | str | None = None,
    progress: Callable[..., Any] | None = None,
    output: str | None = None,
) -> Pass:
    """``rewriter`` with its scores measured on ``dataset``."""
    found = scores(model, dataset, normalisation, progress, output)
    return dataclasses.replace(rewriter, scores=found)  # type: ignore[type-var]


def scores(
    model: onnx.ModelProto,
    dataset: DataSet,
    normalisation: Normalisation | str | None = None,
    progress: Callable[..., Any] | None = None,
    output: str | None = None,
) -> tuple[float, ...]:
    """The accuracy (0 to 1) with each single skip removed, or `GONE` or `STAYS`, by the skips' numbers.

    ``output`` is as for ``evaluate``.
    """
    from graphops.evaluate import evaluate

    sample = dataclasses.replace(dataset, test=spread(dataset.train, IMAGES))
    present = {int(skip.number.split(".")[0]) for skip in find_skips(model)}
    total = max(present | _recorded(model), default=0)
    found = []
    for number in range(1, total + 1):
        if progress is not None:
            progress(number - 1, total, f"without skip {number}")
        if number not in present:
            found.append(GONE)
            continue
        try:
            without = RemoveSkips(skips=(str(number),)).apply(model).model
        except PassError:
            found.append(STAYS)
        else:
            found.append(evaluate(without, sample, normalisation=normalisation, output=output).accuracy)
    return tuple(found)


def spread(split: Split, count: int) -> Split:
    """``count`` images at equal distances, for a data set may be sorted by class."""
    from graphops.data import Split

    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)
    return Split(split.images[chosen], split.labels[chosen])


def _recorded(model: onnx.ModelProto) -> set[int]:
    """The numbers of the skips that the model had before any pass."""
    return {int(record["number"].split(".")[0]) for record in read_records(Editor(model))}
