"""The one door to onnxruntime's training build.

Only its native module is used (the gradient graph builder and the graph optimiser before it). The Python package
``onnxruntime.training`` is never imported: it wants torch, and adds nothing that is needed here.

``onnxruntime`` (which qonnx asks for) and ``onnxruntime-training-cpu`` write the same folder, so the one that was
installed last wins, and a mix of two versions breaks in odd places. ``check`` finds both cases.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import onnx

from passes.errors import UserError

VERSION = "1.19.2"
MAX_OPSET = 21
MAX_IR = 10
REPAIR = f"python -m pip install --force-reinstall --no-deps onnxruntime-training-cpu=={VERSION}"


def native() -> ModuleType:
    """onnxruntime's native module, known to be a whole training build.

    Raises:
        UserError: when it is missing, is the build without training, or is a mix of two versions.
    """
    try:
        import onnxruntime
        import onnxruntime.capi.onnxruntime_pybind11_state as module
    except (ImportError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"onnxruntime does not load ({reason}); repair it with `{REPAIR}`.") from error
    if not hasattr(module, "GradientGraphBuilder"):
        raise UserError(
            f"onnxruntime {module.get_version_string()} is the build without training (it was installed over the "
            f"training build); repair it with `{REPAIR}`."
        )
    if onnxruntime.__version__ != module.get_version_string():
        raise UserError(
            f"onnxruntime is a mix of version {onnxruntime.__version__} and version {module.get_version_string()}; "
            f"repair it with `{REPAIR}`."
        )
    return module


def check() -> list[str]:
    """What is installed, one finding a line, after one gradient graph was built to see that it works.

    Raises:
        UserError: when training cannot work; the sentence holds the command that repairs it.
    """
    module = native()
    findings = [f"onnxruntime {module.get_version_string()} with training"]
    for name in ("onnxruntime", "onnxruntime-training-cpu", "onnxruntime-training"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            findings.append(f"package {name} {importlib.metadata.version(name)}")
    try:
        gradient_of(_smallest(), {"w"}, "y")
    except Exception as error:
        raise UserError(f"onnxruntime builds no gradient graph; repair it with `{REPAIR}`.") from error
    findings.append("gradient graphs build")
    return findings


def gradient_of(model: onnx.ModelProto, parameters: set[str], loss: str) -> onnx.ModelProto:
    """The model with nodes that compute ``<name>_grad`` for each parameter (graph inputs) from the scalar ``loss``.

    Raises:
        RuntimeError, IndexError: whatever onnxruntime raises; ``gradient.py`` puts it into words.
    """
    module = native()
    options = session_options()
    with silent_stderr():
        optimised = module.get_optimized_model(model.SerializeToString(), parameters, options)
        builder = module.GradientGraphBuilder(optimised, {loss}, parameters, loss, options)
        builder.build()
        built = builder.get_model()
    return onnx.load_from_string(built)


def session_options() -> Any:
    """Options of a session for training by one thread; the memory pattern costs memory and gains nothing there."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    return options


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Close file descriptor 2 to the native code, which logs each graph transformation at whatever log level."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no descriptor 2: nothing to silence
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _smallest() -> onnx.ModelProto:
    """y = mean(tanh(w)), a graph with a gradient."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Tanh", ["w"], ["t"]), helper.make_node("ReduceMean", ["t"], ["y"], keepdims=0)],
        "smallest",
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
