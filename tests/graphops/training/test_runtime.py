"""The door to onnxruntime's training build: what it finds broken, and what it keeps out."""

from __future__ import annotations

import os
import subprocess
import sys

import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as native
import pytest

from graphops.training import runtime
from passes import UserError


def test_a_whole_install_is_named_and_tried() -> None:
    findings = runtime.check()
    assert findings[0] == f"onnxruntime {runtime.VERSION} with training"
    assert findings[-1] == "gradient graphs build"


def test_the_build_without_training_is_found_and_its_repair_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(native, "GradientGraphBuilder")
    with pytest.raises(UserError, match="without training") as caught:
        runtime.check()
    assert runtime.REPAIR in str(caught.value)


def test_a_mix_of_two_versions_is_found_and_its_repair_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.22.0")
    with pytest.raises(UserError, match=r"mix of version 1\.22\.0") as caught:
        runtime.native()
    assert runtime.REPAIR in str(caught.value)


def test_training_needs_no_torch_and_writes_nothing_to_stderr() -> None:
    code = """
import sys
sys.modules["torch"] = None  # importing it would now raise
from graphops.training import runtime, train
runtime.check()
assert "onnxruntime.training" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_stderr_is_back_after_the_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with runtime.silent_stderr():
        os.write(2, b"unheard")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
