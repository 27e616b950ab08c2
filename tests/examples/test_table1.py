"""The table of all ways, on digits and a few steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from examples.table1.ensemble import ensemble
from examples.table1.table import WAYS, budgeted
from graphops import recipe
from graphops.models import build
from passes import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_has_the_same_budget(way: str) -> None:
    import yaml

    content = budgeted(yaml.safe_load(recipe.find(way).read_text()), epochs=24, seed=3, steps=None)
    trainings = [step["finetune"] for step in content["steps"] if isinstance(step, dict) and "finetune" in step]
    assert sum(training["epochs"] for training in trainings) == pytest.approx(24)
    assert {training["seed"] for training in trainings} == {3}


def test_the_ways_one_after_another_and_on_after_a_stop(tmp_path: Path) -> None:
    model = tmp_path / "resnet8.onnx"
    onnx.save_model(build("resnet8", width=8, image=(1, 8, 8)), model)

    def table(*options: str) -> str:
        command = [sys.executable, "-m", "examples.table1.table", "--model", str(model), "--out", str(tmp_path / "out")]
        command += ["--data", "digits", "--steps", "2", "--limit", "50", "--ways", "gates-linear,morph,no-such-way"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = table()
    assert printed.index("the network as it was") > max(printed.index("gates-linear"), printed.index("morph"))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [result.get("joins") for result in results["ways"].values()] == [0, 0, None]
    assert "no shipped recipe of that name" in results["ways"]["no-such-way"]["stopped"]
    assert results["teacher"] == results["ways"]["morph"]["steps"][0]["accuracy"]
    assert (tmp_path / "out" / "table.png").read_bytes().startswith(b"\x89PNG")
    trained = tmp_path / "out" / "morph" / "02-faded" / "model.onnx"
    before = trained.stat().st_mtime_ns
    assert json.loads(table("--json")) == results
    assert trained.stat().st_mtime_ns == before
    other = [sys.executable, "-m", "examples.table1.table", "--model", str(model), "--out", str(tmp_path / "out")]
    other += ["--data", "digits", "--steps", "2", "--limit", "50", "--ways", "morph"]
    for options in (["--epochs", "3"], []):
        onnx.save(build("resnet8", width=8, image=(1, 8, 8), seed=0 if options else 1), model)
        refused = subprocess.run([*other, *options], capture_output=True, text=True, cwd=ROOT)
        assert refused.returncode != 0
        assert "give another --out" in refused.stderr


def test_an_ensembles_logits_are_the_mean_of_its_models() -> None:
    models = [build("resnet8", width=8, image=(1, 8, 8), seed=seed) for seed in range(3)]
    images = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)

    def logits(model: onnx.ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: images})[0]

    together = ensemble(models)
    onnx.checker.check_model(together, full_check=True)
    np.testing.assert_allclose(logits(together), np.mean([logits(m) for m in models], axis=0), rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="Model number 2 has not one input"):
        ensemble([models[0], build("resnet8", width=8, image=(3, 8, 8))])
