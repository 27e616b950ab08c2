"""Passes with an option that is measured on images, and what measures it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import onnx

from graphops import calibrate, sensitivity
from passes import Quantize
from passes.base import Pass

if TYPE_CHECKING:
    from graphops.data import DataSet
    from graphops.data.normalisation import Normalisation

_OPTIONS = ("scores", "ranges")


def option(rewriter: Pass | type[Pass]) -> str | None:
    """The option that is measured where a person does not give it; None for most passes."""
    fields = {field.name for field in dataclasses.fields(rewriter)}  # type: ignore[arg-type]
    return next((name for name in _OPTIONS if name in fields), None)


def is_wanted(rewriter: Pass, data: str | None = None) -> bool:
    """Whether a pass needs a measurement that it does not have yet; with ``data``, ranges may be given in part."""
    return sensitivity.is_wanted(rewriter) or (isinstance(rewriter, Quantize) and (bool(data) or not rewriter.ranges))


def measured(
    rewriter: Pass,
    model: onnx.ModelProto,
    dataset: DataSet,
    normalisation: Normalisation | str | None = None,
    progress: Callable[..., Any] | None = None,
    output: str | None = None,
) -> Pass:
    """``rewriter`` with its option measured on the training images of ``dataset``; scores go by ``output``."""
    if isinstance(rewriter, Quantize):
        return calibrate.calibrated(rewriter, model, dataset, normalisation, progress)
    return sensitivity.measured(rewriter, model, dataset, normalisation, progress, output)
