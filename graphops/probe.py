"""What native code makes of a model file, tried in a process of its own first.

onnx's checker, shape inference and inliner are C++: on a damaged file, or one made to harm, they may crash, hang or
take all memory there is. A forked process, with little memory and time, meets the model first and says what happened.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
import warnings
from pathlib import Path
from typing import NoReturn

import onnx

from graphops.limits import limit, memory_used
from passes.errors import ModelError
from passes.graph import Editor
from passes.inline import InlineFunctions

SECONDS = 12
"""Processor time for a model of no size; as many megabytes, as many seconds more."""

MEMORY = 3 * 2**28
"""Bytes for a model of no size, and as many times its own as `COPIES` says."""

COPIES = 8

_WAIT = 10
"""What the clock may say where processor time says 1."""

_MEMORY_SIGNS = ("bad_alloc", "MemoryError")


def probe(path: Path, model: onnx.ModelProto) -> None:
    """Check the model that was read from ``path``, and see that its shapes can be inferred and functions inlined.

    Raises:
        ModelError: when onnx's checker refuses it, or it crashes onnx, or takes more time or memory than it may.
    """
    size = model.ByteSize()
    seconds = SECONDS + size // 2**20
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking is sound here: the child takes no lock
        child = os.fork()
    if child == 0:
        os.close(reader)
        _child(path, model, seconds, MEMORY + COPIES * size, writer)
    os.close(writer)
    try:
        said = _read(reader, time.monotonic() + _WAIT * seconds)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)  # it is over, or should be
        _, status = os.waitpid(child, 0)
    if said is None:
        _refuse(path, "checking it takes too long")
    kind, reason = said[:1], said[1:].decode(errors="replace")
    if kind == b"I":
        raise ModelError(f"{path} is not a valid ONNX model ({reason}); export it again.")
    if kind == b"M":
        _refuse(path, "checking it takes more memory than a model of its size may")
    if kind != b"F":
        is_slow = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
        _refuse(path, "checking it takes too long" if is_slow else f"onnx {onnx.__version__} crashes on it")


def _refuse(path: Path, reason: str) -> NoReturn:
    raise ModelError(f"{path} is damaged or made to harm: {reason}; export it again.")


def _read(descriptor: int, until: float) -> bytes | None:
    """All that comes until the writer closes; None when the time is over first."""
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(max(0, until - time.monotonic())):
            part = os.read(descriptor, 65536)
            if not part:
                return said
            said += part
    return None


def _child(path: Path, model: onnx.ModelProto, seconds: int, memory: int, writer: int) -> NoReturn:
    """Never returns: what is buffered or registered for the end is the parent's."""
    said = b""
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        limit(0, memory_used() + memory, int(time.process_time()) + seconds)
        said = _verdict(path, model)
    except MemoryError:
        said = b"M"
    finally:
        os.write(writer, said)
        os._exit(0)


def _verdict(path: Path, model: onnx.ModelProto) -> bytes:
    try:
        # By path, for then the checker finds data files, and models of any size fit.
        onnx.checker.check_model(str(path))
    except Exception as error:
        if _is_out_of_memory(error):
            return b"M"
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        return b"I" + (lines[0].rstrip(".")[:2000] if lines else "no reason given").encode()
    for work in (_infer, _inline):
        try:
            work(model)
        except Exception as error:
            if _is_out_of_memory(error):
                return b"M"  # anything else is said by whoever does the same in earnest
    return b"F"


def _infer(model: onnx.ModelProto) -> None:
    editor = Editor(model)
    editor.shape(editor.tensor(model.graph.output[0].name))


def _inline(model: onnx.ModelProto) -> None:
    if model.functions:
        _infer(InlineFunctions().apply(model).model)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _MEMORY_SIGNS)
