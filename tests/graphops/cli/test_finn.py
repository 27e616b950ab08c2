"""`graphops finn`: what it says where FINN+ is not there, or is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hls_backend.finn.environment import Environment
from tests.graphops.cli.conftest import Graphops
from tests.hls_backend.finn.conftest import an_environment, finn_plus

__all__ = ["an_environment", "finn_plus"]


@pytest.fixture
def built(graphops: Graphops, model: Path, images: Path, tmp_path: Path) -> Path:
    """A small network's build."""
    quantised = tmp_path / "quantised.onnx"
    graphops("quantize", model, "--weights", 2, "--acts", 2, "--data", images, "-o", quantised)
    build = tmp_path / "build"
    assert graphops("export-hls", quantised, "-o", build, "--count", 2).code == 0
    return build


def test_without_finn_plus_it_says_how_to_get_it(graphops: Graphops, built: Path, tmp_path: Path) -> None:
    answer = graphops("finn", "check", built, "--env", tmp_path / "nowhere")
    assert answer.code == 2
    assert "graphops finn setup" in answer.err


def test_the_environment_may_be_named_once_for_all(
    graphops: Graphops, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHOPS_FINN", str(tmp_path / "elsewhere"))
    assert "elsewhere" in graphops("finn", "check", built).err


def test_setup_finds_what_is_there(graphops: Graphops, an_environment: Environment) -> None:
    answer = graphops("finn", "setup", "--at", an_environment.folder, "--json")
    assert answer.json == {
        "folder": str(an_environment.folder),
        "python": str(an_environment.python),
        "was_there": True,
    }


def test_setup_touches_nothing_else_s_folder(graphops: Graphops, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    answer = graphops("finn", "setup", "--at", tmp_path)
    assert answer.code == 2
    assert "name another folder" in answer.err


def test_what_is_no_build_is_refused(graphops: Graphops, an_environment: Environment, tmp_path: Path) -> None:
    answer = graphops("finn", "check", tmp_path, "--env", an_environment.folder)
    assert answer.code == 2
    assert "no build" in answer.err


def test_finn_plus_agrees_with_a_network(
    graphops: Graphops, built: Path, finn_plus: Environment, tmp_path: Path
) -> None:
    """Ten layers' kinds in one: pads, windows, matrices, thresholds, forks, joins, a pool, a bias, a class."""
    report = tmp_path / "check.json"
    answer = graphops("finn", "check", built, "--env", finn_plus.folder, "--report", report)
    assert answer.code == 0, answer.out
    assert "All as it must be" in answer.out
    found = json.loads(report.read_text())
    assert found["images"]["count"] == 2
    assert all(row["equal"] == 2 and row["files"] for row in found["nodes"])
