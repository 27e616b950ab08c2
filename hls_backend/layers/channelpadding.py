"""Channels of zeros before and after an image's own, by FMPadding."""

from __future__ import annotations

from math import gcd

from hls_backend.datatypes import IntegerType
from hls_backend.layers.fmpadding import FMPadding


def channel_padding(
    name: str, image: tuple[int, int], channels: int, type: IntegerType, before: int, after: int
) -> FMPadding:
    """A layer that makes ``before + channels + after`` channels of ``channels``.

    FINN pads rows and columns only. But a stream is a sequence: with g a divisor of all three numbers, it is as well
    the image whose rows are the pixels, whose columns are the groups of g channels, and whose channels are g.
    """
    g = gcd(gcd(before, after), channels)
    groups = channels // g
    return FMPadding(name, (image[0] * image[1], groups), g, type, (0, before // g, 0, after // g))
