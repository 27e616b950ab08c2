"""The trained networks in examples/models: they are what their README says, and the passes work on them."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest

from graphops.data import DataSet
from graphops.evaluate import evaluate
from graphops.statistics import joins_left, parameters
from passes import FoldConstants, FoldSkips, MergeSkips

FOLDER = Path(__file__).parents[2] / "examples" / "models"
ROW = re.compile(r"^\| `(?P<file>[^`]+)` \|.*\| (?P<joins>\d+) \| (?P<accuracy>[\d.]+) % \|$", re.MULTILINE)
ROWS = {row["file"]: row for row in ROW.finditer((FOLDER / "README.md").read_text())}


def tolerance(name: str, floats: float) -> float:
    """In percent. Values of quantised networks may lie so near a boundary that another processor decides otherwise."""
    return 0.5 if re.search(r"-w\d+a\d+\.", name) else floats


def test_the_readme_lists_every_model() -> None:
    assert set(ROWS) == {path.name for path in FOLDER.glob("*.onnx")}
    assert ROWS


@pytest.mark.parametrize("name", ROWS)
def test_a_model_is_small_and_valid(name: str) -> None:
    path = FOLDER / name
    assert path.stat().st_size < 600_000
    onnx.checker.check_model(str(path), full_check=True)
    assert joins_left(onnx.load(path)) == int(ROWS[name]["joins"])


@pytest.mark.parametrize("name", ROWS)
def test_a_model_is_as_accurate_as_the_readme_says(name: str, request: pytest.FixtureRequest) -> None:
    data = name.split("-")[0]
    score = evaluate(onnx.load(FOLDER / name), request.getfixturevalue(data))
    near = tolerance(name, 0.005 if data == "digits" else 0.02)
    assert 100 * score.accuracy == pytest.approx(float(ROWS[name]["accuracy"]), abs=near)


def test_folding_a_trained_shortresnet_changes_no_prediction(cifar10: DataSet) -> None:
    short = FoldConstants().apply(onnx.load(FOLDER / "cifar10-shortresnet20.onnx")).model
    plain = FoldSkips().apply(short).model
    assert (joins_left(short), joins_left(plain)) == (9, 0)
    assert parameters(plain) <= parameters(short)
    before, after = evaluate(short, cifar10), evaluate(plain, cifar10)
    assert (before.predictions == after.predictions).all()


def test_merging_a_trained_resnet_changes_no_prediction(digits: DataSet) -> None:
    residual = onnx.load(FOLDER / "digits-resnet8.onnx")
    merged = MergeSkips().apply(residual).model
    assert (joins_left(residual), joins_left(merged)) == (3, 0)
    assert (evaluate(residual, digits).predictions == evaluate(merged, digits).predictions).all()
