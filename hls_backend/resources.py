"""What a piece of logic costs on a Xilinx 7-series or UltraScale+ part, by closed formulas.

They rank foldings against each other. Synthesis says what a design really takes; nothing here is called a synthesis
result. Sources: UG474 (LUT6, RAM32M: 32 x 6 bits in 4 LUTs, ROM64X1 in one), UG473 (RAMB18: 512 x 36 to 16384 x 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

BLOCK_FROM = 2048
"""Constant memories of more bits than this go to block RAM, if they are deeper than 64; else they are LUTs."""


LUTS_A_BLOCK = 190
"""What a RAMB18 is worth where the two compete: a Zynq-7020 has 53,200 LUTs and 280 of them (DS190)."""


@dataclass(frozen=True)
class Resources:
    """LUTs (those used as memory included) and RAMB18 blocks."""

    luts: int = 0
    bram18: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.luts + other.luts, self.bram18 + other.bram18)

    @property
    def worth(self) -> int:
        """Both in LUTs."""
        return self.luts + LUTS_A_BLOCK * self.bram18


def in_block(depth: int, width: int) -> bool:
    """Whether a memory of ``depth`` words of ``width`` bits goes to block RAM."""
    return depth > 64 and depth * width > BLOCK_FROM


def rom(depth: int, width: int) -> Resources:
    """A constant memory of ``depth`` words of ``width`` bits, read one word a cycle."""
    if in_block(depth, width):
        return Resources(bram18=block_rams(depth, width))
    return Resources(luts=width * ceil(depth / 64))


def buffer(depth: int, width: int) -> Resources:
    """A memory with one write and one read port: LUTs up to 64 words or `BLOCK_FROM` bits, else block RAM."""
    if in_block(depth, width):
        return Resources(bram18=block_rams(depth, width))
    return Resources(luts=ceil(depth / 32) * ceil(width / 6) * 4)


def block_rams(depth: int, width: int) -> int:
    """RAMB18 blocks for ``depth`` words of ``width`` bits: the cheapest of the block's shapes."""
    shapes = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
    return min(ceil(depth / words) * ceil(width / bits) for words, bits in shapes)


def counter(states: int) -> int:
    """LUTs of a counter of so many states with its comparison."""
    return 2 * max(1, ceil(log2(states))) if states > 1 else 0


def product(a: int, b: int) -> int:
    """LUTs of a product of ``a`` by ``b`` bits; one bit by n is n gates, two to a LUT6.

    Above that, the array multiplier's ceil(a / 2) carry rows of b + 2 LUTs each (Booth radix 4).
    """
    a, b = sorted((a, b))
    return ceil(b / 2) if a == 1 else ceil(a / 2) * (b + 2)


def adder_tree(terms: int, bits: int) -> int:
    """LUTs that sum ``terms`` numbers of ``bits`` bits: an adder of n bits is n LUTs on the carry chain."""
    luts = 0
    while terms > 1:
        luts += terms // 2 * (bits + 1)
        terms, bits = terms - terms // 2, bits + 1
    return luts
