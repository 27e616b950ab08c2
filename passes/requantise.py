"""What a join's quantisers become when it goes: one where two would follow each other, on the grid its readers expect.

A quantiser on the main path often serves the addition alone, and what the join makes is quantised again. Without the
join these two would round one after the other. The first goes, unless it may do more than round: one that knows no
negative numbers may stand for an activation that was folded into it.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper

from passes.errors import ModelError
from passes.graph import QUANTISERS, Editor, Node, is_standard
from passes.joins import grid_of, is_integer_join, opposite, result_grid

_ROUNDS = frozenset("Quant IntQuant BipolarQuant QuantizeLinear".split())
_BEHIND = frozenset("Relu Clip Identity Dropout".split())

# Where a node's inputs say on which grid it makes its output: scale, zero point.
_GRID = {
    "QuantizeLinear": (1, 2),
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    "QLinearAdd": (6, 7),
    "QLinearMul": (6, 7),
    "QGemm": (7, 8),
    "QLinearAveragePool": (3, 4),
    "QLinearGlobalAveragePool": (3, 4),
}


def is_quantiser(editor: Editor, node: Node) -> bool:
    """Whether ``node`` only rounds to a grid, or leaves fewer of its integers: a Clip behind a QuantizeLinear."""
    made: Node | None = node
    while made is not None and made.op == "Clip" and is_standard(made):
        made = editor.producer(made.inputs[0])
    return made is not None and made.op in (QUANTISERS if made is node else ("QuantizeLinear",))


def without_join(editor: Editor, join: Node, slot: int) -> gs.Variable:
    """The tensor that stands for what ``join`` makes once it is gone: the main path's, input ``slot``.

    Call it just before the join's readers are given that tensor; nodes may be added and grids set.
    """
    main = join.inputs[slot]
    if is_integer_join(join):
        return _on_result_grid(editor, join, slot)
    if _is_rounded_again(editor, join.outputs[0]):
        return _before_rounding(editor, main) or main
    return main


def _is_rounded_again(editor: Editor, tensor: gs.Variable) -> bool:
    """Whether every reader of ``tensor`` quantises it, itself or behind an activation that commutes with rounding."""
    readers = editor.consumers(tensor)
    if editor.is_pinned(tensor) or not readers:
        return False
    for node in readers:
        if tensor is not node.inputs[0]:
            return False
        if node.op in _ROUNDS:
            continue
        if not (node.op in _BEHIND and is_standard(node) and _is_rounded_again(editor, node.outputs[0])):
            return False
    return True


def _before_rounding(editor: Editor, tensor: gs.Variable) -> gs.Variable | None:
    """What the quantiser that makes ``tensor``, for one reader, rounds; None where it may do more than round."""
    chain = _quantiser(editor, tensor)
    if not chain:
        return None
    first, *rest = chain
    if first.op != "QuantizeLinear":
        return first.inputs[0] if editor.attribute(first, "signed", 1) else None
    bounds = [_value(editor, node.inputs[1]) for node in rest if node.op == "Clip"]
    if any(bound is None for bound in bounds):
        return None
    low = max((float(bound) for bound in bounds if bound is not None), default=None)
    return first.inputs[0] if _has_negative(editor, first.inputs[2:3], low) else None


def shared_quantiser(editor: Editor, join: Node, skip: int) -> Node | None:
    """The first node of the quantiser that ends the skip path, input ``skip`` of ``join``, on the main path's grid."""
    main, chain = editor.producer(join.inputs[opposite(join, skip)]), _quantiser(editor, join.inputs[skip])
    if main is None or not chain or main.op != chain[-1].op:
        return None
    return chain[0] if _same(editor, main.inputs[1:], chain[-1].inputs[1:]) else None


def _quantiser(editor: Editor, tensor: gs.Variable) -> list[Node]:
    """The nodes that quantise what ``tensor`` holds, first to last, where nothing else reads what they make.

    One Quant; or QuantizeLinear, Clips to fewer bits, DequantizeLinear.
    """
    node = _only_maker(editor, tensor)
    if node is None or node.op in ("Quant", "IntQuant"):
        return [] if node is None else [node]
    if node.op != "DequantizeLinear" or not is_standard(node):
        return []
    chain = [node]
    while chain[0].op != "QuantizeLinear":
        node = _only_maker(editor, chain[0].inputs[0])
        if node is None or node.op not in ("QuantizeLinear", "Clip") or len(node.inputs) < 2:
            return []
        chain.insert(0, node)
    return chain


def _only_maker(editor: Editor, tensor: gs.Variable) -> Node | None:
    return editor.producer(tensor) if editor.is_private(tensor) else None


def _has_negative(editor: Editor, zero: list[gs.Variable], low: float | None = None) -> bool:
    """Whether a grid with this zero point has negative numbers, where its integers begin at ``low`` at least."""
    value = _value(editor, zero[0]) if zero and zero[0].name else None
    if value is None or value.dtype.kind not in "iu":
        return False  # without a zero point the integers have no sign
    least = float(np.iinfo(value.dtype).min)
    return bool((value > max(least, least if low is None else low)).all())


def _value(editor: Editor, tensor: gs.Variable) -> np.ndarray | None:
    """A constant; None where it is none, or lies in a file that was not loaded."""
    try:
        return editor.value(tensor)
    except ModelError:
        return None


# -- joins of integers --------------------------------------------------------------------------------------------


def _on_result_grid(editor: Editor, join: Node, slot: int) -> gs.Variable:
    """The integers of the main path on the grid of the join's result."""
    main, old, new = join.inputs[slot], grid_of(join, slot), result_grid(join)
    if _same(editor, old, new):
        return main
    base = join.outputs[0].name
    if len(_given(new)) == 1:  # 0, which not every maker may leave out
        kind = editor.element_type(main) or TensorProto.UINT8
        new = [new[0], editor.add_constant(f"{base}_zero_point", np.zeros((), helper.tensor_dtype_to_np_dtype(kind)))]
    maker = editor.producer(main)
    if maker is not None and maker.op in _GRID and editor.is_private(main) and _has_negative(editor, old[1:]):
        for place, tensor in zip(_GRID[maker.op], new, strict=True):
            editor.set_input(maker, place, tensor)
        return main
    real = editor.add_node("DequantizeLinear", [main, *_given(old)], f"{base}_dequantized", before=join)
    return editor.add_node("QuantizeLinear", [real, *new], f"{base}_requantized", before=join)


def _given(grid: list[gs.Variable]) -> list[gs.Variable]:
    return [tensor for tensor in grid if tensor.name]


def _same(editor: Editor, old: list[gs.Variable], new: list[gs.Variable]) -> bool:
    if [t.name for t in old] == [t.name for t in new]:
        return True
    return len(old) == len(new) and all(_equal(editor, a, b) for a, b in zip(old, new, strict=True))


def _equal(editor: Editor, a: gs.Variable, b: gs.Variable) -> bool:
    one, other = _value(editor, a), _value(editor, b)
    return one is not None and other is not None and np.array_equal(one, other)
