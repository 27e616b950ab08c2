"""Nodes that add two tensors: numbers, or whole numbers on grids (onnxruntime's QLinearAdd)."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from passes.graph import Node, is_standard, label
from passes.refusal import Refusal

# QLinearAdd reads A, its scale and zero point, B, its scale and zero point, then the result's scale and zero point.
_A, _B, _RESULT = 0, 3, 6


def is_join(node: Node) -> bool:
    """Whether ``node`` adds exactly two tensors."""
    return is_integer_join(node) or (node.op in ("Add", "Sum") and is_standard(node) and len(node.inputs) == 2)


def is_integer_join(node: Node) -> bool:
    """Whether ``node`` adds two tensors of integers, each on a grid of its own."""
    return node.op == "QLinearAdd" and node.domain == "com.microsoft" and len(node.inputs) > _RESULT


def addends(node: Node) -> list[gs.Variable]:
    """The two tensors that a join adds."""
    return [node.inputs[_A], node.inputs[_B]] if is_integer_join(node) else list(node.inputs)


def opposite(node: Node, slot: int) -> int:
    """The input of a join that is added to its input ``slot``."""
    return _A + _B - slot if is_integer_join(node) else 1 - slot


def grid_of(node: Node, slot: int) -> list[gs.Variable]:
    """Scale and zero point of an integer join's addend at ``slot``; the zero point may be left out."""
    return node.inputs[slot + 1 : slot + 3]


def result_grid(node: Node) -> list[gs.Variable]:
    """Scale and zero point of what an integer join makes."""
    return node.inputs[_RESULT : _RESULT + 2]


def demand_real_numbers(node: Node) -> None:
    """Raises Refusal at an integer join: weights that take its skip in would need a grid of their own."""
    if is_integer_join(node):
        raise Refusal(f"{label(node)} adds integers on grids", "do this before the network is quantised")
