"""The training benchmark's own half; PyTorch is in no environment of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_step_is_profiled_by_operator() -> None:
    options = ["--profile", "--batch", "4", "--steps", "1", "--cores", "1", "--json"]
    command = [sys.executable, "-m", "examples.benchmarks.training", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    shares = json.loads(done.stdout)
    assert sum(shares.values()) == pytest.approx(1)
    assert {"Conv", "BatchNormInternal", "SoftmaxCrossEntropyLoss"} <= set(shares)
