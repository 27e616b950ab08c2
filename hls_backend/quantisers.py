"""QONNX's quantisers as maps from numbers to levels: integers on a grid.

A level L stands for the value ``step * L + offset``. The arithmetic is that of qonnx's own execution, operation by
operation, so that numbers of the type float32 give the levels that qonnx gives; float64 judges more finely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qonnx.custom_op.general.quant import resolve_rounding_mode

from hls_backend.errors import LoweringError
from passes.errors import ModelError
from passes.graph import Editor, Node, attributes, label


@dataclass(frozen=True, eq=False)
class Quantiser:
    """One quantiser node.

    Attributes:
        node: the node.
        step, offset: of the grid, float64 in shapes that broadcast with the tensor.
        is_bipolar: whether its two values are -step/2 and +step/2, as levels 0 and 1.
        bits: the width it asks for.
    """

    node: Node
    step: np.ndarray
    offset: np.ndarray
    is_bipolar: bool
    bits: int
    _scale: np.ndarray
    _zero: np.ndarray
    _limits: tuple[int, int] | None
    _rounding: str
    _origin: np.ndarray
    _shrink: float = 1.0

    @property
    def bounds(self) -> tuple[int, int] | None:
        """The least and the greatest level; None where Trunc sets none."""
        if self.is_bipolar:
            return 0, 1
        if self._limits is None:
            return None
        return self._limits[0] - int(self._origin.max()), self._limits[1] - int(self._origin.min())

    def levels(self, values: np.ndarray) -> np.ndarray:
        """The levels of ``values`` as int64, computed in the precision of ``values``."""
        number = values.dtype
        if self.is_bipolar:
            scaled = values if self._limits is None else values / self._scale.astype(number) + self._zero.astype(number)
            return (scaled >= 0).astype(np.int64)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = values / self._scale.astype(number) + self._zero.astype(number)
            if self._shrink != 1:
                scaled = np.round(scaled) / number.type(self._shrink)
        if self._limits is not None:
            scaled = np.clip(scaled, *(number.type(limit) for limit in self._limits))
        return resolve_rounding_mode(self._rounding)(scaled).astype(np.int64) - self._origin


def read_quantiser(editor: Editor, node: Node) -> Quantiser:
    """The quantiser that ``node`` is.

    Raises:
        LoweringError: when a parameter is not constant, or makes no grid.
    """
    scale = _parameter(editor, node, 1, "scale")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise LoweringError(label(node), "its scale is not positive", "train or calibrate it again")
    if node.op == "BipolarQuant":
        return _bipolar(node, scale, np.zeros((), scale.dtype), None)
    zero = _parameter(editor, node, 2, "zero point")
    found = attributes(node)
    signed, narrow = bool(found.get("signed", 1)), bool(found.get("narrow", 0))
    rounding = found.get("rounding_mode", "FLOOR" if node.op == "Trunc" else "ROUND")
    rounding = rounding.decode() if isinstance(rounding, bytes) else str(rounding)
    if node.op == "Trunc":
        return _trunc(editor, node, scale, zero, signed, narrow, rounding)
    bits = _bits(editor, node, 3)
    if bits == 1 and signed:
        return _bipolar(node, scale, zero, (-1, 1))
    origin, offset = _origin(zero, scale)
    limits = _limits(bits, signed, narrow)
    return Quantiser(node, _double(scale), offset, False, bits, scale, zero, limits, rounding, origin)


def _bipolar(node: Node, scale: np.ndarray, zero: np.ndarray, limits: tuple[int, int] | None) -> Quantiser:
    """BipolarQuant, or (with ``limits``) a signed Quant of one bit, which qonnx divides by the scale first."""
    offset = -(1 + _double(zero)) * _double(scale)
    return Quantiser(node, 2 * _double(scale), offset, True, 1, scale, zero, limits, "ROUND", np.zeros((), np.int64))


def _trunc(
    editor: Editor, node: Node, scale: np.ndarray, zero: np.ndarray, signed: bool, narrow: bool, rounding: str
) -> Quantiser:
    """Trunc drops low bits: by counting them (five inputs), or, since its version 2, to a given scale (six)."""
    if len(node.inputs) == 5:
        bits = _bits(editor, node, 4)
        shrink = 2.0 ** (_bits(editor, node, 3) - bits)
        origin, offset = _origin(zero, scale)
        return Quantiser(node, _double(scale), offset, False, bits, scale, zero, None, rounding, origin, shrink)
    bits = _bits(editor, node, 5)
    to = _parameter(editor, node, 4, "output scale")
    ratio = np.unique(2.0 ** np.round(np.log2(_double(to) / _double(scale))))
    if ratio.size != 1:
        raise LoweringError(label(node), "it drops more bits of some channels", "give it one scale for the tensor")
    shrink = float(ratio[0])
    origin, offset = _origin(zero / shrink, to)
    limits = _limits(bits, signed, narrow)
    return Quantiser(node, _double(to), offset, False, bits, scale, zero, limits, rounding, origin, shrink)


def _limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def _origin(zero: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels count from an integral zero point; else from 0, and the grid has an offset."""
    if (zero == np.round(zero)).all():
        return zero.astype(np.int64), np.zeros(())
    return np.zeros((), np.int64), -_double(zero) * _double(scale)


def _parameter(editor: Editor, node: Node, slot: int, what: str) -> np.ndarray:
    try:
        return editor.value(node.inputs[slot])
    except ModelError as error:
        raise LoweringError(
            label(node), f"its {what} is not constant", "freeze the quantisers before export"
        ) from error


def _bits(editor: Editor, node: Node, slot: int) -> int:
    found = np.unique(_parameter(editor, node, slot, "bit width"))
    if found.size != 1 or found[0] != round(float(found[0])) or found[0] < 1:
        raise LoweringError(label(node), f"its bit width is {found.tolist()}", "give it one whole number of bits")
    return int(found[0])


def _double(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64)
