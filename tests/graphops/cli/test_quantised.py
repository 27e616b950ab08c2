"""Quantised networks from the command line: made, trained, scored and stored."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from graphops.data import DataSet
from graphops.data.feed import Feed
from hls_backend.qonnx_execution import execute

MODELS = Path(__file__).parents[3] / "examples" / "models"


def test_quantize_trains_and_evaluate_agrees_with_qonnx(graphops, tmp_path: Path, digits: DataSet) -> None:
    source, target, stored = MODELS / "digits-resnet8.onnx", tmp_path / "w4a4.onnx", tmp_path / "stored.onnx"
    training = ("--train", "digits", "--epochs", 1, "--batch", 64, "--lr", 0.02, "--teacher", source)
    made = graphops("quantize", source, "-o", target, "--weights", 4, "--acts", 4, *training, "--verify", "--json").json
    after = made["training"]["accuracy_after"]
    assert after > 0.95

    model = onnx.load(target)
    logits = execute(model, Feed(model, digits)(digits.test.images))[model.graph.output[0].name]
    assert (logits.argmax(axis=1) == digits.test.labels).mean() == pytest.approx(after, abs=0.01)
    assert graphops("evaluate", target, "--data", "digits", "--json").json["accuracy"] == after

    kept = graphops("integer-weights", target, "-o", stored, "--verify", "--json").json
    assert kept["verify"]["largest"] == 0
    assert stored.stat().st_size < 0.4 * target.stat().st_size
    assert graphops("evaluate", stored, "--data", "digits", "--json").json["accuracy"] == after


def test_finetune_goes_on_from_stored_integers(graphops, tmp_path: Path) -> None:
    source, target = MODELS / "digits-nonresnet8-w2a2.onnx", tmp_path / "more.onnx"
    training = ("--steps", 2, "--batch", 64, "--lr", 0.001)
    done = graphops("finetune", source, "-o", target, "--data", "digits", *training, "--json").json
    assert done["accuracy_after"] > 0.95
    assert "were folded into initialisers" in done["notes"][0]
    counts = [{n.op_type for n in onnx.load(path).graph.node} for path in (source, target)]
    assert counts[0] - counts[1] == {"Cast"}, "the Mul that makes the bias's scale stays"
