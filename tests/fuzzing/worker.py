"""A process that runs one case after another under limits, until it is done or one of them kills it.

It prints a line of JSON before and after each command line, so that whoever started it knows what killed it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

MEMORY = 2**30
"""Bytes that all cases together may take beyond what a valid model took."""

SECONDS = 20.0
"""Processor time for one command line."""

VERBS = 4
"""Command lines a case."""


def main(folder: Path, seed: int, first: int, last: int) -> None:
    report = os.fdopen(os.dup(1), "w", buffering=1)

    def say(**event: Any) -> None:
        report.write(json.dumps(event) + "\n")

    from graphops import sandbox
    from tests.fuzzing.cases import SECRET, case
    from tests.fuzzing.commands import commands, prepare
    from tests.fuzzing.judge import Judge
    from tests.fuzzing.watch import FolderWatch

    outside, tools, work = folder / "outside", folder / "tools", folder / "model"
    for path in (outside, tools):
        path.mkdir(exist_ok=True)
    (outside / SECRET).write_bytes(b"secret" * 1000)
    prepare(tools)
    os.environ["MPLCONFIGDIR"] = str(tools / "matplotlib")
    judge = Judge([tools])
    _warm_up(judge, tools, work)
    _limit()
    sandbox.SECONDS = 8  # enough for the seeds; what loops for ever need not do so for long
    watch = FolderWatch(outside)
    for number in range(first, last):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        made = case(seed, number, outside)
        made.write(work)
        watch.seen()
        say(number=number, story=made.story[:300])
        for line in commands(random.Random(f"{seed}:{number}:verbs"), work, tools, VERBS):
            shown = " ".join(word.replace(str(folder) + "/", "") for word in line)
            say(command=shown)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            code, faults = judge.run(line, work)
            signal.setitimer(signal.ITIMER_PROF, 0)
            faults += [f"touched outside/{name}" for name in watch.seen()]
            say(code=code, faults=faults)
    say(finished=last)


def _warm_up(judge: Any, tools: Path, work: Path) -> None:
    """Import and initialise everything, so that what comes later is the cases' own doing."""
    from tests.fuzzing.commands import BUILD, FIGURE, IMAGES, OUTPUT
    from tests.fuzzing.seeds import MODEL, seeds

    work.mkdir(exist_ok=True)
    (work / MODEL).write_bytes(seeds()["resnet"].model.SerializeToString())
    model, images = str(work / MODEL), str(tools / IMAGES)
    for line in (
        ["skips", model],
        ["remove-skips", model, "--verify", "-o", str(work / OUTPUT)],
        ["evaluate", model, "--data", images],
        ["finetune", model, "--data", images, "--epochs", "1", "-o", str(work / OUTPUT)],
        ["draw", model, "-o", str(work / FIGURE)],
        ["diff", model, model],
    ):
        judge.run(line, work)
    (work / MODEL).write_bytes(seeds()["integers"].model.SerializeToString())
    judge.run(["export-hls", model, "-o", str(work / BUILD), "--count", "1"], work)


def _limit() -> None:
    """Little more memory than there is in use, and death rather than a loop without end."""
    with open("/proc/self/status") as status:
        used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:5]))
