"""Estimated costs are what the vendor's documents say of the primitives."""

from __future__ import annotations

import pytest

from hls_backend.resources import Resources, adder_tree, block_rams, buffer, counter, product, rom


@pytest.mark.parametrize(
    ("depth", "width", "blocks"),
    [
        *((n, bits, 1) for n, bits in ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))),
        *((n, bits, 2) for n, bits in ((513, 36), (1024, 19), (2048, 10), (4096, 5), (8192, 3), (16384, 2))),
        (512, 72, 2),
        (100, 1, 1),
    ],
)
def test_shapes_of_block_rams(depth: int, width: int, blocks: int) -> None:
    assert block_rams(depth, width) == blocks


@pytest.mark.parametrize(
    ("cost", "luts", "bram18"),
    [
        (rom(64, 100), 100, 0),
        (rom(65, 31), 2 * 31, 0),
        (rom(65, 32), 0, 1),
        (buffer(32, 6), 4, 0),
        (buffer(33, 7), 2 * 2 * 4, 0),
        (buffer(2048, 1), 64 * 4, 0),
        (buffer(2049, 1), 0, 1),
    ],
)
def test_memories(cost: Resources, luts: int, bram18: int) -> None:
    """64 x 1 in a LUT where it is constant, 32 x 6 in four where it is not; above 2048 bits block RAM."""
    assert cost == Resources(luts, bram18)


def test_arithmetic() -> None:
    assert [product(*bits) for bits in ((1, 8), (8, 1), (4, 6), (5, 6))] == [4, 4, 2 * 8, 3 * 8]
    assert [adder_tree(terms, 8) for terms in (1, 2, 3, 4, 5)] == [0, 9, 9 + 10, 2 * 9 + 10, 2 * 9 + 10 + 11]
    assert [counter(states) for states in (1, 2, 8, 9)] == [0, 2, 6, 8]
