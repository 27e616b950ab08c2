"""Operators that onnx's reference evaluator knows only from opset 19 on, for weights stored as integers.

Attributes that later opsets have are taken and not looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

NEW_OPSET = 19


def _along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """A vector laid along ``axis`` of a tensor of ``rank`` axes; a scalar as it is."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


class DequantizeLinear(OpRun):
    """``(x - zero) * scale``; scale and zero are scalars or vectors along ``axis``."""

    op_domain = ""

    def _run(self, x: Any, scale: Any, zero: Any = None, axis: int = 1, **later: Any) -> tuple[np.ndarray]:
        steps = x.astype(np.int64)
        if zero is not None:
            steps = steps - _along(zero.astype(np.int64), x.ndim, axis)
        return ((steps * _along(scale, x.ndim, axis)).astype(scale.dtype),)


class QuantizeLinear(OpRun):
    """``round(x / scale) + zero``, ties to even, held within the range of the zero's type (uint8 without one)."""

    op_domain = ""

    def _run(self, x: Any, scale: Any, zero: Any = None, axis: int = 1, **later: Any) -> tuple[np.ndarray]:
        kind = np.dtype(np.uint8) if zero is None else zero.dtype
        steps = np.rint(x / _along(scale, x.ndim, axis))
        if zero is not None:
            steps = steps + _along(zero.astype(np.int64), x.ndim, axis)
        limits = np.iinfo(kind)
        return (np.clip(steps, limits.min, limits.max).astype(kind),)
