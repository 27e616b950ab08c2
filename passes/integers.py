"""Quantised weights as the integers that they stand for, at a quarter of their size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from passes.base import Pass, register
from passes.errors import ModelError, PassError, WeightElsewhereError
from passes.gate import BROADCASTING
from passes.graph import Editor, Node, attributes

_MOST_BITS = 8
_INPUTS = {"Quant": 4, "IntQuant": 4, "BipolarQuant": 2}


@register
@dataclass(frozen=True)
class IntegerWeights(Pass):
    """Stores weights behind QONNX quantisers as int8, with the Cast and Mul that make the float32 tensor of old name.

    A weight becomes the number that its quantiser makes of it, which the quantiser maps to itself: the network's
    function is the same to the bit, but training on starts from rounded weights. Where a weight has more than 8 bits, a
    zero point, or other readers it stays as it is. `fold-constants` turns the file back into plain float32 weights.

    Options:
        above: weights of more elements than this are stored so.
    """

    name: ClassVar[str] = "integer-weights"
    exact: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    above: int = 64

    def rewrite(self, editor: Editor) -> list[str]:
        if editor.opset < BROADCASTING:
            reason = f"it is of opset {editor.opset}, whose Mul knows no scale a channel"
            raise PassError(self.name, "the model", reason, "convert it with onnx.version_converter to opset 13")
        notes = []
        for node in editor.nodes:
            if len(node.inputs) != _INPUTS.get(node.op) or not editor.is_initializer(node.inputs[0]):
                continue
            weight, scale = node.inputs[:2]
            if math.prod(editor.value(weight).shape) <= self.above:
                continue
            levels = _levels(editor, node)
            if levels is None or len(editor.readers(weight)) > 1 or editor.is_pinned(weight):
                notes.append(f"{weight.name!r} stays float32: it is more than one quantiser of 8 bits makes of it.")
                continue
            stored = editor.add_constant(f"{weight.name}_levels", levels)
            floats = editor.add_node("Cast", [stored], f"{weight.name}_cast", before=node, to=TensorProto.FLOAT)
            editor.store_as(weight, [floats, scale], "Mul")
        return notes


def _levels(editor: Editor, node: Node) -> np.ndarray | None:
    """The weight in steps of its scale as int8; None where that cannot be said, or is no whole number."""
    weight, scale, *others = (_constant(editor, tensor) for tensor in node.inputs)
    if weight is None or scale is None or weight.dtype != np.float32 or scale.dtype != np.float32:
        return None
    if not (scale > 0).all() or not np.isfinite(weight).all() or not _broadcasts(scale, weight):
        return None
    if node.op == "BipolarQuant":
        return np.where(weight >= 0, 1, -1).astype(np.int8)
    zero, bits = others
    found = attributes(node)
    rounds = found.get("rounding_mode", b"ROUND") in (b"ROUND", b"HALF_EVEN")
    if zero is None or zero.any() or bits is None or bits.size != 1 or not rounds or not found.get("signed", 1):
        return None
    width = bits.item()
    if width not in range(1, _MOST_BITS + 1):
        return None
    if width == 1:
        return np.where(weight / scale >= 0, 1, -1).astype(np.int8)
    high = 2 ** (int(width) - 1) - 1
    low = -high if found.get("narrow", 0) else -high - 1
    return np.round(np.clip(weight / scale, low, high)).astype(np.int8)


def _broadcasts(scale: np.ndarray, weight: np.ndarray) -> bool:
    fits = zip(reversed(scale.shape), reversed(weight.shape), strict=False)
    return scale.ndim <= weight.ndim and all(one in (1, size) for one, size in fits)


def _constant(editor: Editor, tensor: gs.Variable) -> np.ndarray | None:
    try:
        return editor.value(tensor)
    except WeightElsewhereError:
        raise
    except ModelError:
        return None
