"""C++ as text: types, calls and constant memories for finn-hlslib's templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hls_backend.datatypes import IntegerType

_LITERAL = 64
"""Bits of the widest number that C++ can write."""


@dataclass(frozen=True, eq=False)
class Memory:
    """A constant object of one of finn-hlslib's classes that hold an array.

    Attributes:
        name: what comes after the layer's name in the object's, e.g. ``"weights"``.
        type: its class.
        member: the array in it.
        words: the array, object integers; of Python's so that a word may have any width.
        bits: of a word.
        partitioned: the dimensions, counted from 1, whose elements are all needed in the same cycle.
    """

    name: str
    type: str
    member: str
    words: np.ndarray
    bits: int
    partitioned: tuple[int, ...]

    @property
    def is_wide(self) -> bool:
        """Whether words are too wide for a C++ number."""
        return self.bits > _LITERAL

    @property
    def is_signed(self) -> bool:
        """Whether there is a negative word."""
        return bool((self.words < 0).any())

    def initialiser(self) -> str:
        """The words in nested braces, without the outermost ones; a wide word is ``WORD("0x...")``."""
        return ",\n".join(self._braced(row) for row in self.words) + "\n"

    def _braced(self, words: np.ndarray) -> str:
        if words.ndim == 1:
            return "{" + ",".join(map(self._word, words)) + "}"
        return "{" + ",\n ".join(map(self._braced, words)) + "}"

    def _word(self, word: int) -> str:
        if self.is_wide:
            return f'WORD("0x{word:x}")'
        return f"0x{word:x}ULL" if word > 9 else str(word)


def number(type: IntegerType) -> str:
    """The C++ integer for ``type``."""
    return f"ap_{'int' if type.signed() else 'uint'}<{int(type.bitwidth())}>"


def sliced(type: IntegerType) -> str:
    """How a word of several ``type`` is read."""
    return f"Slice<{number(type)}>"


def call(function: str, template: Sequence[object], *arguments: object) -> str:
    """``function<template...>(arguments...)``; booleans and numbers are written as C++ has them."""
    return f"{function}<{', '.join(map(_plain, template))}>({', '.join(map(_plain, arguments))})"


def pack(values: np.ndarray, bits: int) -> np.ndarray:
    """The integers along the last axis side by side in one word each, the first in the lowest bits.

    Args:
        values: [..., lanes], signed or not.
        bits: of each.

    Returns:
        Object integers [...], none negative.
    """
    codes = values.astype(object) & ((1 << bits) - 1)
    words = np.zeros(values.shape[:-1], object)
    for lane in range(values.shape[-1]):
        words = words | (codes[..., lane] << (bits * lane))
    return words


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
