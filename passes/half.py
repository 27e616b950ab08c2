"""Weights at half the size, for keeping a small network in a repository."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from onnx import TensorProto

from passes.base import Pass, register
from passes.graph import Editor


@register
@dataclass(frozen=True)
class HalfWeights(Pass):
    """Stores big float32 weights as float16, each with a Cast that makes the float32 tensor of the old name.

    The values are rounded to float16, so this is not exact; `fold-constants` turns the file back into plain float32
    weights of the same names. A weight that float16 cannot hold stays as it is.

    Options:
        above: weights of more elements than this are stored so.
    """

    name: ClassVar[str] = "half-weights"
    exact: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = True

    above: int = 256

    def rewrite(self, editor: Editor) -> list[str]:
        notes = []
        for proto in list(editor.source.graph.initializer):
            tensor = editor.tensor(proto.name)
            small = math.prod(proto.dims) <= self.above
            if proto.data_type != TensorProto.FLOAT or small or not editor.readers(tensor):
                continue
            if editor.is_pinned(tensor):
                notes.append(f"{proto.name!r} stays float32: it is an output, or read inside a subgraph.")
                continue
            value = editor.value(tensor)
            with np.errstate(over="ignore"):
                half = value.astype(np.float16)
            if not np.array_equal(np.isfinite(value), np.isfinite(half)):
                notes.append(f"{proto.name!r} stays float32: float16 cannot hold {np.abs(value).max():.3g}.")
                continue
            stored = editor.add_constant(f"{proto.name}_half", half)
            # Cast named types by words before opset 6.
            editor.store_as(tensor, [stored], "Cast", to="FLOAT" if editor.opset < 6 else TensorProto.FLOAT)
        return notes
