"""Running a model in a process of its own, where it can neither crash nor starve this one.

A graph of a few bytes may ask for more memory than there is, loop for ever, or meet a fault in a runtime.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from graphops.inference import reason, serialised
from graphops.limits import limit
from passes.errors import ModelError
from passes.operators import DEFAULT_DOMAINS, QUANTISERS

SECONDS = 30
"""Processor time for a small model; as long again for each 200 MB that it has."""

MEMORY = 2**32
"""Bytes for a small model; a big one may have eight times its own size more."""

_WAIT = 20
"""What the clock may say where processor time says 1."""


def run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of ``model`` by name, by onnxruntime, or by qonnx where it has quantisers of QONNX's.

    Args:
        model: with its weights in memory, below 2 GB.
        feeds: the inputs by name.

    Raises:
        ModelError: when it cannot be run, crashes the runtime, or takes more time or memory than it may.
    """
    content = serialised(model)
    memory, seconds = MEMORY + 8 * len(content), SECONDS * (1 + len(content) // (200 * 2**20))
    request = _request(content, feeds, _needs_qonnx(model))
    # -P: the files beside this one are no modules for that program to import.
    program = [sys.executable, "-P", str(Path(__file__).with_name("sandboxed.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            limit(process.pid, memory, seconds)
            answer, _ = process.communicate(request, timeout=_WAIT * seconds)
        except subprocess.TimeoutExpired as error:
            raise _refusal(f"it does not come to an end in {_WAIT * seconds} s") from error
        finally:
            process.kill()
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _refusal(f"it does not come to an end in {seconds} s of processor time")
    if process.returncode or not answer:
        raise _refusal("it crashes the runtime")
    return _outputs(answer, memory)


def _request(content: bytes, feeds: Mapping[str, np.ndarray], qonnx: bool) -> bytes:
    parts = []
    for array in feeds.values():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        parts.append(buffer.getvalue())
    sizes = [(name, len(part)) for name, part in zip(feeds, parts, strict=True)]
    header = json.dumps({"model": len(content), "feeds": sizes, "qonnx": qonnx}).encode() + b"\n"
    return b"".join((header, content, *parts))


def _outputs(answer: bytes, memory: int) -> dict[str, np.ndarray]:
    stream = io.BytesIO(answer)
    header = json.loads(stream.readline())
    if "error" not in header:
        return {name: np.load(io.BytesIO(stream.read(size)), allow_pickle=False) for name, size in header["outputs"]}
    said = header["error"]
    if any(sign in said for sign in ("bad_alloc", "MemoryError", "Failed to allocate", "Unable to allocate")):
        raise _refusal(f"it takes more than {memory / 2**30:.0f} GB of memory")
    raise _refusal(reason(Exception(said)))


def _needs_qonnx(model: onnx.ModelProto) -> bool:
    return any(node.op_type in QUANTISERS and node.domain not in DEFAULT_DOMAINS for node in model.graph.node)


def _refusal(why: str) -> ModelError:
    remedy = "convert it to opset 21 or lower" if "onnx opset" in why else "export it again"
    return ModelError(f"The model cannot be run ({why}); {remedy}, or leave out what runs it.")
