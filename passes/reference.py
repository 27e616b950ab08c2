"""What single nodes compute, by onnx's reference evaluator.

For weights stored as integers, two operators are here that it knows only from opset 19 on; attributes that later
opsets have are taken and not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

NEW_OPSET = 19

# Below these operator sets the evaluator computes something else: a softmax over one axis where it was over all that
# follow as well, a normalisation by the batch, a region half a pixel away; in any, an L1 norm of numbers with their
# signs, a normalisation of as many channels as there are images.
_SINCE = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), 13),
    "BatchNormalization": 14,
    "RoiAlign": 16,
    **dict.fromkeys(("LpNormalization", "LRN"), math.inf),
}


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


def evaluate(node: onnx.NodeProto, values: Mapping[str, Any], opset: int) -> list[Any]:
    """What a standard ``node`` makes of ``values`` (by name), output by output.

    Raises:
        Exception: of any kind, where it has no reference or its inputs do not fit.
    """
    missing = [DequantizeLinear, QuantizeLinear] if opset < NEW_OPSET else []
    given = {name: values[name] for name in node.input if name}
    if opset < _SINCE.get(node.op_type, 0):
        raise NotImplementedError(f"there is no reference for it in opset {opset}")
    # In a graph of its own, as the evaluator takes a bare node for one of the newest operator set.
    graph = onnx.GraphProto(name="node", node=[node])
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in given)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    results = iter(ReferenceEvaluator(graph, opsets={node.domain: opset}, new_ops=missing).run(None, given))
    return [next(results) if name else None for name in node.output]
