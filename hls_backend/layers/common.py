"""What several layers share."""

from __future__ import annotations

import numpy as np

from hls_backend.cpp import Memory, number, pack
from hls_backend.dataflow import Folding
from hls_backend.datatypes import BIPOLAR, IntegerType

EXACT = 2**53
"""Sums below this are exact in float64."""


def divisors(n: int) -> list[int]:
    """The divisors of ``n`` in rising order."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return small + [n // d for d in reversed(small) if d * d != n]


def by_simd(channels: int) -> list[Folding]:
    """Foldings over the channels of a layer whose parallelism FINN calls SIMD."""
    return [Folding(simd=d) for d in divisors(channels)]


def by_pe(channels: int) -> list[Folding]:
    """Foldings over the channels of a layer whose parallelism FINN calls PE."""
    return [Folding(pe=d) for d in divisors(channels)]


def storage(type: IntegerType) -> np.dtype:
    """The narrowest numpy integer that holds ``type``."""
    low, high = int(type.min()), int(type.max())
    for candidate in (np.uint8, np.int8, np.int16, np.int32):
        limits = np.iinfo(candidate)
        if limits.min <= low and high <= limits.max:
            return np.dtype(candidate)
    return np.dtype(np.int64)


def exact_float(bound: int) -> np.dtype:
    """The float whose sums are exact while every partial sum stays within ``bound``: floats have fast products."""
    if bound >= EXACT:
        raise ValueError(f"sums up to {bound} are beyond exact arithmetic")
    return np.dtype(np.float32 if bound < 2**24 else np.float64)


def weight_memory(tiles: np.ndarray, type: IntegerType) -> Memory:
    """finn-hlslib's memory of weights.

    Args:
        tiles: int [PE, tiles, SIMD].
        type: of the weights; of one bit, a set bit is +1 and a cleared one -1.
    """
    pe, count, simd = tiles.shape
    bits = int(type.bitwidth())
    if type == BIPOLAR:
        name, tiles = f"BinaryWeights<{simd}, {pe}, {count}>", (tiles > 0).astype(np.int64)
    else:
        name = f"FixedPointWeights<{simd}, {number(type)}, {pe}, {count}>"
    return Memory("weights", name, "m_weights", pack(tiles, bits), simd * bits, (1,))


def weight_reader(type: IntegerType) -> str:
    """How finn-hlslib reads a word of weights."""
    return "Recast<Binary>" if type == BIPOLAR else "Identity"
