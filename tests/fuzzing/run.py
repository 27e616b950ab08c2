"""Runs cases in worker processes and starts a new one whenever one dies."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HANG = 900.0
"""Seconds without a word from a worker: for what waits for ever. What computes for ever meets a limit of processor time
long before, which a busy machine does not make shorter."""

SHIFT = 500
"""Cases that one worker does, so that what leaks does not add up."""


@dataclass(frozen=True)
class Finding:
    """What a case did that none may.

    Attributes:
        seed: the run's.
        number: the case's.
        story: how the case came about.
        command: the command line.
        fault: what happened.
    """

    seed: int
    number: int
    story: str
    command: str
    fault: str


class Run:
    """One run.

    Args:
        folder: an empty one to work in.
        seed: what the cases follow from.
        first: the number of the first case.
        count: how many cases at most.
        seconds: when to stop.

    Attributes:
        cases: how many were begun.
        commands: how many command lines came to an end.
        refused: how many of these exited with 2.
    """

    def __init__(self, folder: Path, seed: int, first: int, count: int, seconds: float) -> None:
        self._folder, self._seed, self._next, self._end = folder, seed, first, first + count
        self._until = time.monotonic() + seconds
        self.cases = self.commands = self.refused = 0

    def findings(self) -> Iterator[Finding]:
        """Run, and yield what is found when it is."""
        while self._next < self._end and time.monotonic() < self._until:
            yield from self._shift()

    def _shift(self) -> Iterator[Finding]:
        """One worker's life."""
        started, last = self._next, min(self._next + SHIFT, self._end)
        arguments = [str(self._folder), str(self._seed), str(self._next), str(last)]
        began: dict[str, Any] = {"number": self._next, "story": "the start", "command": ""}
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzzing.worker", *arguments], stdout=subprocess.PIPE, bufsize=0
        )
        try:
            for event in _events(worker):
                began |= event
                if "number" in event:
                    self.cases += 1
                    self._next = event["number"] + 1
                if "faults" in event:
                    self.commands += 1
                    self.refused += event["code"] == 2
                    for fault in event["faults"]:
                        yield self._finding(began, fault)
                if "finished" in event or time.monotonic() > self._until:
                    return
            yield self._finding(began, _death(worker.wait(10)))
        except TimeoutError:
            yield self._finding(began, f"hung for {HANG:.0f} s")
        finally:
            self._next = max(self._next, started + 1)  # a case that ends its worker in the making is not made again
            worker.kill()
            worker.wait()

    def _finding(self, began: dict[str, Any], fault: str) -> Finding:
        return Finding(self._seed, began["number"], began["story"], began["command"], fault)


def _events(worker: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """The lines of JSON that a worker prints, until it ends; TimeoutError when it says nothing for long."""
    assert worker.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(HANG):
                raise TimeoutError
            content = worker.stdout.read(65536)
            if not content:
                return
            *lines, rest = (rest + content).split(b"\n")
            for line in lines:
                yield json.loads(line)


def _death(code: int) -> str:
    if code == -signal.SIGPROF:
        return "took more processor time than it may"
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
