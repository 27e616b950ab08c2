"""A build folder is all there or not there, and gives the same design again."""

from __future__ import annotations

import contextlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from hls_backend import Folding, build, lower, vectors
from hls_backend.design import Design, Measured
from hls_backend.execute import run
from hls_backend.layers import MVAU
from hls_backend.pace import pace
from hls_backend.parts import part
from hls_backend.report import report
from passes.errors import UserError
from tests.hls_backend.graphs import Net


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    net = Net((2, 5, 5))
    x = net.quant("x", 0.25, 2)
    y = net.quant(net.conv(x, 2, 2, pads=[1] * 4), 0.25, 4, signed=True)
    return net.model(net.quant(net.node("Relu", net.node("Add", y, x)), 0.5, 2))


@pytest.fixture(scope="module")
def design(model: onnx.ModelProto) -> Design:
    dataflow = lower(model).dataflow
    (unit,) = (n for n in dataflow.layers if isinstance(n, MVAU))
    folded = dataflow.fold({unit.name: Folding(pe=2, simd=3)})
    return Design(folded, part("xc7z020"), 125, 1000, "finn-main", vectors.random(folded, 3))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def emit_note(design: Design, folder: Path) -> None:
    assert not any(folder.iterdir())
    (folder / "note").write_text(design.dataflow.name)


def test_what_was_created_is_loaded(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build.create(folder, design, model, {"notes": emit_note})
    again = build.load(str(folder))
    assert [(n.name, n.folding) for n in again.dataflow.layers] == [(n.name, n.folding) for n in design.dataflow.layers]
    for field in ("part", "clock_mhz", "target_fps", "flavour"):
        assert getattr(again, field) == getattr(design, field)
    np.testing.assert_array_equal(again.vectors.inputs, design.vectors.inputs)
    np.testing.assert_array_equal(again.vectors.outputs, design.vectors.outputs)
    assert again.vectors.origin == "3 random images of integers from 0 to 3, seed 0"
    assert onnx.load(folder / build.MODEL) == model
    assert (folder / "notes" / "note").read_text() == "network"
    assert json.loads((folder / build.REPORT).read_text())["cycles"] == report(design).cycles
    assert [p.name for p in tmp_path.iterdir()] == ["build"]


@pytest.mark.parametrize(("inputs", "weights"), [(32, 2), (16, 16)])
def test_test_data_keep_integers_of_more_than_32_bits(inputs: int, weights: int) -> None:
    net = Net((256,))
    dataflow = lower(net.model(net.dense(net.quant("x", 1e-4, inputs), 256, 4, weights)), classify=False).dataflow
    made = vectors.random(dataflow, 3)
    (result,) = run(dataflow, made.inputs).values()
    np.testing.assert_array_equal(made.outputs, result)
    assert made.inputs.min() >= 0
    assert abs(made.outputs).max() > 2**31


@pytest.mark.parametrize(
    ("zero", "signed", "narrow", "low", "high"), [(114, False, False, -114, 141), (0, True, True, -127, 127)]
)
def test_random_test_data_are_integers_that_the_host_sends(
    zero: int, signed: bool, narrow: bool, low: int, high: int
) -> None:
    """Accumulators are no wider than those need, whatever else the input's type holds."""
    net = Net((1, 16, 16))
    x = net.quant("x", 0.02, 8, signed, narrow, zero)
    drawn = vectors.random(lower(net.model(net.conv(x, 1, 2, (1, 1), bits=4))).dataflow, 20).inputs
    assert (drawn.min(), drawn.max()) == (low, high)


def test_an_existing_build_stays_without_force(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build.create(folder, design, model, {"rtl": emit_note})
    before = files(folder)
    with pytest.raises(UserError, match=r"holds a build already; .* --force"):
        build.create(folder, design, model, {})
    assert files(folder) == before
    build.create(folder, design, model, {}, force=True)
    assert files(folder).keys() == before.keys() - {"rtl/note"}
    assert [p.name for p in tmp_path.iterdir()] == ["build"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_export_leaves_everything_as_it_was(
    exists: bool, design: Design, model: onnx.ModelProto, tmp_path: Path
) -> None:
    folder = tmp_path / "build"
    if exists:
        build.create(folder, design, model, {})
    before = files(tmp_path)

    def fail(design: Design, folder: Path) -> None:
        (folder / "half").write_text("written")
        raise UserError("Layer 'x' cannot be emitted; use another.")

    with pytest.raises(UserError, match="cannot be emitted"):
        build.create(folder, design, model, {"notes": emit_note, "broken": fail}, force=True)
    assert files(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == (["build"] if exists else [])


def test_force_replaces_builds_and_nothing_else(
    design: Design, model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds files that are no build's"):
        build.create(tmp_path, design, model, {}, force=True)
    with pytest.raises(UserError, match="is no folder"):
        build.create(tmp_path / "thesis.tex", design, model, {}, force=True)
    with pytest.raises(UserError, match="there is no folder"):
        build.create(tmp_path / "a" / "b", design, model, {})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for here in (Path(), tmp_path / "here"):
        with pytest.raises(UserError, match="is the folder that you are in; name another one"):
            build.create(here, design, model, {})
    assert files(tmp_path) == {"thesis.tex": b"precious"}
    empty = tmp_path / "empty"
    empty.mkdir()
    build.create(empty, design, model, {})
    assert build.load(empty).clock_mhz == 125


def test_force_keeps_what_no_build_has(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "build"
    (project / "src").mkdir(parents=True)
    (project / "build.json").write_text('{"name": "js"}')
    build.create(other, design, model, {})
    (other / "thesis.tex").write_text("precious")
    before = files(tmp_path)
    for folder, named in ((project, "src"), (other, "thesis.tex")):
        with pytest.raises(UserError, match=rf"no build's, '{named}' for one"):
            build.create(folder, design, model, {}, force=True)
    (project / "src").rmdir()
    with pytest.raises(UserError, match=r"no build's, 'build.json' for one"):
        build.create(project, design, model, {}, force=True)
    assert files(tmp_path) == before
    (other / "thesis.tex").unlink()
    (other / "synthesis").mkdir()
    (other / ".fifos.json.0123abcd").write_text("half")
    (other / "build.json").write_text("{")
    build.create(other, design, model, {}, force=True)
    assert build.load(other).clock_mhz == 125


def test_a_stop_before_the_new_build_is_in_place_keeps_the_old_one(
    design: Design, model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.create(tmp_path / "build", design, model, {})
    before, rename = files(tmp_path), os.rename

    def stopped(source: Path, target: Path) -> None:
        if source.suffix == ".new":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        build.create(tmp_path / "build", design, model, {}, force=True)
    assert files(tmp_path) == before


def test_a_stop_leaves_no_rtl_of_depths_that_the_build_does_not_know(
    design: Design, model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "build"
    (name,) = design.depths("rtl")
    measured = replace(design, measured=Measured({name: 5}, design.depths("rtl"), 1234.5, 6, 17))
    build.create(folder, measured, model, {"rtl": emit_note})

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "_describe", stopped)
    with pytest.raises(KeyboardInterrupt):
        build.refill(folder, design, "rtl", emit_note, force=True)
    assert not (folder / "rtl").exists()
    assert build.load(folder).measured == measured.measured


def test_a_folder_without_a_build(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no build in .*; make one with `graphops export-hls`"):
        build.load(tmp_path)


@pytest.mark.parametrize("file", ["build.json", "vectors.npz", "dataflow/dataflow.json"])
def test_damaged_files(file: str, design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build.create(folder, design, model, {})
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"is damaged .*graphops export-hls --force"):
        build.load(folder)


def test_an_empty_file_is_no_host_s_part(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build.create(folder, design, model, {})
    (folder / "dataflow" / "host.onnx").write_bytes(b"")
    with pytest.raises(UserError, match="is damaged"):
        build.load(folder)


@pytest.mark.parametrize(
    "fields",
    [{"device": 7}, {"clock_mhz": 0}, {"clock_mhz": 1e308}, {"target_fps": [1]}, {"target_fps": math.nan}],
)
def test_damaged_values(fields: dict[str, object], design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build.create(folder, design, model, {})
    whole = json.loads((folder / "build.json").read_text())
    (folder / "build.json").write_text(json.dumps(whole | fields))
    with pytest.raises(UserError, match="is damaged"):
        build.load(folder)


def test_a_byte_that_changed_is_said_or_harmless(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build.create(folder, design, model, {})
    content = (folder / "vectors.npz").read_bytes()
    for place in range(0, len(content), 23):
        (folder / "vectors.npz").write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with contextlib.suppress(UserError):
            found = build.load(folder).vectors
            np.testing.assert_array_equal(found.inputs, design.vectors.inputs)
            np.testing.assert_array_equal(found.outputs, design.vectors.outputs)


def test_a_build_has_test_data(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    build.create(tmp_path / "build", design, model, {})
    none = {name: getattr(design.vectors, name)[:0] for name in ("inputs", "outputs")}
    np.savez(tmp_path / "build" / "vectors.npz", **none)
    with pytest.raises(UserError, match=r"is damaged .the test data are 0 inputs and 0 outputs"):
        build.load(tmp_path / "build")


def test_test_data_of_another_network(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    build.create(folder, design, model, {})
    np.savez(folder / "vectors.npz", inputs=np.zeros((1, 2, 2, 2), int), outputs=design.vectors.outputs)
    with pytest.raises(UserError, match=r"is damaged .the test data are int64"):
        build.load(folder)


def test_there_are_three_emitters() -> None:
    assert set(build.emitters()) == {"finn", "hls", "rtl"}
    assert all(callable(emit) for emit in build.emitters().values())


def test_the_report_adds_up(design: Design) -> None:
    found = report(design)
    assert found.luts == sum(n.luts for n in found.layers)
    assert found.bram18 == sum(n.bram18 for n in found.layers)
    slowest = max(design.dataflow.layers, key=lambda n: n.cycles)
    assert (found.bottleneck, found.cycles) == (slowest.name, slowest.cycles)
    assert found.fps == 125e6 / slowest.cycles
    assert found.hls_fps == 125e6 / pace(design.dataflow) <= found.finn_fps
    (unit,) = (n for n in found.layers if n.op == "MVAU")
    assert (unit.pe, unit.simd, unit.weight_bits) == (2, 3, 2 * 18 * 2)
    join = next(n for n in found.layers if n.op == "ElementwiseAdd")
    assert join.fifo_depth == max(found.fifo_depths["rtl"].values()) > 2


def test_measured_depths_are_kept_and_checked(design: Design, model: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    (name,) = design.depths("rtl")
    measured = Measured({name: 5}, design.depths("rtl"), 1234.5, 6, 17)
    build.create(folder, replace(design, measured=measured), model, {"rtl": emit_note})
    again = build.load(folder)
    assert again.measured == measured
    assert again.depths("rtl") == {name: 5}
    assert json.loads((folder / build.REPORT).read_text())["fifo_depths"]["rtl"] == {name: 5}

    with pytest.raises(UserError, match=r"rtl is there already; pass --force"):
        build.refill(folder, design, "rtl", emit_note)
    build.refill(folder, design, "rtl", emit_note, force=True)
    assert build.load(folder).measured is None
    assert json.loads((folder / build.REPORT).read_text())["fifo_depths"]["rtl"] == design.depths("rtl")

    for damaged in ('{"depths": [1]}', '{"depths": {"nowhere": 5}, "computed": {"nowhere": 5}}'):
        (folder / "fifos.json").write_text(damaged)
        with pytest.raises(UserError, match="is damaged"):
            build.load(folder)
