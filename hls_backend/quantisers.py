"""QONNX's quantisers as maps from numbers to levels: integers on a grid.

A level L stands for the value ``step * L + offset``. The arithmetic is that of qonnx's own execution, operation by
operation, so that numbers of the type float32 give the levels that qonnx gives; float64 judges more finely.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from qonnx.custom_op.general.quant import resolve_rounding_mode

from hls_backend.errors import LoweringError
from passes.errors import ModelError
from passes.graph import Editor, Node, attributes, label

_MOST_BITS = 32
"""Levels of more bits are beyond int64 once they are summed."""


@dataclass(frozen=True, eq=False)
class Quantiser(ABC):
    """One quantiser node.

    Attributes:
        node: the node.
        step, offset: of the grid, float64 in shapes that broadcast with the tensor.
    """

    node: Node
    step: np.ndarray
    offset: np.ndarray

    @property
    @abstractmethod
    def bounds(self) -> tuple[int, int] | None:
        """The least and the greatest level; None where the quantiser sets none."""

    @abstractmethod
    def levels(self, values: np.ndarray) -> np.ndarray:
        """The levels of ``values`` as int64, computed in the precision of ``values``."""


@dataclass(frozen=True, eq=False)
class Rounder(Quantiser):
    """Quant and Trunc: divide, clip, round.

    Attributes:
        scale, zero: as the node has them.
        limits: what is clipped to; None for Trunc's version 1.
        rounding: the mode's name.
        origin: what levels count from.
        shrink: the power of two that Trunc divides by besides.
    """

    scale: np.ndarray
    zero: np.ndarray
    limits: tuple[int, int] | None
    rounding: str
    origin: np.ndarray
    shrink: float = 1.0

    @property
    def bounds(self) -> tuple[int, int] | None:
        if self.limits is None:
            return None
        return self.limits[0] - int(self.origin.max()), self.limits[1] - int(self.origin.min())

    def levels(self, values: np.ndarray) -> np.ndarray:
        number = values.dtype
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = values / self.scale.astype(number) + self.zero.astype(number)
            if self.shrink != 1:
                scaled = np.round(scaled) / number.type(self.shrink)
        if self.limits is not None:
            scaled = np.clip(scaled, *(number.type(limit) for limit in self.limits))
        return resolve_rounding_mode(self.rounding)(scaled).astype(np.int64) - self.origin


@dataclass(frozen=True, eq=False)
class Sign(Quantiser):
    """BipolarQuant, and a signed Quant of one bit: two values, as levels 0 and 1.

    Attributes:
        scale, zero: as the node has them; zero is None for BipolarQuant, which does not divide.
    """

    scale: np.ndarray
    zero: np.ndarray | None

    @property
    def bounds(self) -> tuple[int, int]:
        return 0, 1

    def levels(self, values: np.ndarray) -> np.ndarray:
        if self.zero is not None:
            values = values / self.scale.astype(values.dtype) + self.zero.astype(values.dtype)
        return (values >= 0).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Steps(Quantiser):
    """MultiThreshold: how many of its channel's thresholds a number reaches.

    Attributes:
        thresholds: float64 [channels or 1, steps], rising.
        axis: of the channels.
    """

    thresholds: np.ndarray
    axis: int

    @property
    def bounds(self) -> tuple[int, int]:
        return 0, int(self.thresholds.shape[1])

    def levels(self, values: np.ndarray) -> np.ndarray:
        by_channel = np.moveaxis(values, self.axis, 0)
        found = np.empty(by_channel.shape, np.int64)
        for channel, part in enumerate(by_channel):
            row = self.thresholds[channel if len(self.thresholds) > 1 else 0]
            found[channel] = np.searchsorted(row, part, side="right")
        return np.moveaxis(found, 0, self.axis)


def read_quantiser(editor: Editor, node: Node) -> Quantiser:
    """The quantiser that ``node`` is.

    Raises:
        LoweringError: when a parameter is not constant, or makes no grid.
    """
    if node.op == "MultiThreshold":
        return _steps(editor, node)
    scale = _parameter(editor, node, 1, "scale")
    if not (scale > 0).all():
        raise LoweringError(label(node), "its scale is not positive", "train or calibrate it again")
    if node.op == "BipolarQuant":
        return Sign(node, 2 * _double(scale), -_double(scale), scale, None)
    zero = _parameter(editor, node, 2, "zero point")
    if node.op == "Trunc":
        return _trunc(editor, node, scale, zero)
    bits, signed = _bits(editor, node, 3), bool(attributes(node).get("signed", 1))
    if bits == 1 and signed:
        return Sign(node, 2 * _double(scale), -(1 + _double(zero)) * _double(scale), scale, zero)
    origin, offset = _origin(zero, scale)
    limits = _limits(bits, signed, bool(attributes(node).get("narrow", 0)))
    return Rounder(node, _double(scale), offset, scale, zero, limits, _rounding(node, "ROUND"), origin)


def _trunc(editor: Editor, node: Node, scale: np.ndarray, zero: np.ndarray) -> Quantiser:
    """Trunc drops low bits: by counting them (five inputs), or, since its version 2, to a given scale (six)."""
    rounding = _rounding(node, "FLOOR")
    if len(node.inputs) == 5:
        shrink = 2.0 ** (_bits(editor, node, 3) - _bits(editor, node, 4))
        origin, offset = _origin(zero, scale)
        return Rounder(node, _double(scale), offset, scale, zero, None, rounding, origin, shrink)
    to = _parameter(editor, node, 4, "output scale")
    ratio = np.unique(2.0 ** np.round(np.log2(_double(to) / _double(scale))))
    if ratio.size != 1:
        raise LoweringError(label(node), "it drops more bits of some channels", "give it one scale for the tensor")
    shrink = float(ratio[0])
    origin, offset = _origin(zero / shrink, to)
    found = attributes(node)
    limits = _limits(_bits(editor, node, 5), bool(found.get("signed", 1)), bool(found.get("narrow", 0)))
    return Rounder(node, _double(to), offset, scale, zero, limits, rounding, origin, shrink)


def _steps(editor: Editor, node: Node) -> Quantiser:
    found = attributes(node)
    thresholds = _double(_parameter(editor, node, 1, "threshold"))
    layout = found.get("data_layout", b"NCHW").decode(errors="replace")
    step, offset = np.array(found.get("out_scale", 1.0)), np.array(found.get("out_bias", 0.0))
    if thresholds.ndim != 2 or (np.diff(thresholds, axis=1) < 0).any() or step <= 0:
        raise LoweringError(label(node), "its thresholds do not rise", "sort each channel's")
    if "C" not in layout:
        raise LoweringError(label(node), f"its data layout {layout!r} has no channels", "name one such as NCHW")
    axis = layout.index("C") if len(thresholds) > 1 else 0  # of a row for all channels, any
    return Steps(node, _double(step), _double(offset), thresholds, axis)


def _limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def _origin(zero: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels count from an integral zero point; else from 0, and the grid has an offset."""
    if (zero == np.round(zero)).all() and np.abs(zero).max() < 2**_MOST_BITS:
        return zero.astype(np.int64), np.zeros(())
    return np.zeros((), np.int64), -_double(zero) * _double(scale)


def _rounding(node: Node, default: str) -> str:
    mode = attributes(node).get("rounding_mode", default)
    name = mode.decode(errors="replace") if isinstance(mode, bytes) else str(mode)
    try:
        resolve_rounding_mode(name)
    except ValueError as error:
        raise LoweringError(label(node), f"nobody knows its rounding mode {name!r}", "use ROUND") from error
    return name


def _parameter(editor: Editor, node: Node, slot: int, what: str) -> np.ndarray:
    try:
        value = editor.value(node.inputs[slot])
    except ModelError as error:
        remedy = "freeze the quantisers before export"
        raise LoweringError(label(node), f"its {what} is not constant", remedy) from error
    if np.isnan(value).any() or (what != "threshold" and np.isinf(value).any()):  # which nothing need ever reach
        raise LoweringError(label(node), f"its {what} is no finite number", "train or calibrate it again")
    return value


def _bits(editor: Editor, node: Node, slot: int) -> int:
    found = np.unique(_parameter(editor, node, slot, "bit width"))
    if found.size != 1 or not float(found[0]).is_integer() or not 1 <= found[0] <= _MOST_BITS:
        remedy = f"give it one whole number of bits, {_MOST_BITS} at most"
        raise LoweringError(label(node), f"its bit width is {found.tolist()}", remedy)
    return int(found[0])


def _double(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64)
