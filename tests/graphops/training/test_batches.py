"""Batches: each image once an epoch, in an order and with an augmentation that follow from seed and step."""

from __future__ import annotations

import numpy as np
import pytest

from graphops.data import Split
from graphops.training.batches import Batch, Batches

SPLIT = Split(np.random.default_rng(0).integers(1, 255, (10, 1, 16, 16)).astype(np.uint8), np.arange(10))


def taken(augmentation: str = "none", seed: int = 0, size: int = 3, steps: int = 6) -> list[Batch]:
    batches = Batches(SPLIT, size, seed, augmentation, 2)
    return [batches.take(step) for step in range(steps)]


def numbers(batches: list[Batch]) -> list[int]:
    return [int(number) for batch in batches for number in batch.numbers]


def test_an_epoch_shows_each_image_at_most_once_in_an_order_of_its_own() -> None:
    first, second, other = numbers(taken()[:3]), numbers(taken()[3:]), numbers(taken(seed=1)[:3])
    for epoch in (first, second, other):
        assert len(set(epoch)) == 9
    assert len({tuple(epoch) for epoch in (first, second, other)}) == 3
    assert Batches(SPLIT, 99, 0, "none", 0).size == 10


def test_images_go_with_their_labels() -> None:
    for batch in taken():
        np.testing.assert_array_equal(batch.labels, batch.numbers)
        np.testing.assert_array_equal(batch.images, SPLIT.images[batch.numbers])


@pytest.mark.parametrize("other", [{"step": 1}, {"step": 2}, {"seed": 1}])
def test_each_step_augments_in_its_own_way(other: dict[str, int]) -> None:
    """Steps 0 and 1 are of the first epoch, step 2 is of the second."""
    split = Split(np.repeat(SPLIT.images[:1], 20, 0), np.zeros(20, np.int64))  # the order changes nothing
    place = {"step": 0, "seed": 0} | other
    one, again = (Batches(split, 10, 0, "crop", 2).take(0).images for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, Batches(split, 10, place["seed"], "crop", 2).take(place["step"]).images)
