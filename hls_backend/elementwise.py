"""Functions applied number by number: which operators they are, and whether they rise or fall."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hls_backend.reference import batchnorm, is_identity
from passes.graph import Node, attributes

BINARY = frozenset({"Add", "Sum", "Sub", "Mul", "Div", "Min", "Max", "Pow", "PRelu"})
"""Operators of two numbers; elementwise functions when one is constant for each channel."""

ELEMENTWISE = BINARY | frozenset(
    "Abs Atan Asinh BatchNormalization Cast Ceil Celu Clip Cos Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
    "Identity LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Swish Tan Tanh "
    "ThresholdedRelu".split()
)

_RISING = frozenset("Atan Asinh Ceil Clip Erf Exp Floor Relu Round Sigmoid Sign Softplus Softsign Tanh Min Max".split())


def direction(node: Node, constants: Mapping[str, np.ndarray], slot: int) -> np.ndarray | None:
    """Whether ``node`` rises (1), falls (-1) or does not change (0) with input ``slot``, the others being constant.

    Returns:
        An integer array that broadcasts with the tensor's channels as the constants do; None where it is not known
        without trying (Abs, Swish, 1 / x, a Cast to integers, which may wrap, ...).
    """
    found = attributes(node)
    if node.op in _RISING or is_identity(node):
        return np.ones((), int)
    if node.op == "Neg":
        return -np.ones((), int)
    if node.op in ("LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid", "ThresholdedRelu"):  # every default is positive
        return np.ones((), int) if min(found.get("alpha", 0), found.get("gamma", 0)) >= 0 else None
    other = constants.get(node.inputs[1 - slot].name) if node.op in BINARY and slot < 2 else None
    if node.op in ("Add", "Sum") or (node.op == "Sub" and slot == 0):
        return np.ones((), int)
    if node.op == "Sub":
        return -np.ones((), int)
    if node.op == "Mul" or (node.op == "Div" and slot == 0):
        return None if other is None else np.sign(other).astype(int)
    if node.op == "PRelu":
        return np.ones((), int) if other is not None and slot == 0 and (other >= 0).all() else None
    if node.op == "BatchNormalization":
        return np.sign(constants[node.inputs[1].name]).astype(int)
    return None


def affine(node: Node, constants: Mapping[str, np.ndarray], slot: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and summand, in float64, where ``node`` is ``factor * x + summand`` of input ``slot``; else None."""
    one, none = np.ones(()), np.zeros(())
    if is_identity(node):
        return one, none
    if node.op == "Neg":
        return -one, none
    if node.op == "BatchNormalization":
        return batchnorm(node, {name: value.astype(np.float64) for name, value in constants.items()})
    if node.op not in ("Add", "Sum", "Sub", "Mul", "Div") or node.inputs[1 - slot].name not in constants:
        return None
    other = constants[node.inputs[1 - slot].name].astype(np.float64)
    if node.op in ("Add", "Sum"):
        return one, other
    if node.op == "Sub":
        return (one, -other) if slot == 0 else (-one, other)
    if node.op == "Mul":
        return other, none
    return (1 / other, none) if slot == 0 else None
