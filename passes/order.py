"""Topological order that leaves things where they are as far as it can."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class Cycle(Exception):
    """Things that need each other in a circle; ``args[0]`` is one of them."""


def stable_topological_order(nodes: list[T], needs: Callable[[T], Iterable[T]]) -> list[T]:
    """``nodes`` so that each comes after those among them that it ``needs``, moved no more than that takes.

    Raises:
        Cycle: when they need each other in a circle.
    """
    done: set[int] = set()
    for node in nodes:
        if not done.issuperset(map(id, needs(node))):
            break
        done.add(id(node))
    else:
        return nodes
    position = {id(n): i for i, n in enumerate(nodes)}
    before = [{position[id(other)] for other in needs(n) if id(other) in position} for n in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for i, others in enumerate(before):
        for j in others:
            readers[j].append(i)
    waiting = [len(others) for others in before]
    ready = [i for i, count in enumerate(waiting) if count == 0]
    ordered = []
    while ready:
        i = heapq.heappop(ready)
        ordered.append(nodes[i])
        for j in readers[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                heapq.heappush(ready, j)
    if len(ordered) < len(nodes):
        i = next(i for i, count in enumerate(waiting) if count)
        passed: set[int] = set()
        while i not in passed:  # against the arrows one comes into the circle sooner or later
            passed.add(i)
            i = next(j for j in before[i] if waiting[j])
        raise Cycle(nodes[i])
    return ordered
