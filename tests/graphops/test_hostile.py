"""Hostile models: the first cases of the fuzz test, which `python -m tests.fuzzing --minutes 60` runs for an hour.

Truncated and mutated files, cycles, names given twice, dangling inputs, absurd sizes, data outside the model's folder,
bombs: every verb answers with one sentence in bounded time and memory, and opens and writes nothing elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from tests.fuzzing.cases import case
from tests.fuzzing.run import Run

CASES = 30
"""CI runs four times as many, of another seed."""


def test_no_case_does_what_none_may(tmp_path: Path) -> None:
    run = Run(tmp_path, seed=0, first=0, count=CASES, seconds=600)
    assert list(run.findings()) == []
    assert run.cases == CASES
    assert run.commands >= 2 * CASES
    assert CASES < run.refused < run.commands, "some are refused, some are not"


def test_cases_follow_from_seed_and_number(tmp_path: Path) -> None:
    for number in range(20):
        assert case(1, number, tmp_path) == case(1, number, tmp_path)
    assert case(1, 0, tmp_path) != case(2, 0, tmp_path)


def test_cases_are_of_every_kind(tmp_path: Path) -> None:
    stories = [case(0, number, tmp_path).story for number in range(CASES)]
    bombs = [story for story in stories if story.startswith("bomb")]
    assert 0 < len(bombs) < len(set(stories))
