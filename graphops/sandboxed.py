"""The program that `graphops.sandbox` starts: it runs one model and ends.

It is run as a file, not as a part of graphops, so that it starts fast and wherever graphops came from.
"""

from __future__ import annotations

import io
import json
import os
import sys
from functools import partial
from typing import Any, BinaryIO

import numpy as np


def main() -> None:
    answer = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # native code may print what it likes
    os.dup2(silence, 2)
    try:
        request = json.loads(sys.stdin.buffer.readline())
        model = sys.stdin.buffer.read(request["model"])
        feeds = {name: _array(sys.stdin.buffer, size) for name, size in request["feeds"]}
        outputs = (_by_qonnx if request["qonnx"] else _by_onnxruntime)(model, feeds)
        parts = [(name, _bytes(value)) for name, value in outputs]
    except Exception as error:  # the runtimes' exceptions share no base but this one
        said = f"{type(error).__name__}: {error}" if isinstance(error, MemoryError) else str(error)
        answer.write(json.dumps({"error": said or type(error).__name__}).encode() + b"\n")
    else:
        answer.write(json.dumps({"outputs": [(name, len(part)) for name, part in parts]}).encode() + b"\n")
        for _, part in parts:
            answer.write(part)
    answer.flush()
    os._exit(0)  # nothing here is worth the time that a runtime takes to clean up


def _by_onnxruntime(model: bytes, feeds: dict[str, np.ndarray]) -> list[tuple[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception
    options.enable_cpu_mem_arena = False  # it takes twice what is needed
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return list(zip(names, session.run(None, feeds), strict=True))


def _by_qonnx(content: bytes, feeds: dict[str, np.ndarray]) -> list[tuple[str, Any]]:
    import onnx
    from qonnx.core import onnx_exec
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    model = onnx.load_model_from_string(content)
    for value in model.graph.input:
        if value.name in feeds:
            for dim, size in zip(value.type.tensor_type.shape.dim, feeds[value.name].shape, strict=True):
                dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    wrapper = ModelWrapper(model).transform(InferShapes())
    # It hands onnxruntime models of one node in onnx's newest version, which onnxruntime 1.19 does not read.
    onnx_exec.qonnx_make_model = partial(onnx_exec.qonnx_make_model, ir_version=min(onnx.IR_VERSION, 10))
    return list(onnx_exec.execute_onnx(wrapper, feeds).items())


def _array(stream: BinaryIO, size: int) -> np.ndarray:
    array: np.ndarray = np.load(io.BytesIO(stream.read(size)), allow_pickle=False)
    return array


def _bytes(value: Any) -> bytes:
    """An array as numpy saves it; texts, sequences and nothings as one of text."""
    array = np.asarray(value) if isinstance(value, np.ndarray) else np.array([str(value)])
    buffer = io.BytesIO()
    np.save(buffer, array.astype(str) if array.dtype == object else array, allow_pickle=False)
    return buffer.getvalue()


main()
