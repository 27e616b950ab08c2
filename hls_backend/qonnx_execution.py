"""qonnx's own execution of a graph, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import onnx

_HIGHEST_IR = 10
"""The newest IR version that onnxruntime 1.19 reads."""


@contextmanager
def readable_models() -> Iterator[None]:
    """While this lasts, the models of one node that qonnx hands to onnxruntime have an IR version that it reads.

    qonnx leaves the version to onnx, which writes its own newest.
    """
    from qonnx.core import onnx_exec

    original = onnx_exec.qonnx_make_model
    onnx_exec.qonnx_make_model = partial(original, ir_version=min(onnx.IR_VERSION, _HIGHEST_IR))
    try:
        yield
    finally:
        onnx_exec.qonnx_make_model = original


def wrap(model: onnx.ModelProto, images: int) -> Any:
    """A qonnx ModelWrapper of a copy of ``model`` for so many images at once, shapes inferred."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    weights = {i.name for i in fixed.graph.initializer}
    for value in [v for v in [*fixed.graph.input, *fixed.graph.output] if v.name not in weights]:
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            dims[0].dim_value = images
    del fixed.graph.value_info[:]
    return ModelWrapper(fixed).transform(InferShapes())


def execute(model: onnx.ModelProto, images: np.ndarray) -> Mapping[str, np.ndarray]:
    """Every tensor of ``model``, by name, as qonnx computes it for ``images``."""
    from qonnx.core.onnx_exec import execute_onnx

    wrapped = wrap(model, len(images))
    feeds = {wrapped.graph.input[0].name: images.astype(np.float32)}
    with readable_models():
        context: dict[str, np.ndarray] = execute_onnx(wrapped, feeds, return_full_exec_context=True)
    return context
