"""Computing once what depends on no input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper

from passes.affordable import reason_against
from passes.base import Pass, register
from passes.errors import ModelError, WeightElsewhereError
from passes.graph import QUANTISERS, RANDOM, Editor, Node, is_standard, label


@register
@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replaces what is computed from constants alone by initialisers of the same names. Exact.

    Quantisers stay, as they say which grid a weight lies on; so do Dropout, random operators, operators of other
    domains or with subgraphs, Constant nodes and graph outputs. What would be too large for the model (see
    `passes.affordable`) or too slow to compute here stays as well, and is told.
    """

    name: ClassVar[str] = "fold-constants"
    exact: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def rewrite(self, editor: Editor) -> list[str]:
        room, before = editor.room, -1
        while len(editor.nodes) != before:  # sizes that were unknown may follow from what was just computed
            before = len(editor.nodes)
            notes, used = self._fold(editor, room)
            room -= used
        return notes

    def _fold(self, editor: Editor, room: int) -> tuple[list[str], int]:
        """Fold what has a known size; the notes, and how many elements were made."""
        constant = {t.name for n in editor.nodes if n.op == "Constant" for t in n.outputs} | {""}
        foldable: dict[int, Node] = {}
        notes: list[str] = []
        total = 0
        for node in editor.nodes:
            if _is_pure(node) and all(t.name in constant or editor.is_initializer(t) for t in node.inputs):
                sizes = [_size(editor, t) for t in node.outputs if t.name]
                read = [_size(editor, t) for t in node.inputs if t.name]
                reason = (
                    "the size of what it makes is unknown before it runs"
                    if None in sizes
                    else reason_against(node.op, read, sizes, room - total)
                )
                if reason is not None:
                    notes.append(f"{label(node)} stays: {reason}.")
                    continue
                total += sum(size or 0 for size in sizes)
                foldable[id(node)] = node
                constant |= {t.name for t in node.outputs}
        wanted = [
            (tensor, editor.element_type(tensor), editor.shape(tensor))
            for node in foldable.values()
            for tensor in node.outputs
            if tensor.name not in editor.outputs and any(id(n) not in foldable for n in editor.readers(tensor))
        ]
        known: dict[str, np.ndarray] = {}
        for tensor, kind, shape in wanted:
            try:
                value = editor.value(tensor, known)
            except WeightElsewhereError:
                raise
            except ModelError as error:
                notes.append(f"{tensor.name!r} stays: {error}")
                continue
            if (helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) == (kind, shape):
                editor.become_constant(tensor, value)
            else:
                notes.append(f"{tensor.name!r} stays: its reference gives {value.dtype} of shape {list(value.shape)}.")
        return notes, total


def _is_pure(node: Node) -> bool:
    """Whether the node computes the same from the same inputs, and says nothing that its value would not say."""
    return (
        is_standard(node)
        and node.op not in QUANTISERS
        and node.op not in RANDOM
        and node.op not in ("Constant", "Dropout")
        and bool(node.inputs)
        and not any(a.HasField("g") or a.graphs for a in node.source.attribute)
    )


def _size(editor: Editor, tensor: gs.Variable) -> int | None:
    """The number of elements, None when unknown."""
    shape = editor.shape(tensor)
    sizes = [d for d in shape or () if isinstance(d, int)]
    return math.prod(sizes) if shape is not None and len(sizes) == len(shape) else None
