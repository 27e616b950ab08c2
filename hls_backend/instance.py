"""One layer in hardware: a module of the SystemVerilog library, its parameters and its memories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hls_backend.datatypes import IntegerType


@dataclass(frozen=True, eq=False)
class Instance:
    """A module of ``hls_backend/rtl`` as one layer needs it.

    Attributes:
        module: its name, which is its file's.
        parameters: integers; flags are 0 or 1.
        file_parameter: the parameter that names the memory file, or where there are several the start of their names.
        memories: the words of each memory file, by what follows the layer's name in its name.
        inputs: what the names of the module's input ports begin with.
        registers_ready: whether the input's ready follows from registers of the module alone.
    """

    module: str
    parameters: Mapping[str, int]
    file_parameter: str = ""
    memories: Mapping[str, tuple[int, list[int]]] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("in",)
    registers_ready: bool = False


def is_signed(type: IntegerType) -> int:
    """1 where the type's integers are two's complement, else 0."""
    return int(type.min() < 0)


def signed_bits(low: int, high: int) -> int:
    """The least width in two's complement that holds ``low`` to ``high``."""
    return max((-low - 1).bit_length() if low < 0 else 0, max(high, 0).bit_length()) + 1


def product_parameters(weights: np.ndarray, weight_type: IntegerType, x_type: IntegerType) -> dict[str, int]:
    """What the library's dot product wants to know of its operands; products are as wide as these weights need."""
    x = (int(x_type.min()), int(x_type.max()))
    w = (int(weights.min()), int(weights.max()))
    bipolar = weight_type.name == "BIPOLAR"
    products = [0, *(a * b for a in x for b in ((-1, 1) if bipolar else w))]
    return {
        "X_BITS": int(x_type.bitwidth()),
        "X_SIGNED": is_signed(x_type),
        "W_BITS": int(weight_type.bitwidth()),
        "W_SIGNED": int(is_signed(weight_type) and not bipolar),
        "W_BIPOLAR": int(bipolar),
        "PRODUCT_BITS": signed_bits(min(products), max(products)),
    }


def pack(values: Iterable[int], bits: int) -> int:
    """One word of ``values``, the first in the lowest bits; negative ones in two's complement."""
    mask, text = (1 << bits) - 1, []
    for value in values:
        text.append(format(int(value) & mask, f"0{bits}b"))
    return int("".join(reversed(text)), 2)


def words(values: np.ndarray, bits: int) -> tuple[int, list[int]]:
    """A memory of one word for each row of ``values`` [words, values a word]: its width and its words."""
    return bits * values.shape[1], [pack(row, bits) for row in values.tolist()]


def memory_text(width: int, contents: Iterable[int]) -> str:
    """A file for ``$readmemh``."""
    digits = -(-width // 4)
    return "".join(f"{word:0{digits}x}\n" for word in contents)
