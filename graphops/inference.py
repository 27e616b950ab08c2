"""Running models by onnxruntime, QONNX's quantisers included."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from graphops.quantisers import standard
from passes.errors import ModelError

_HIGHEST_IR = 10
"""The newest IR version that onnxruntime 1.19 reads; what came later are types that it could not run anyway."""


_PLACE = re.compile(r"/onnxruntime_src/\S+:\d+ (.* was false\.|.*\)) (?=[A-Z])")


def session(model: onnx.ModelProto, options: Any = None, what: str = "the model") -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        model: with its weights in memory, below 2 GB; never modified.
        options: ``onnxruntime.SessionOptions`` of its own.
        what: what to call the model in a sentence.

    Raises:
        ModelError: when onnxruntime cannot load it.
    """
    import onnxruntime

    content = serialised(standard(model))
    options = options or onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"onnxruntime {onnxruntime.__version__} cannot load {what} ({reason(error)}); "
            "convert it to opset 21 or lower and to standard operators."
        ) from error


def run(running: Any, outputs: Sequence[str], name: str, tensor: np.ndarray, what: str = "the model") -> list[Any]:
    """The ``outputs`` of the session ``running`` for the input ``name``, a batch of images.

    Raises:
        ModelError: when onnxruntime cannot run ``what``.
    """
    try:
        return list(running.run(outputs, {name: tensor}))
    except Exception as error:
        raise ModelError(
            f"onnxruntime cannot run {what} on {len(tensor)} images ({reason(error)}); "
            "check its shapes, or make the batch dimension symbolic or right."
        ) from error


def serialised(model: onnx.ModelProto) -> bytes:
    """``model`` as onnxruntime reads it; as for `session`."""
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelError("The model's weights lie in another file and are not loaded; load the model with its weights.")
    if model.ir_version > _HIGHEST_IR:
        newer, model = model, onnx.ModelProto()
        model.CopyFrom(newer)
        model.ir_version = _HIGHEST_IR
    try:
        return model.SerializeToString()
    except Exception as error:
        raise ModelError(
            "The model has 2 GB or more and cannot be run from memory; store its weights smaller."
        ) from error


def reason(error: Exception) -> str:
    """The sentence in onnxruntime's message, without its code numbers and places in its source."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _PLACE.sub("", line.rsplit(" : ", 1)[-1]).strip().rstrip(".")
