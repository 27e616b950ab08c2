"""A run that is killed at any moment goes on, and ends where an uninterrupted one ends, to the byte."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from graphops import recipe as recipes

MOMENTS = int(os.environ.get("GRAPHOPS_KILLS", "4"))
"""How many moments to kill at; more take longer (about five seconds each)."""

RECIPE = """
data: digits
limit: 100
steps:
  - build: {model: resnet8, width: 4, image: [1, 8, 8]}
  - finetune: {steps: 120, checkpoint_steps: 5, workers: 1, batch: 32}
    name: trained
  - shorten-skips: {keep: last}
  - finetune: {steps: 60, checkpoint_steps: 5, workers: 1, batch: 32, teacher: trained}
  - remove-skips: {stage: 2}
    from: trained
  - finetune: {steps: 60, checkpoint_steps: 5, workers: 1, batch: 32, teacher: trained}
    name: end
"""


def results(folder: Path) -> dict[str, bytes]:
    """Whatever must not depend on interruptions: models, recipe, and what the steps measured."""
    files = [*folder.glob("*/model.onnx"), folder / "recipe.yaml", folder / "run.json"]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return found | {"metrics": "\n".join(line.split(', "seconds"')[0] for line in lines).encode()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nothing disturbed, in this process, and how long it took."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "recipe.yaml").write_text(RECIPE)
    begin = time.monotonic()
    recipes.read(folder / "recipe.yaml").run(out=folder / "run")
    return folder / "run", time.monotonic() - begin


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_once_and_run_again(start, tmp_path: Path, uninterrupted: tuple[Path, float], moment: int) -> None:
    expected, seconds = uninterrupted
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    process = start("run", "recipe.yaml", "--out", "run")
    wait_for(tmp_path / "run" / "run.json", process)  # from here on there is something to go on from
    time.sleep(seconds * moment / MOMENTS)
    kill(process)
    again = start("run", "recipe.yaml", "--out", "run")
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert results(tmp_path / "run") == results(expected)
    assert not list((tmp_path / "run").rglob("*.tmp")), "what the killed process left half written is gone"
    assert not list((tmp_path / "run").rglob("checkpoints"))


def test_killed_again_and_again(start, tmp_path: Path, uninterrupted: tuple[Path, float]) -> None:
    """Each process is killed as soon as it has brought the run a little further."""
    expected, _ = uninterrupted
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    for count in range(MOMENTS):
        process = start("run", "recipe.yaml", "--out", "run")
        wait_for(tmp_path / "run" / "run.json", process)
        before = progress(tmp_path / "run")
        while process.poll() is None and progress(tmp_path / "run") <= before:
            time.sleep(0.01)
        kill(process)
        assert count == 0 or progress(tmp_path / "run") > 0
    process = start("run", "recipe.yaml", "--out", "run")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert results(tmp_path / "run") == results(expected)


def progress(folder: Path) -> int:
    """Counts up with every step and every checkpoint."""
    records = len(list(folder.glob("*/step.json")))
    checkpoints = [path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/*/*") if path.exists()]
    return records * 10**20 + max(checkpoints, default=0)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_an_interrupt_from_the_keyboard_is_no_error_and_the_run_goes_on(
    start, tmp_path: Path, uninterrupted: tuple[Path, float]
) -> None:
    expected, _ = uninterrupted
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    process = start("run", "recipe.yaml", "--out", "run")
    wait_for(tmp_path / "run" / "02-trained" / "checkpoints", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert start("run", "recipe.yaml", "--out", "run").wait() == 0
    assert results(tmp_path / "run") == results(expected)


def test_two_processes_do_not_share_a_folder(start, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    first = start("run", "recipe.yaml", "--out", "run")
    wait_for(tmp_path / "run" / "run.json", first)
    second = start("run", "recipe.yaml", "--out", "run")
    _, err = second.communicate()
    kill(first)
    assert second.returncode == 2
    assert err == "Another graphops is at work in run; wait for it or stop it.\n"


def test_a_model_that_was_changed_by_hand_is_made_again(
    start, tmp_path: Path, uninterrupted: tuple[Path, float]
) -> None:
    expected, _ = uninterrupted
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    shutil.copytree(expected, tmp_path / "run")
    victim = tmp_path / "run" / "05-remove-skips" / "model.onnx"
    victim.write_bytes(victim.read_bytes()[:-10])
    process = start("run", "recipe.yaml", "--out", "run")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert [line.split()[1] for line in err.splitlines()] == ["was", "was", "was", "was", "took", "was"]
    assert results(tmp_path / "run") == results(expected)
