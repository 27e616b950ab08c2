"""Running models by onnxruntime, QONNX's quantisers included."""

from __future__ import annotations

from typing import Any

import onnx

from graphops.quantisers import standard
from passes.errors import ModelError

_HIGHEST_IR = 10
"""The newest IR version that onnxruntime 1.19 reads; what came later are types that it could not run anyway."""


def session(model: onnx.ModelProto) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        model: with its weights in memory, below 2 GB; never modified.

    Raises:
        ModelError: when onnxruntime cannot load it.
    """
    import onnxruntime

    content = serialised(standard(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"onnxruntime {onnxruntime.__version__} cannot load the model ({reason(error)}); "
            "convert it to opset 21 or lower and to standard operators."
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
    """The sentence in onnxruntime's message, without its code numbers."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line.rsplit(" : ", 1)[-1].strip().rstrip(".")
