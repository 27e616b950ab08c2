"""What several layers share."""

from __future__ import annotations

import numpy as np

from hls_backend.dataflow import Folding
from hls_backend.datatypes import IntegerType


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
    if bound >= 2**53:
        raise ValueError(f"sums up to {bound} are beyond exact arithmetic")
    return np.dtype(np.float32 if bound < 2**24 else np.float64)
