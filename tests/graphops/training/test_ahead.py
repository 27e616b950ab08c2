"""What is prepared in advance, and what is remembered, is what it would be otherwise."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from graphops.training.ahead import Ahead
from graphops.training.remembered import ROOM, Remembered, fits


def test_the_next_one_is_made_in_advance_by_another_thread() -> None:
    made: list[tuple[int, bool]] = []
    begun = threading.Event()

    def make(number: int) -> int:
        made.append((number, threading.current_thread() is threading.main_thread()))
        if number == 6:
            begun.set()
        return 10 * number

    ahead = Ahead(make)
    assert ahead.take(5, end=8) == 50
    assert begun.wait(10)
    assert [ahead.take(k, end=8) for k in (6, 7)] == [60, 70]
    ahead.close()
    assert made == [(5, True), (6, False), (7, False)], "each once, and none beyond the end"


def test_another_number_than_the_next_one_is_made_at_once() -> None:
    ahead = Ahead(lambda number: number)
    assert [ahead.take(k, end=9) for k in (0, 4, 5, 2)] == [0, 4, 5, 2]
    ahead.close()


def test_what_goes_wrong_in_the_thread_is_raised() -> None:
    def make(number: int) -> int:
        if number == 1:
            raise ValueError("no such image")
        return number

    ahead = Ahead(make)
    ahead.take(0, end=3)
    with pytest.raises(ValueError, match="no such image"):
        ahead.take(1, end=3)
    ahead.close()


def test_each_image_is_answered_for_once_in_blocks_of_stored_order() -> None:
    images = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
    asked: list[list[int]] = []

    def answer(some: NDArray) -> dict[str, NDArray[np.float32]]:
        asked.append(some[:, 0, 0, 0].astype(int).tolist())
        return {"logits": some.reshape(-1, 1) * np.float32([1, 10])}

    remembered = Remembered(answer, images, block=4)
    assert remembered(np.array([9, 1, 1]))["logits"].tolist() == [[9, 90], [1, 10], [1, 10]]
    assert remembered(np.array([3, 8]))["logits"].tolist() == [[3, 30], [8, 80]]
    assert asked == [[0, 1, 2, 3], [8, 9]]


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    images = np.zeros((1000, 1, 1, 1), np.float32)
    share = ROOM // 1000 // 4
    assert fits(lambda some: {"feature": np.zeros((len(some), share), np.float32)}, images)
    assert not fits(lambda some: {"feature": np.zeros((len(some), share + 1), np.float32)}, images)
