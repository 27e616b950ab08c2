"""Pipelines that end in hardware: a build, its simulation and synthesis, and a comparison as steps."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import yaml

from graphops import Pipeline, compare, export_hls, simulate, step, synth
from graphops import recipe as recipes
from graphops.bench import Bench
from graphops.resolved import resolved
from hls_backend import synthesize
from passes import Quantize, RemoveSkips, UserError
from tests.graphops.pipeline.test_pipeline import Listener
from tests.graphops.training import nets
from tests.hls_backend.rtl.test_modules import needs_verilator
from tests.hls_backend.rtl.test_synthesize import needs_yosys


def residual() -> onnx.ModelProto:
    """Two convolutions of 4 channels, a skip over the second, pooling and a classifier."""
    middle = """
    n = BatchNormalization (a, s, z, z, s)
    r = Relu(n)
    c = Conv <pads = [1,1,1,1]> (r, conv2_w)
    n2 = BatchNormalization (c, s, z, z, s)
    j = Add(n2, r)
    b = Relu(j)
    """
    return nets.small(middle, {"conv2_w": nets.he(4, 4, 3, 3), "s": nets.ones(4), "z": nets.zeros(4)})


@pytest.fixture(scope="module")
def to_rtl(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[Path, Listener]]:
    """Runs the recipe resnet20-to-rtl on digits, with two steps of each training in place of its epochs."""
    out = tmp_path_factory.mktemp("to-rtl")
    content = yaml.safe_load(recipes.find("resnet20-to-rtl").read_text())
    for item in content["steps"]:
        if "finetune" in item:
            item["finetune"] |= {"steps": 2, "batch": 16, "workers": 1, "evaluate_every": 0}
        if "export-hls" in item:
            item["export-hls"] |= {"count": 2}
    content |= {"data": "digits", "limit": 50}

    def run() -> tuple[Path, Listener]:
        listener = Listener()
        done = recipes.parse(content, "resnet20-to-rtl", out).run(residual(), out=out / "run", watch=listener)
        return done.folder, listener

    return run


@needs_verilator
@needs_yosys
def test_from_a_float_network_to_a_comparison_of_its_rtl(to_rtl: Callable[[], tuple[Path, Listener]]) -> None:
    folder, first = to_rtl()
    steps = {record["name"]: record for record in json.loads((folder / "report.json").read_text())["steps"]}
    for name, joins in (("resnet", 1), ("nonresnet", 0)):
        simulated = steps[f"{name}-simulated"]["figures"]
        assert (simulated["build"], simulated["frames"], simulated["errors"]) == (name, 2, 0)
        assert (simulated["classes"]["count"], simulated["classes"]["equal"]) == (2, 2)
        assert simulated["latency"] > 0
        assert simulated["interval"] <= 1.01 * steps[name]["figures"]["cycles"]
        assert simulated["fps"] == pytest.approx(100e6 / simulated["interval"])
        cells = steps[f"{name}-synthesised"]["figures"]
        assert cells["total"]["luts"] == sum(layer["luts"] for layer in cells["layers"]) > 0
        assert steps[name]["joins"] == joins
        assert (folder / steps[name]["folder"] / "build" / "rtl" / "top.sv").is_file()
        assert steps[name]["model"] == steps[f"{name}-synthesised"]["model"], "the model stays as it is"
    skips, none = steps["compare"]["figures"]["builds"]
    assert (skips["name"], none["name"]) == ("resnet", "nonresnet")
    assert skips["cells"] == steps["resnet-synthesised"]["figures"]["total"]
    assert skips["waiting_bits"] > none["waiting_bits"] == 0
    assert sum(none["purposes"]["skips"].values()) == 0
    report = (folder / "report.md").read_text()
    assert "| 05-resnet-synthesised | xcup | " in report
    assert "|  | resnet | nonresnet |" in report
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")

    _, second = to_rtl()
    assert (first.found, second.done, second.found) == ([], [], first.done), "everything is found done"

    (folder / "11-nonresnet" / "build" / "rtl" / "top.sv").unlink()
    (folder / "11-nonresnet" / ".build.0123.new").mkdir()
    _, third = to_rtl()
    assert third.done == ["11-nonresnet"], "an equal build leaves what follows as it is"
    assert not (folder / "11-nonresnet" / ".build.0123.new").exists(), "what a killed process left is gone"


def test_without_data_test_integers_are_random(tmp_path: Path) -> None:
    graph = onnx.load(Path(__file__).parents[3] / "examples" / "models" / "digits-nonresnet8-w2a2.onnx")
    done = Pipeline([export_hls(emitters=("rtl",), count=1)]).run(graph, out=tmp_path / "run")
    figures = done.records[1]["figures"]
    assert figures["emitters"] == ["rtl"]
    assert figures["vectors"]["origin"].startswith("1 random images of integers")
    assert done.records[1]["model"] == done.records[0]["model"]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([simulate()], "Step 01-simulate needs a build of the model of 00-input; put the step export-hls before it."),
        ([export_hls(), RemoveSkips(), synth()], "needs a build of the model of 02-remove-skips"),
        ([export_hls(emitters=("finn",)), synth()], "reads the RTL of 01-export-hls, which makes none; add rtl"),
        ([export_hls(), compare("export-hls", "other")], "no step before it is called so"),
    ],
)
def test_steps_that_need_a_build_say_so(steps: list, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Pipeline(steps)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: export_hls("xc7z02"), "xc7z020"),
        (lambda: export_hls(target_fps=0), "at least 0.001"),
        (lambda: export_hls(clock_mhz=math.nan), "at least 1"),
        (lambda: export_hls(fps=100), "no option 'fps'; it knows target_fps"),
        (lambda: export_hls(emitters=("vhdl",)), "emitters"),
        (lambda: simulate(count=0), "at least 1"),
        (lambda: synth("ice40"), "family is 'ice40'"),
        (lambda: synth(jobs=0), "by 0 processes is impossible"),
        (lambda: compare("one"), "two builds"),
        (lambda: compare("one", "two", jobs=-1), "by -1 processes is impossible"),
    ],
)
def test_options_that_cannot_be(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert sentence in str(caught.value)


def test_a_missing_tool_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [Quantize(), export_hls(), simulate()]
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "make" else f"/bin/{tool}")
    with pytest.raises(UserError, match=r"needs make, not found on this machine; install .* `apt-get install make`"):
        Pipeline(steps, data="digits").run(residual(), out=tmp_path / "run")
    monkeypatch.setattr(synthesize, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=r"Synthesis needs yosys; run `python -m pip install 'graphops\[synth\]'`"):
        Pipeline([*steps[:2], synth()], data="digits").run(residual(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_resolved_recipe_names_builds_by_their_folders() -> None:
    steps = [export_hls(), step(export_hls("xczu7ev"), name="large"), compare("01-export-hls", "large", place="ecp5")]
    pipeline = Pipeline(steps)
    assert pipeline.planned[-1].builds == (("01-export-hls", "01-export-hls"), ("02-large", "large"))
    content = yaml.safe_load(resolved(pipeline, Bench()))
    assert content["steps"][-1]["compare"]["builds"] == ["01-export-hls", "02-large"]
    assert recipes.parse(content, "resolved", Path()).planned[-1].builds == pipeline.planned[-1].builds
