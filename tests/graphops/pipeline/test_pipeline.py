"""Pipelines: what a run leaves, what is done again and what is not, branches, and what is refused before any work."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper

import graphops
from graphops import Pipeline, build, export_hls, finetune, step
from graphops import recipe as recipes
from graphops.bench import Bench, Watch
from graphops.data import DataSet
from graphops.evaluate import evaluate
from graphops.models import build as network
from graphops.sensitivity import measured
from graphops.steps import Evaluate, Rewrite, Step
from passes import GateSkips, RemoveSkips, ShortenSkips, UserError
from passes.skips import find_skips
from tests.graphops.training.nets import he, small, zeros

QUICK: dict[str, Any] = {"steps": 3, "batch": 32, "workers": 1}


class Listener(Watch):
    """Remembers which steps were done, and which had been."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.found: list[str] = []

    def end(self, record: dict[str, Any], was_done: bool) -> None:
        (self.found if was_done else self.done).append(record["folder"])


def resnet8() -> onnx.ModelProto:
    return network("resnet8", width=4, classes=10, image=(1, 8, 8))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save_model(resnet8(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def run(pipeline: Pipeline, *arguments: Any, **options: Any) -> Listener:
    listener = Listener()
    pipeline.run(*arguments, watch=listener, **options)
    return listener


def test_what_a_run_leaves(model: Path, tmp_path: Path) -> None:
    steps = [ShortenSkips(), finetune("digits", teacher="input", **QUICK), RemoveSkips(stage=1)]
    done = Pipeline(steps, limit=50).run(model, out=tmp_path / "run")
    folders = ["00-input", "01-shorten-skips", "02-finetune", "03-remove-skips"]
    assert sorted(path.name for path in done.folder.iterdir() if not path.name.startswith(".")) == [
        *folders,
        "metrics.jsonl",
        "metrics.png",
        "recipe.yaml",
        "report.json",
        "report.md",
        "report.png",
        "run.json",
    ]
    for folder in folders:
        assert sorted(path.name for path in (done.folder / folder).iterdir()) == ["model.onnx", "step.json"]
        onnx.checker.check_model(str(done.folder / folder / "model.onnx"), full_check=True)
    report = json.loads((done.folder / "report.json").read_text())
    assert [record["joins"] for record in report["steps"]] == [3, 3, 3, 2]
    assert report["steps"][2]["seconds"] == report["steps"][2]["history"][-1]["seconds"] > 0
    assert all(0 <= record["accuracy"] <= 1 and record["count"] == 50 for record in report["steps"])
    for key in ("parameters", "macs", "buffer_bits", "seconds", "kind", "notes", "history"):
        assert key in report["steps"][0]
    metrics = [json.loads(line) for line in (done.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["folder"] for line in metrics if "loss" in line] == ["02-finetune"]
    assert [line["folder"] for line in metrics if "loss" not in line] == folders
    assert (done.folder / "report.png").read_bytes().startswith(b"\x89PNG")
    assert len(find_skips(done.load("remove-skips"))) == 2


def test_a_second_run_does_nothing_again(model: Path, tmp_path: Path) -> None:
    def pipeline() -> Pipeline:
        return Pipeline([ShortenSkips(), finetune("digits", **QUICK)], limit=50)

    first = run(pipeline(), model, out=tmp_path / "run")
    assert first.found == []
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    second = run(pipeline(), model, out=tmp_path / "run")
    assert (second.done, second.found) == ([], first.done)
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_of_another_recipe_is_refused_and_taken_over_by_force(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(Pipeline([GateSkips(), RemoveSkips(stage=1)]), model, out=out)
    other = Pipeline([GateSkips(), RemoveSkips(stage=2)])
    before = (out / "02-remove-skips" / "model.onnx").read_bytes()
    with pytest.raises(UserError, match="belongs to a run of another recipe, model or data set"):
        other.run(model, out=out)
    assert (out / "02-remove-skips" / "model.onnx").read_bytes() == before
    forced = run(other, model, out=out, force=True)
    assert (forced.found, forced.done) == (["00-input", "01-gate-skips"], ["02-remove-skips"])
    assert (out / "02-remove-skips" / "model.onnx").read_bytes() != before
    run(Pipeline([GateSkips()]), model, out=out, force=True)
    assert not (out / "02-remove-skips").exists(), "the other recipe's steps are gone"


SAYS = """
from dataclasses import dataclass
from typing import ClassVar

from passes import Pass


@dataclass(frozen=True)
class Says(Pass):
    name: ClassVar[str] = "says"
    exact: ClassVar[bool] = True

    def rewrite(self, editor):
        return ["WORD"]
"""


def test_a_pass_that_somebody_is_writing_runs_again_when_its_code_changed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, notes = tmp_path / "acme_says.py", []
    for word in ("first", "the second"):
        file.write_text(SAYS.replace("WORD", word))
        spec = importlib.util.spec_from_file_location("acme_says", file)
        assert spec is not None
        assert spec.loader is not None
        acme = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "acme_says", acme)
        spec.loader.exec_module(acme)
        done = Pipeline([acme.Says()]).run(model, out=tmp_path / "run", force=True)
        notes += done.records[-1]["notes"]
    assert notes == ["first", "the second"]


def test_another_model_is_another_run(model: Path, tmp_path: Path) -> None:
    Pipeline([GateSkips()]).run(model, out=tmp_path / "run")
    onnx.save_model(network("resnet8", width=4, classes=10, image=(1, 8, 8), seed=1), model)
    with pytest.raises(UserError, match="belongs to a run of another"):
        Pipeline([GateSkips()]).run(model, out=tmp_path / "run")


def test_a_folder_with_other_files_is_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds files that are no run's"):
        Pipeline([GateSkips()]).run(model, out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir() if path.name != ".lock"] == ["thesis.tex"]


def test_a_run_that_was_killed_in_its_first_moment_is_no_other_file(model: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.01234567.tmp").write_text("half")
    Pipeline([GateSkips()]).run(model, out=tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.tmp"))


def test_what_a_killed_process_left_half_written_goes(model: Path, tmp_path: Path) -> None:
    Pipeline([GateSkips()]).run(model, out=tmp_path / "run")
    out = tmp_path / "run"
    leftovers = [out / ".run.json.01234567.tmp", out / "01-gate-skips" / ".model.onnx.89abcdef.tmp"]
    (out / "notes").mkdir()
    others = [out / ".mine.tmp", out / "01-gate-skips" / ".mine.tmp", out / "notes" / ".model.onnx.89abcdef.tmp"]
    for path in leftovers + others:
        path.write_text("half")
    Pipeline([GateSkips()]).run(model, out=out)
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in others), "others' files stay"


def test_a_run_folder_cannot_make_force_remove_other_folders(model: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    out = tmp_path / "run"
    Pipeline([GateSkips()]).run(model, out=out)
    steps = ["..", "../precious", "", ".", str(tmp_path / "precious"), "01-gate-skips"]
    (out / "run.json").write_text(json.dumps({"identity": "another", "steps": steps}))
    Pipeline([RemoveSkips(stage=1)]).run(model, out=out, force=True)
    assert (tmp_path / "precious").is_dir()
    assert not (out / "01-gate-skips").exists()


def test_buffers_are_counted_anew_for_other_bits(model: Path, tmp_path: Path) -> None:
    wide = Pipeline([GateSkips()]).run(model, out=tmp_path / "run")
    narrow = Pipeline([GateSkips()], bits=8).run(model, out=tmp_path / "run", force=True)
    assert narrow.records[1]["key"] == wide.records[1]["key"]
    assert 4 * narrow.records[1]["buffer_bits"] == wide.records[1]["buffer_bits"]


def test_other_test_images_score_again_without_training_again(model: Path, tmp_path: Path) -> None:
    steps = [finetune("digits", **QUICK)]
    run(Pipeline(steps, limit=50), model, out=tmp_path / "run")
    trained = (tmp_path / "run" / "01-finetune" / "model.onnx").stat().st_mtime_ns
    run(Pipeline(steps, limit=60), model, out=tmp_path / "run", force=True)
    assert (tmp_path / "run" / "01-finetune" / "model.onnx").stat().st_mtime_ns == trained
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [record["count"] for record in report["steps"]] == [60, 60]


@pytest.mark.parametrize("changed", ["teacher", "teacher.onnx", "labels"])
def test_a_training_is_done_again_where_what_it_reads_changed(digits: DataSet, tmp_path: Path, changed: str) -> None:
    """A teacher that is a step or a file, or the data; under the same names."""
    small: dict[str, Any] = {"width": 4, "classes": 10, "image": (1, 8, 8)}
    out, teacher = tmp_path / "run", "teacher" if changed == "teacher" else str(tmp_path / "teacher.onnx")
    trained = []
    for number in (0, 1):
        seeds = {name: number * (changed == name) for name in ("teacher", "teacher.onnx", "labels")}
        onnx.save_model(network("resnet8", seed=seeds["teacher.onnx"], **small), tmp_path / "teacher.onnx")
        labels = np.roll(digits.train.labels, seeds["labels"])
        test = {"x_test": digits.test.images, "y_test": digits.test.labels}
        np.savez(tmp_path / "data.npz", x_train=digits.train.images, y_train=labels, **test)
        steps = [
            step(build("resnet8", seed=seeds["teacher"], **small), name="teacher"),
            step(build("resnet8", **small), name="net"),
            finetune(str(tmp_path / "data.npz"), teacher=teacher, **QUICK),
        ]
        if number:
            with pytest.raises(UserError, match="belongs to a run of another recipe, model or data set"):
                Pipeline(steps, limit=20).run(out=out)
        trained.append(Pipeline(steps, limit=20).run(out=out, force=True).records)
    before, after = ([record["model"] for record in records] for records in trained)
    assert [one == other for one, other in zip(before, after, strict=True)] == [changed != "teacher", True, False]


@pytest.mark.parametrize("work", [Evaluate("digits"), Rewrite(RemoveSkips(stage=1, order="sensitivity"), "digits")])
def test_a_score_by_another_output_is_another_score(work: Step) -> None:
    assert work.identity(Bench(output="y")) != work.identity(Bench(output="guess"))


def test_branches_start_from_earlier_steps(tmp_path: Path) -> None:
    pipeline = Pipeline(
        [
            step(build("resnet8", width=4, image=(1, 8, 8)), name="net"),
            RemoveSkips(stage=1),
            step(RemoveSkips(stage=3), start="net"),
            step(GateSkips(), name="gated", start="net"),
        ]
    )
    done = pipeline.run(out=tmp_path / "run")
    assert [record["start"] for record in done.records] == [None, "01-net", "01-net", "01-net"]
    assert [record["joins"] for record in done.records] == [3, 2, 0, 3]
    assert done.load("net") == resnet8()
    with pytest.raises(UserError, match="2 steps called 'remove-skips'; say one of 02-remove-skips, 03-remove-skips"):
        done.load("remove-skips")


def test_the_resolved_recipe_makes_the_same_run_again(model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [ShortenSkips(), step(finetune("digits", teacher="input", **QUICK), name="tuned"), GateSkips()]
    first = Pipeline([*steps, step(RemoveSkips(stage=1), start="tuned")], limit=50, bits=8).run("net.onnx", out="run")
    resolved = yaml.safe_load((first.folder / "recipe.yaml").read_text())
    assert resolved["steps"][1]["finetune"]["lr"] == 0.05, "defaults are spelled out"
    second = recipes.read(first.folder / "recipe.yaml").run(out="again")
    assert [record["model"] for record in second.records] == [record["model"] for record in first.records]
    assert [record["buffer_bits"] for record in second.records] == [record["buffer_bits"] for record in first.records]
    assert (second.folder / "recipe.yaml").read_text() == (first.folder / "recipe.yaml").read_text()


def test_scoring_as_a_step(tmp_path: Path, digits: DataSet) -> None:
    few, test = tmp_path / "few.npz", digits.test.first(50)
    np.savez(few, x_train=test.images, y_train=test.labels, x_test=test.images, y_test=test.labels)
    steps = [build("resnet8", width=4, image=(1, 8, 8)), Evaluate("digits", split="train", limit=30)]
    done = Pipeline(steps, data=str(few)).run(out=tmp_path / "run")
    assert [record["count"] for record in done.records] == [50, 50], "the pipeline's own data score every step"
    assert done.records[1]["figures"]["digits train"]["count"] == 30
    assert done.records[1]["model"] == done.records[0]["model"]


def test_sensitivity_is_measured_by_the_step(model: Path, tmp_path: Path) -> None:
    done = Pipeline([RemoveSkips(stage=1, order="sensitivity")], data="digits", limit=20).run(model, out=tmp_path / "r")
    assert len(done.records[1]["figures"]["scores"]) == 3


def test_a_skip_that_cannot_go_is_the_last_by_sensitivity(digits: DataSet) -> None:
    """As one whose main path sees the whole image in one pixel."""
    middle = """
    p = GlobalAveragePool(a) q = Conv(p, w1) j = Add(a, q)
    m = Conv <pads = [1,1,1,1]> (j, w3) b = Add(m, j)
    """
    model = small(middle, {"w1": he(4, 4, 1, 1), "w3": he(4, 4, 3, 3)})
    by_sensitivity = measured(RemoveSkips(stage=1, stages=2, order="sensitivity"), model, digits)
    assert [skip.number for skip in find_skips(by_sensitivity.apply(model).model)] == ["1"]


def test_the_output_that_is_trained_is_the_one_that_is_followed_and_scored(tmp_path: Path, digits: DataSet) -> None:
    model = small("b = Relu(a)", wanted="float[N,10] guess, float[N,10] y", more={"zero": zeros(10)})
    model.graph.node.append(helper.make_node("Mul", ["y", "zero"], ["guess"]))
    training = finetune("digits", output="y", teacher="input", max_drop=1.0, augment="none", **QUICK)
    done = Pipeline([training, Evaluate()]).run(model, out=tmp_path / "run")
    for record in done.records:
        trained = done.load(record["folder"])
        assert (
            record["accuracy"] == evaluate(trained, digits, output="y").accuracy != evaluate(trained, digits).accuracy
        )
    assert done.records[1]["history"][-1]["test_accuracy"] == done.records[1]["accuracy"]
    assert done.records[2]["figures"]["digits test"]["accuracy"] == done.records[1]["accuracy"]
    by_guess = finetune("digits", output="guess", augment="none", **QUICK)
    again = Pipeline([by_guess]).run(model, out=tmp_path / "run", force=True).records[0]
    assert again["key"] == done.records[0]["key"]
    assert again["accuracy"] == evaluate(model, digits, output="guess").accuracy != done.records[0]["accuracy"]


def test_a_model_in_memory_will_do(tmp_path: Path) -> None:
    done = Pipeline([GateSkips()]).run(resnet8(), out=tmp_path / "run")
    assert done.load("input") == resnet8()


def test_numbers_of_numpy_are_kept_as_others(tmp_path: Path) -> None:
    by_scores = RemoveSkips(stage=np.int64(1), order="sensitivity", scores=tuple(np.linspace(0, 1, 3)))  # type: ignore[arg-type]
    Pipeline([by_scores]).run(resnet8(), out=tmp_path / "run")
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["steps"][0]["remove-skips"]["stage"] == 1


def test_weights_in_other_files_stay_so(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    onnx.save_model(resnet8(), model, save_as_external_data=True, location="net.data", size_threshold=0)
    Pipeline([RemoveSkips(stage=1)], data="digits", limit=20).run(model, out=tmp_path / "run")
    assert (tmp_path / "run" / "01-remove-skips" / "net.data").read_bytes() == (tmp_path / "net.data").read_bytes()
    with pytest.raises(UserError, match="lie in data files; give the pipeline the model's path, or load them"):
        Pipeline([RemoveSkips()]).run(onnx.load(model, load_external_data=False), out=tmp_path / "other")


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([], "needs at least one step"),
        ([RemoveSkips], "is no step; give a pass with its options"),
        (["remove-skips"], "'remove-skips' is no step"),
        ([step(GateSkips(), name="a/b")], "'a/b' is unfit for a folder"),
        ([step(GateSkips(), name="a"), step(GateSkips(), name="a")], "Two steps are called 'a'"),
        ([step(GateSkips(), name="input")], "Two steps are called 'input'"),
        ([step(GateSkips(), name="gated"), step(GateSkips(), start="gate")], "did you mean 'gated'?"),
        ([step(GateSkips(), start="")], "refers to '', and no step before it is called so"),
        ([step(GateSkips(), start="later"), step(GateSkips(), name="later")], "no step before it is called so"),
        ([GateSkips(), GateSkips(), step(GateSkips(), start="gate-skips")], "say one of 01-gate-skips, 02-gate-skips"),
        ([step(build("resnet8"), start="input")], "leave its from=input out"),
    ],
)
def test_plans_that_make_no_sense(steps: list[Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Pipeline(steps)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: finetune(3), "finetune: data is 3; it must be a name"),
        (lambda: finetune(teacher=resnet8()), "finetune: teacher is ModelProto"),
        (lambda: build(None), "build needs the network's name"),
        (lambda: Pipeline([GateSkips()], limit=0), "limit=0 is impossible; give at least 1"),
        (lambda: Pipeline([GateSkips()], bits=-1), "bits=-1 is impossible; give at least 1"),
    ],
)
def test_what_is_refused_when_it_is_made(made: Callable[[], Step | Pipeline], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made()


def test_what_the_package_names_is_there_and_shown_at_a_prompt() -> None:
    assert all(hasattr(graphops, name) for name in graphops.__all__)
    assert set(graphops.__all__) <= set(dir(graphops))


def test_data_and_teacher_may_be_paths() -> None:
    assert finetune(Path("a.npz"), teacher=Path("b.onnx")) == finetune("a.npz", teacher="b.onnx")


@pytest.mark.parametrize(
    ("pipeline", "given", "sentence"),
    [
        (Pipeline([GateSkips()]), False, "needs a model to start from"),
        (Pipeline([build("resnet8")]), True, "builds its own model"),
        (Pipeline([finetune("digits", teacher="none.onnx")]), True, "There is no file none.onnx"),
        (Pipeline([GateSkips(), finetune("digit")]), True, "did you mean 'digits'"),
        (Pipeline([GateSkips(), finetune()]), True, "No data set is named"),
        (Pipeline([GateSkips()], data=""), True, "No data set is named"),
        (Pipeline([finetune("")], data="digits"), True, "No data set is named"),
        (Pipeline([export_hls(data="")], data="digits"), True, "No data set is named"),
    ],
)
def test_what_is_missing_is_said_before_any_work(
    pipeline: Pipeline, given: bool, sentence: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        pipeline.run(model if given else None, out=tmp_path / "run")
    assert sentence in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_install_that_cannot_train_is_said_before_any_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise UserError("onnxruntime is the build without training.")

    monkeypatch.setattr("graphops.training.runtime.native", broken)
    with pytest.raises(UserError, match="the build without training"):
        Pipeline([ShortenSkips(), finetune("digits", **QUICK)]).run(model, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stage_below_its_teacher_stops_the_run_and_what_was_made_stays(model: Path, tmp_path: Path) -> None:
    good = Path(__file__).parents[3] / "examples" / "models" / "digits-resnet8.onnx"
    stage = finetune("digits", teacher=str(good), max_drop=0.01, **(QUICK | {"steps": 1}))
    with pytest.raises(UserError, match=r"Training ended at .* below its teacher's .* where max_drop allows 1\.00%"):
        Pipeline([ShortenSkips(), stage, RemoveSkips()], limit=50).run(model, out=tmp_path / "run")
    assert (tmp_path / "run" / "01-shorten-skips" / "model.onnx").exists()
    assert list((tmp_path / "run" / "02-finetune").glob("checkpoints/*/checkpoint-*.bin"))
    assert not (tmp_path / "run" / "02-finetune" / "model.onnx").exists()
    stage = finetune("digits", teacher=str(good), max_drop=1.0, **(QUICK | {"steps": 1}))
    done = Pipeline([ShortenSkips(), stage], limit=50).run(model, out=tmp_path / "run", force=True)
    assert "Training goes on from step 1 of 1" in done.records[-1]["notes"][-1]


def test_a_stage_with_a_larger_budget_goes_on_where_it_stopped(model: Path, tmp_path: Path) -> None:
    good = Path(__file__).parents[3] / "examples" / "models" / "digits-resnet8.onnx"
    for budget in (0, 1):
        stage = finetune("digits", teacher=str(good), max_drop=0.0, budget=budget, **(QUICK | {"steps": 1}))
        with pytest.raises(UserError, match="allow a larger max_drop or a larger budget"):
            Pipeline([ShortenSkips(), stage], limit=50).run(model, out=tmp_path / "run", force=True)
    (metrics,) = (tmp_path / "run" / "02-finetune").glob("checkpoints/*/metrics.jsonl")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "step"]
    assert len(steps) > 1
    assert steps == list(range(1, len(steps) + 1)), "none is done twice"
    other = finetune("digits", teacher=str(good), lr=0.2, **(QUICK | {"steps": 1}))
    Pipeline([ShortenSkips(), other], limit=50).run(model, out=tmp_path / "run", force=True)  # is none that goes on


def test_while_a_resumed_training_is_at_work_its_earlier_epochs_are_in_the_metrics(tmp_path: Path) -> None:
    """An epoch is a step here; the run stops after the first."""

    class Stop(Watch):
        def metrics(self, line: dict[str, Any]) -> None:
            raise InterruptedError

    class Look(Watch):
        def progress(self, done: float, total: float, text: str = "") -> None:
            if (done, total) == (2, 2):
                seen.append((tmp_path / "run" / "metrics.jsonl").read_text())

    seen: list[str] = []
    pipeline = Pipeline([finetune("digits", epochs=2, batch=1347, workers=1, checkpoint_steps=1)], limit=50)
    with pytest.raises(InterruptedError):
        pipeline.run(small(), out=tmp_path / "run", watch=Stop())
    pipeline.run(small(), out=tmp_path / "run", watch=Look())
    first = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:2]
    assert json.loads(first[1])["epoch"] == 1
    assert seen[0].splitlines() == first
