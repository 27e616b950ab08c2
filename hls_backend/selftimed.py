"""Self-timed execution of actors joined by channels of limited room: how fast they go, and whether they stop for good.

The model is cyclo-static dataflow (Bilsen et al., 1996) executed as soon as possible, with a channel's room as an edge
back from its reader (Stuijk, Geilen and Basten, 2008). An actor fires so many times an image; a firing waits for what
it needs, takes what it frees, and makes what it makes, all counted in elements since the image began. Every firing is
bounded from below by earlier ones only, so its time is a maximum of sums and is computed once.

A firing ends at the latest of: `time` after the actor's firing before; `delay` after the last element that it needs
has come; and when its channels have room for what it makes. A reader in a pipeline frees room before its firing ends.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd

import numpy as np

IMAGES = 3
"""Executed in a row; the last two are measured."""

Ends = list[list[int]]
"""When each firing of each actor ends, in cycles."""

_NOTHING = -(10**9)
"""The firing, long ago, that those wait for which need nothing."""

Counts = np.ndarray
"""Elements since the image began, one number a firing, never falling."""


@dataclass(frozen=True, eq=False)
class Reading:
    """How an actor reads a channel.

    Attributes:
        channel: its name.
        needs: elements that must have come before a firing ends.
        frees: elements whose room is free after a firing.
        delay: cycles from the last element needed to the end of the firing.
        early: cycles before the end of the firing at which that room is free: those in a pipeline.
    """

    channel: str
    needs: Counts
    frees: Counts
    delay: int = 1
    early: int = 0


@dataclass(frozen=True, eq=False)
class Writing:
    """How an actor fills a channel: ``makes`` are the elements that are there after a firing."""

    channel: str
    makes: Counts


@dataclass(frozen=True, eq=False)
class Actor:
    """Something that fires.

    Attributes:
        name: unique.
        firings: an image.
        time: cycles between two firings at least.
        reads, writes: channels.
    """

    name: str
    firings: int
    time: int
    reads: tuple[Reading, ...] = ()
    writes: tuple[Writing, ...] = ()


@dataclass(frozen=True)
class _Wait:
    """That firing ``k`` of an actor ends ``delay`` after firing ``on[k]`` of another or later, images aside."""

    actor: int
    on: list[int]
    delay: int


@dataclass(frozen=True, eq=False)
class Network:
    """Actors whose channels are each made by one of them; an element goes when all who read the channel freed it.

    Attributes:
        actors: in topological order.
        rooms: the least room of a channel, in elements, by its name; it never has less than one firing of its writer
            and one of its reader need to get on.
    """

    actors: tuple[Actor, ...]
    rooms: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The names of all channels."""
        return tuple(self._writers)

    @cached_property
    def fingerprint(self) -> str:
        """The same for networks that differ in names only."""
        places = {channel: i for i, channel in enumerate(self.channels)}
        digest = hashlib.sha256()
        for actor in self.actors:
            digest.update(repr((actor.firings, actor.time, len(actor.reads), len(actor.writes))).encode())
            for reading in actor.reads:
                digest.update(repr((places[reading.channel], reading.delay, reading.early)).encode())
                digest.update(reading.needs.tobytes() + reading.frees.tobytes())
            for writing in actor.writes:
                digest.update(repr(places[writing.channel]).encode() + writing.makes.tobytes())
        digest.update(repr(sorted((places[channel], room) for channel, room in self.rooms.items())).encode())
        return digest.hexdigest()

    @cached_property
    def _writers(self) -> dict[str, tuple[int, Writing]]:
        return {w.channel: (i, w) for i, actor in enumerate(self.actors) for w in actor.writes}

    @cached_property
    def _readers(self) -> dict[str, list[tuple[int, Reading]]]:
        found: dict[str, list[tuple[int, Reading]]] = {channel: [] for channel in self._writers}
        for i, actor in enumerate(self.actors):
            for reading in actor.reads:
                found[reading.channel].append((i, reading))
        return found

    @cached_property
    def _arrivals(self) -> list[list[_Wait]]:
        """For each actor, what its firings wait for on the channels that it reads."""
        waits: list[list[_Wait]] = []
        for actor in self.actors:
            found = []
            for reading in actor.reads:
                writer, writing = self._writers[reading.channel]
                on = np.searchsorted(writing.makes, reading.needs)
                on = np.where(reading.needs > 0, on, _NOTHING)
                found.append(_Wait(writer, on.tolist(), reading.delay))
            waits.append(found)
        return waits

    def room(self, channel: str, given: int | None = None) -> int:
        """The room of ``channel``: ``given``, or its own; at least what its actors need to get on."""
        step = _largest(self._writers[channel][1].makes)
        taken = [_largest(reading.frees) for _, reading in self._readers[channel]]
        return max([self.rooms.get(channel, 0) if given is None else given, *(step + n - gcd(step, n) for n in taken)])

    def _lack(self, channel: str, given: int | None) -> list[_Wait]:
        """What the firings of the actor that fills ``channel`` wait for to have room there."""
        _, writing = self._writers[channel]
        total, room = int(writing.makes[-1]), self.room(channel, given)
        found = []
        for reader, reading in self._readers[channel]:
            beyond = writing.makes - room
            images = (beyond - 1) // total
            on = images * len(reading.frees) + np.searchsorted(reading.frees, beyond - images * total)
            found.append(_Wait(reader, on.tolist(), -reading.early))
        return found

    def run(self, images: int = IMAGES, rooms: Mapping[str, int | None] | None = None) -> Ends | None:
        """When the firings of each actor end, in cycles.

        Args:
            images: how many, one right after another.
            rooms: instead of the network's, by the channel's name; None for room without end.

        Returns:
            None where they stop before the last image is through.
        """
        rooms = rooms or {}
        waits = [list(found) for found in self._arrivals]
        for channel, (writer, _) in self._writers.items():
            given = rooms.get(channel, self.rooms.get(channel, 0))
            if given is not None:
                waits[writer] += self._lack(channel, given)
        ends: Ends = [[] for _ in self.actors]
        firings = [actor.firings for actor in self.actors]
        plans = [[(w.actor, ends[w.actor], w.on, w.delay, firings[w.actor]) for w in found] for found in waits]
        stopped: list[list[tuple[int, int]]] = [[] for _ in self.actors]  # by whom for: up to which firing, and who
        ready = deque(range(len(self.actors)))
        while ready:
            number = ready.popleft()
            obstacle = _advance(self.actors[number], ends[number], plans[number], images)
            if obstacle is not None:
                on, place = obstacle
                stopped[on].append((place, number))
            if stopped[number]:
                reached = len(ends[number])
                ready.extend(who for place, who in stopped[number] if place < reached)
                stopped[number] = [(place, who) for place, who in stopped[number] if place >= reached]
        done = all(len(e) == n * images for e, n in zip(ends, firings, strict=True))
        return ends if done else None

    def ahead(self, channel: str) -> int:
        """The most elements that come by ``channel`` to the last actor before what it needs besides can be there.

        By what firings need alone, whatever the times; with less room there the actors stop for good, but for a firing
        that the actor before can hold. All must lead back to the first actor.
        """
        join = self.actors[-1]
        back = {r.channel: self._back(r) for r in join.reads}
        besides = np.max([first for name, first in back.items() if name != channel], axis=0)
        come = np.searchsorted(back[channel], besides, side="right")
        reading = next(r for r in join.reads if r.channel == channel)
        held = np.append(0, reading.needs)[come] - np.append(0, reading.frees[:-1])
        return int(held.max())

    def hops(self, channel: str) -> int:
        """The channels between the first actor's readers and ``channel``, by the longest way."""
        return max((1 + self.hops(name) for name in self._before(channel)), default=0)

    def surplus(self, channel: str) -> int:
        """Elements that channels on the way to ``channel`` have more room for than `rooms` says, by the longest way.

        A channel has room for a firing of its actors at least; what it stands for may have room for a word or two.
        """
        before = self._before(channel)
        return max((self.room(n) - self.rooms.get(n, 0) + self.surplus(n) for n in before), default=0)

    def _before(self, channel: str) -> list[str]:
        """The channels that the writer of ``channel`` reads, but for those that the first actor makes."""
        writer = self._writers[channel][0]
        return [r.channel for r in self.actors[writer].reads if self._writers[r.channel][0] > 0]

    def _back(self, reading: Reading) -> np.ndarray:
        """For each firing of the last actor, the firing of the first that ``reading`` cannot do without."""
        needed: dict[int, np.ndarray] = {}
        writer, writing = self._writers[reading.channel]
        needed[writer] = np.searchsorted(writing.makes, reading.needs)
        for number in range(writer, 0, -1):
            if number in needed:
                for wait in self._arrivals[number]:
                    on = np.append(wait.on, _NOTHING)[np.maximum(needed[number], -1)]  # a pad needs nothing before
                    needed[wait.actor] = np.maximum(needed.get(wait.actor, on), on)
        return np.maximum(needed[0], 0)

    def period(self, rooms: Mapping[str, int | None] | None = None) -> int | None:
        """Cycles from one image to the next when the first are through; None where they stop."""
        ends = self.run(rooms=rooms)
        return None if ends is None else self.measure(ends)

    def measure(self, ends: Ends) -> int:
        """Cycles from the last image but one to the last, by the last actor."""
        return ends[-1][-1] - ends[-1][-1 - self.actors[-1].firings]

    def reaches(self, target: float, rooms: Mapping[str, int | None]) -> bool:
        """Whether an image takes no more than ``target`` cycles, one in a thousand aside."""
        period = self.period(rooms)
        return period is not None and period <= target * 1.001

    def most(self, ends: Ends, channel: str) -> int:
        """The most elements that ``channel``, of one reader, held at once in a run."""
        writer, writing = self._writers[channel]
        ((reader, reading),) = self._readers[channel]
        images = len(ends[writer]) // self.actors[writer].firings
        total = int(writing.makes[-1])
        starts = np.arange(images)[:, None] * total
        made = (starts + writing.makes).reshape(-1)
        freed = np.concatenate([[0], (starts + reading.frees).reshape(-1)])
        before = np.searchsorted(np.asarray(ends[reader]) - reading.early, np.asarray(ends[writer]), side="right")
        return int((made - freed[before]).max())


_Plan = list[tuple[int, list[int], list[int], int, int]]
"""For each of an actor's waits: on whom, when that one fired, which firings are waited for, delay, firings an image."""


def _advance(actor: Actor, mine: list[int], plan: _Plan, images: int) -> tuple[int, int] | None:
    """Fire ``actor`` as often as it can; returns who must fire first, and which firing."""
    each, time = actor.firings, actor.time
    last = mine[-1] if mine else 0
    for image in range(len(mine) // each, images):
        for k in range(len(mine) - image * each, each):
            end = last + time
            for who, theirs, on, delay, firings in plan:
                place = on[k] + image * firings
                if place >= 0:
                    if place >= len(theirs):
                        return who, place
                    if theirs[place] + delay > end:
                        end = theirs[place] + delay
            mine.append(end)
            last = end
    return None


def _largest(counts: Counts) -> int:
    """The most elements of one firing."""
    return int(np.diff(counts, prepend=0).max())
