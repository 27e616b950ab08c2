"""The next step's inputs, prepared by a thread while this step's gradients are computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls ``make(k)`` for one number after another, the next one in advance.

    Args:
        make: gives the same for the same number, whenever it is called; never called twice at a time.
    """

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(1, "next batch")
        self._next: tuple[int, Future[T]] | None = None

    def take(self, number: int, end: int) -> T:
        """``make(number)``; meanwhile the next one begins, if it is below ``end``."""
        before, self._next = self._next, None
        made = before[1].result() if before else None
        if before is None or before[0] != number:
            made = self._make(number)
        if number + 1 < end:
            self._next = (number + 1, self._pool.submit(self._make, number + 1))
        return made  # type: ignore[return-value]

    def close(self) -> None:
        """Wait for what is being made, and end the thread."""
        self._pool.shutdown(cancel_futures=True)
