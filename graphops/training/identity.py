"""What decides the result of a training, so that a folder is only continued by the training that began it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx

from graphops.data import Split
from graphops.training.checkpoint import Checkpoint
from graphops.training.options import TrainOptions
from passes.errors import UserError

_CONTENTS = ("model", "teacher", "data")


def identity(
    model: onnx.ModelProto,
    teacher: onnx.ModelProto | None,
    data: Split,
    normalisation: str,
    workers: int,
    options: TrainOptions,
) -> dict[str, Any]:
    """All that decides the result, as JSON takes it; models and images by their SHA-256."""
    return options.identity() | {
        "model": _model_hash(model),
        "teacher": _model_hash(teacher) if teacher is not None else None,
        "data": _data_hash(data),
        "normalisation": normalisation,
        "workers": workers,
    }


def refuse_other(saved: Checkpoint, own: dict[str, Any]) -> None:
    """Refuse the checkpoint of another training.

    One may go on with another ``max_drop`` unless the old one has added epochs, which the new one might not have, and
    with another ``budget`` that allows for all that were added.

    Raises:
        UserError: it names the first difference.
    """
    before, added = saved.header["identity"], saved.header["state"].get("added", 0)
    for key in {**before, **own}:
        old, new = before.get(key), own.get(key)
        is_beginning = key == "budget" and added <= (new or 0)
        is_judged_anew = key == "max_drop" and added == 0 and old is not None and new is not None
        if old != new and not is_beginning and not is_judged_anew:
            difference = f"another {key}" if key in _CONTENTS else f"{key}={old!r}, not {new!r}"
            raise UserError(
                f"{saved.path.parent} holds a training with {difference}; choose another folder, or remove that one."
            )


def _model_hash(model: onnx.ModelProto) -> str:
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _data_hash(split: Split) -> str:
    digest = hashlib.sha256(repr((split.images.shape, split.images.dtype.str)).encode())
    digest.update(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
