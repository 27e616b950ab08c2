"""`graphops demo`: both halves where the tools for hardware are there, else the first and what to install."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from graphops import recipe as recipes
from hls_backend import verilator
from passes.errors import UserError
from tests.graphops.cli.conftest import Graphops

FLOAT = "title: The first half\nsteps:\n- build: {model: resnet8, width: 2, image: [1, 8, 8]}\n- remove-skips: {}\n"
HARDWARE = """
title: The second half
data: digits
limit: 10
steps:
- build: {model: nonresnet8, width: 2, image: [1, 8, 8]}
- quantize: {weights: 2, acts: 2}
- export-hls: {emitters: [rtl], count: 1}
"""


@pytest.fixture(autouse=True)
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes that train nothing, in place of the demo's own."""
    for name, text in (("digits", FLOAT), ("digits-to-rtl", HARDWARE)):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(recipes, "find", lambda name: tmp_path / f"{name}.yaml")
    monkeypatch.chdir(tmp_path)


def test_with_its_tools_the_demo_ends_in_hardware(graphops: Graphops) -> None:
    answer = graphops("demo")
    assert answer.code == 0, answer.err
    assert "The first half" in answer.out
    assert "The second half" in answer.out
    assert "Builds: cycles of the slowest layer" in answer.out
    assert Path("runs/digits-to-rtl/03-export-hls/build/rtl/top.sv").is_file()
    found = graphops("demo", "--json").json
    assert [step["kind"] for step in found["hardware"]["steps"]] == ["build", "quantize", "export-hls"]
    assert found["missing"] is None


def test_without_them_it_ends_well_and_says_what_to_install(
    graphops: Graphops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits-to-rtl.yaml").write_text(HARDWARE + "- simulate: {}\n")
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(UserError) as caught:
        verilator.command()
    answer = graphops("demo", "--out", "mine")
    assert answer.code == 0, answer.err
    assert f"{caught.value} Then `graphops demo` goes on to RTL." in answer.out
    assert Path("mine/02-remove-skips/model.onnx").is_file()
    assert not Path("mine-to-rtl").exists()
    assert graphops("demo", "--out", "mine", "--json").json["hardware"] is None
