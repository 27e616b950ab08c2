"""Which of qonnx's integer types hold a range of integers."""

from __future__ import annotations

from typing import Any

from qonnx.core.datatype import DataType

IntegerType = Any
"""One of qonnx's integer types (it carries no annotations): has ``name``, ``min()``, ``max()``, ``bitwidth()``."""

BIPOLAR: IntegerType = DataType["BIPOLAR"]
"""-1 and +1 in one bit; here only weights are."""


def named(name: str) -> IntegerType:
    """The type that qonnx and FINN call ``name``, e.g. ``"UINT4"``."""
    return DataType[name]


def least(low: int, high: int) -> IntegerType:
    """The narrowest two's complement or unsigned type that holds every integer from ``low`` to ``high``.

    One bit unsigned is ``BINARY``: 0 and 1.
    """
    if low > high:
        raise ValueError(f"no integers from {low} to {high}")
    if low >= 0:
        bits = max(1, high.bit_length())
        return DataType["BINARY"] if bits == 1 else DataType[f"UINT{bits}"]
    return DataType[f"INT{max(2, (-low - 1).bit_length() + 1, high.bit_length() + 1)}"]
