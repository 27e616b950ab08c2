"""`graphops export-rtl`, `simulate`, `synth` and `compare`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from hls_backend import lower, rtl, synthesize, vectors
from hls_backend.build import create, load, refill
from hls_backend.design import Design, Measured
from hls_backend.parts import part
from tests.graphops.cli.conftest import Graphops
from tests.hls_backend.graphs import Net
from tests.hls_backend.rtl.test_modules import needs_verilator
from tests.hls_backend.rtl.test_synthesize import needs_yosys


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network of the digits' size: a convolution, one with a skip over it, ten classes."""
    net = Net((1, 8, 8))
    x = net.quant(net.conv(net.quant("x", 0.25, 2), 1, 2, (2, 2), bits=2, strides=[2, 2]), 0.5, 2)
    y = net.quant(net.conv(x, 2, 2, bits=2, pads=[1] * 4), 0.5, 4, signed=True)
    y = net.quant(net.node("Relu", net.node("Add", y, x)), 0.5, 2)
    y = net.node("Flatten", net.node("GlobalAveragePool", y))
    graph = net.model(net.dense(y, 2, 10, bits=4))
    output = graph.graph.output[0]
    output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["N", 10]))
    dataflow = lower(graph).dataflow
    design = Design(dataflow, part("xc7z020"), 100.0, None, "finn-plus", vectors.random(dataflow, 3))
    folder = tmp_path_factory.mktemp("builds") / "build"
    create(folder, design, graph, {"rtl": rtl.emit})
    return folder


def test_rtl_is_there_and_written_anew_by_force_alone(graphops: Graphops, build: Path) -> None:
    (build / "rtl" / "top.sv").unlink()
    refused = graphops("export-rtl", build)
    assert (refused.code, "--force" in refused.err) == (2, True)
    answer = graphops("export-rtl", build, "--force", "--json")
    assert answer.code == 0, answer.err
    assert {"top.sv", "testbench.sv", "sliding_window.sv"} <= set(answer.json["files"])
    assert (build / "rtl" / "top.sv").is_file()


@needs_verilator
def test_measured_fifos_stay_with_the_build(graphops: Graphops, build: Path) -> None:
    """And what was compiled to measure them simulates it."""
    answer = graphops("export-rtl", build, "--force", "--fifo", "measured", "--json")
    assert answer.code == 0, answer.err
    found = answer.json["fifos"]
    (before,), (after,) = found["computed"].values(), found["depths"].values()
    assert 2 < after < before
    assert f".DEPTH({after})" in (build / "rtl" / "top.sv").read_text()
    design = load(build)
    assert design.measured is not None
    assert set(design.depths("rtl").values()) == {after}
    compiled = (build / "simulation" / "key").read_bytes()
    simulated = graphops("simulate", build, "--json").json
    assert [fifo["depth"] for fifo in simulated["fifos"]] == [after]
    assert simulated["interval"] == found["interval"]
    assert (build / "simulation" / "key").read_bytes() == compiled


def test_fifo_depths_are_computed_or_measured(graphops: Graphops, build: Path) -> None:
    answer = graphops("export-rtl", build, "--force", "--fifo", "guessed")
    assert (answer.code, "--fifo takes computed or measured" in answer.err) == (2, True)


@pytest.mark.parametrize("verb", [("export-rtl", "--force", "--fifo", "measured"), ("simulate",)])
def test_without_tools_it_says_what_to_install(
    verb: tuple[str, ...], graphops: Graphops, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    before = (build / "rtl" / "top.sv").stat()
    answer = graphops(*verb, build)
    assert (answer.code, "needs perl and make and g++" in answer.err) == (2, True)
    assert (build / "rtl" / "top.sv").stat() == before


@needs_verilator
def test_a_simulation_compares_every_word(graphops: Graphops, build: Path) -> None:
    answer = graphops("simulate", build, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert (found["frames"], found["errors"]) == (3, 0)
    assert found["interval"] <= 1.01 * found["slowest_layer_cycles"]
    assert found["fps"] == pytest.approx(100e6 / found["interval"])
    other = graphops("simulate", build, "--data", "digits", "--count", 2)
    assert other.code == 0, other.err
    assert "2 frames, " in other.out
    assert "Classes equal to the quantised model's: 2 of 2; right: " in other.out
    assert "as the integer dataflow computes them. Data: the first 2 test images of digits." in other.out


def test_depths_are_computed_again_without_the_option(graphops: Graphops, build: Path) -> None:
    computed = load(build).depths("rtl")
    measured = Measured(dict.fromkeys(computed, 3), computed, 1000.0, 4, 1)
    refill(build, replace(load(build), measured=measured), "rtl", rtl.emit, force=True)
    assert load(build).measured == measured
    assert graphops("export-rtl", build, "--force").code == 0
    design = load(build)
    assert design.measured is None
    (depth,) = design.depths("rtl").values()
    assert f".DEPTH({depth})" in (build / "rtl" / "top.sv").read_text()


def test_a_folder_without_a_build_is_refused(graphops: Graphops, tmp_path: Path) -> None:
    for verb in ("export-rtl", "simulate", "synth"):
        answer = graphops(verb, tmp_path)
        assert (answer.code, "export-hls" in answer.err) == (2, True)


def test_a_comparison_takes_two_builds(graphops: Graphops, build: Path) -> None:
    answer = graphops("compare", build)
    assert (answer.code, "two builds" in answer.err) == (2, True)
    refused = graphops("synth", build, "--place", "ice40")
    assert (refused.code, "--place takes ecp5" in refused.err) == (2, True)


def test_a_tool_that_is_missing_is_missed_before_the_synthesis(
    graphops: Graphops, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesize, "find_spec", lambda package: None if "nextpnr" in package else True)
    monkeypatch.delattr(synthesize, "_synthesize")
    refused = graphops("synth", build, "--place", "ecp5")
    assert (refused.code, "Synthesis needs nextpnr-ecp5; " in refused.err) == (2, True)


def test_counts_are_for_the_part_and_builds_have_names_that_differ(
    graphops: Graphops, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is synthesised here: each layer is a LUT."""
    monkeypatch.setattr(synthesize, "_require", lambda package: None)
    monkeypatch.setattr(
        synthesize,
        "_synthesize",
        lambda batch, family, work: [(work / f"{key}.json").write_text('{"luts": 1}') for key in batch],
    )
    large, here = tmp_path / "large" / "build", tmp_path / "here"
    for folder, device in ((large, "xczu7ev"), (here / "build", "xc7z020"), (here / "other", "xc7z020")):
        shutil.copytree(build, folder, ignore=shutil.ignore_patterns("synthesis"))
        fields = json.loads((folder / "build.json").read_text())
        (folder / "build.json").write_text(json.dumps(fields | {"part": device, "device": device}))
    monkeypatch.chdir(here / "build")
    assert graphops("synth", large, "--json").json["family"] == "xcup"
    assert "Counted by Yosys for xc7, " in graphops("synth", ".").out
    found = graphops("compare", ".", "../other", "--json").json
    assert (found["family"], [one["name"] for one in found["builds"]]) == ("xc7", ["build", "other"])
    refused = graphops("compare", ".", large)
    assert (refused.code, "here/build is for xc7z020, large/build is for xczu7ev" in refused.err) == (2, True)
    found = graphops("compare", ".", large, "--family", "xcup", "--json").json
    assert (found["family"], [one["name"] for one in found["builds"]]) == ("xcup", ["here/build", "large/build"])


@needs_yosys
def test_synthesis_says_what_each_layer_takes(graphops: Graphops, build: Path, tmp_path: Path) -> None:
    found = graphops("synth", build, "--json").json
    assert found["total"]["luts"] == sum(layer["luts"] for layer in found["layers"]) > 0
    assert found["capacity"]["luts"] == 53_200
    shown = graphops("synth", build)
    assert "of xc7z020" in shown.out
    assert "Vivado counts otherwise" in shown.out

    picture = tmp_path / "plot.png"
    answer = graphops("compare", build, build, "--plot", picture)
    assert answer.code == 0, answer.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "+0.0%" in answer.out
