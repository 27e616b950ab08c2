"""A training that was stopped, by whatever, ends to the bit where an uninterrupted one ends."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from graphops.data import DataSet, Split
from graphops.data.normalisation import by_name
from graphops.files import held
from graphops.models import build
from graphops.training import Progress, Trained, TrainOptions, train
from graphops.training.engine import Engine
from graphops.training.interrupt import DeferredInterrupt
from graphops.training.metrics import Metrics
from passes import GateSkips, UserError
from tests.graphops.training.nets import same_values, small

# Two and a half epochs of 21 steps, with augmentation, a teacher and gates: all that has a state.
OPTIONS = TrainOptions(
    epochs=2.5, batch=64, lr=0.1, augment="crop", crop=1, workers=2, checkpoint_steps=4, checkpoint_seconds=0
)


def start(digits: DataSet) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    teacher = build("resnet8", image=digits.image_shape, width=4, seed=1)
    return GateSkips().apply(build("resnet8", image=digits.image_shape, width=4)).model, teacher


def run(digits: DataSet, folder: Path, progress: Any = None, options: TrainOptions = OPTIONS) -> Trained:
    model, teacher = start(digits)
    return train(model, digits, options, teacher=teacher, folder=folder, progress=progress)


@pytest.fixture(scope="module")
def whole(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, list[dict[str, Any]]]:
    """An uninterrupted run, and its metrics without seconds."""
    folder = tmp_path_factory.mktemp("whole")
    return run(digits, folder), metrics(folder)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [without_seconds(json.loads(line)) for line in (folder / "metrics.jsonl").open()]


def without_seconds(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k != "seconds"}


def assert_same(trained: Trained, folder: Path, whole: tuple[Trained, list[dict[str, Any]]]) -> None:
    assert same_values(trained.model, whole[0].model)
    assert list(map(without_seconds, trained.history)) == list(map(without_seconds, whole[0].history))
    assert metrics(folder) == whole[1]


class Stop(Exception):
    """What a caller may raise in the middle of a training."""


def stop_at(step: int, error: type[BaseException] = Stop) -> Any:
    def progress(now: Progress) -> None:
        if now.step == step and now.note is None:
            raise error

    return progress


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stopped_again_and_again(digits: DataSet, tmp_path: Path, optimizer: Any) -> None:
    """Before the first checkpoint, at one, after one, at an epoch's end, in the last, incomplete epoch."""
    options = dataclasses.replace(OPTIONS, optimizer=optimizer, lr=0.01)
    expected = run(digits, tmp_path / "whole", options=options)
    for step in (2, 4, 7, 21, 22, 50):
        with pytest.raises(Stop):
            run(digits, tmp_path / "stopped", stop_at(step), options)
    trained = run(digits, tmp_path / "stopped", options=options)
    assert_same(trained, tmp_path / "stopped", (expected, metrics(tmp_path / "whole")))
    assert "goes on from step 48 of 52" in trained.notes[-1]


CHILD = """
import sys
from pathlib import Path
from graphops.data import load
from tests.graphops.training.test_resume import run
print("ready", flush=True)
run(load("digits"), Path(sys.argv[1]), lambda now: print(now.step, flush=True))
"""


def test_killed_at_random_moments(digits: DataSet, tmp_path: Path, whole: tuple[Trained, list[dict[str, Any]]]) -> None:
    moments = random.Random(8)
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _, _line in zip(range(moments.randrange(2, 14)), child.stdout, strict=False):
            pass
        time.sleep(moments.random() / 50)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert_same(run(digits, tmp_path), tmp_path, whole)


def test_ctrl_c_saves_the_very_step_and_goes_on_from_there(
    digits: DataSet, tmp_path: Path, whole: tuple[Trained, list[dict[str, Any]]]
) -> None:
    def press(now: Progress) -> None:
        if now.step == 6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(digits, tmp_path, press)
    assert sorted(p.name for p in tmp_path.glob("*.bin"))[-1] == "checkpoint-000000006.bin"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    trained = run(digits, tmp_path)
    assert "from step 6 of 52" in trained.notes[-1]
    assert_same(trained, tmp_path, whole)


def test_what_is_interrupted_within_a_step_is_not_saved(
    digits: DataSet, tmp_path: Path, whole: tuple[Trained, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a second Ctrl-C."""
    compute = Engine.step

    def step(engine: Engine, batch: Any) -> Any:
        result = compute(engine, batch)  # the running statistics have moved, the parameters have not
        if steps.pop():
            raise KeyboardInterrupt
        return result

    steps = [True, *[False] * 5]
    with monkeypatch.context() as torn:
        torn.setattr(Engine, "step", step)
        with pytest.raises(KeyboardInterrupt):
            run(digits, tmp_path)
    trained = run(digits, tmp_path)
    assert "from step 4 of 52" in trained.notes[-1]
    assert_same(trained, tmp_path, whole)


def test_seconds_are_of_the_whole_training_and_speed_is_of_this_process(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()  # seconds are told twice a step: when it is done, and when it is reported
    monkeypatch.setattr("graphops.training.trainer.time", SimpleNamespace(monotonic=lambda: next(clock)))
    options = TrainOptions(epochs=4, batch=600, workers=1, evaluate_every=0)
    seen: list[Progress] = []

    def watch(now: Progress) -> None:
        if now.note is None:
            seen.append(now)
            if len(seen) == 4:
                raise Stop

    with pytest.raises(Stop):
        train(small(), digits, options, folder=tmp_path, progress=watch)
    history = train(small(), digits, options, folder=tmp_path, progress=watch).history
    assert [(now.images_per_second, now.seconds_left) for now in seen] == [(300, 2 * (8 - k)) for k in range(1, 9)]
    assert [record["seconds"] for record in history] == [3, 7, 7 + 3, 7 + 7]


def test_metrics_are_on_the_disk_before_a_checkpoint_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    written = Metrics(tmp_path)
    written.write({"kind": "step", "step": 1})
    assert written.sync() == sizes[0] == (tmp_path / "metrics.jsonl").stat().st_size > 0
    written.close()


def test_two_trainings_do_not_share_a_folder(digits: DataSet, tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UserError, match="Another graphops is at work in "):
        run(digits, tmp_path)


def test_a_folder_without_locks_is_not_said_to_be_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(UserError, match="cannot be locked: Function not implemented; choose"), held(tmp_path):
        pass


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    digits: DataSet, tmp_path: Path, whole: tuple[Trained, list[dict[str, Any]]]
) -> None:
    with pytest.raises(Stop):
        run(digits, tmp_path, stop_at(14))
    newest = sorted(tmp_path.glob("checkpoint-*.bin"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    notes: list[str] = []

    def listen(now: Progress) -> None:
        if now.note:
            notes.append(now.note)

    trained = run(digits, tmp_path, listen)
    assert newest.name in notes[0]
    assert "from step 8 of 52" in notes[1]
    assert_same(trained, tmp_path, whole)


def test_a_finished_run_is_not_run_again(
    digits: DataSet, tmp_path: Path, whole: tuple[Trained, list[dict[str, Any]]]
) -> None:
    run(digits, tmp_path)
    seen: list[Progress] = []
    again = run(digits, tmp_path, seen.append)
    assert {now.step for now in seen} == {52}
    assert_same(again, tmp_path, whole)


def test_the_number_of_workers_is_that_of_the_checkpoint(digits: DataSet, tmp_path: Path) -> None:
    three = dataclasses.replace(OPTIONS, workers=3)
    expected = run(digits, tmp_path / "whole", options=three)
    with pytest.raises(Stop):
        run(digits, tmp_path / "stopped", stop_at(10), three)
    trained = run(digits, tmp_path / "stopped", options=dataclasses.replace(OPTIONS, workers=None))
    assert same_values(trained.model, expected.model)


def test_a_processor_that_sums_in_another_order_is_noted(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stop):
        run(digits, tmp_path, stop_at(5))
    monkeypatch.setattr("graphops.training.rewrites.block_size", lambda: 0)
    assert "last bits may differ" in run(digits, tmp_path).notes[-2]


def test_a_training_goes_on_with_the_rewrites_that_it_began_with(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a later version would choose others."""
    with monkeypatch.context() as before:
        before.setattr("graphops.training.engine.chosen", lambda shares: ("relu-gradients",))
        expected = run(digits, tmp_path / "whole")
        with pytest.raises(Stop):
            run(digits, tmp_path / "stopped", stop_at(10))
    assert same_values(run(digits, tmp_path / "stopped").model, expected.model)


def test_a_folder_with_another_run_is_refused(digits: DataSet, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(digits, tmp_path, stop_at(5))
    with pytest.raises(UserError, match=r"holds a training with lr=0\.1, not 0\.2; choose another folder"):
        run(digits, tmp_path, options=dataclasses.replace(OPTIONS, lr=0.2))
    with pytest.raises(UserError, match="holds a training with another teacher"):
        train(start(digits)[0], digits, OPTIONS, folder=tmp_path, teacher=start(digits)[0])
    with pytest.raises(UserError, match="holds a training with another model"):
        train(start(digits)[1], digits, OPTIONS, folder=tmp_path, teacher=start(digits)[1])
    fewer = dataclasses.replace(digits, train=digits.train.first(500))
    mislabelled = dataclasses.replace(digits, train=Split(digits.train.images, digits.train.labels[::-1].copy()))
    for other in (fewer, mislabelled):
        with pytest.raises(UserError, match="holds a training with another data"):
            run(other, tmp_path)
    with pytest.raises(UserError, match="holds a training with normalisation='digits', not 'unit'; choose another"):
        run(dataclasses.replace(digits, normalisation=by_name("unit")), tmp_path)


def test_a_second_ctrl_c_acts_at_once() -> None:
    with DeferredInterrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        interrupt.check()
