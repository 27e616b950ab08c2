"""The blocks of Table II differ in their skip alone; its results are those that it prints."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

from examples.table2.blocks import block
from examples.table2.measure import Measured
from examples.table2.table import KINDS, costs, main, table
from hls_backend.build import REPORT
from hls_backend.comparison import Compared
from hls_backend.layers import MVAU, Thresholding
from hls_backend.simulate import Simulation
from hls_backend.synthesize import Cells, LayerCells
from passes import UserError
from tests.hls_backend.checks import same_as_qonnx


@pytest.mark.parametrize(("weights", "acts"), [(1, 2), (2, 2)])
def test_both_blocks_have_the_same_weights(weights: int, acts: int) -> None:
    images = np.random.default_rng(0).uniform(0, 2, (1, 16, 32, 32)).astype(np.float32)
    found = [same_as_qonnx(block(skip, weights, acts), images, 20).dataflow for skip in (True, False)]
    first, second = ([n.weights for n in dataflow.layers if isinstance(n, MVAU)] for dataflow in found)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == (16, 144)
    steps = [[n.steps for n in dataflow.layers if isinstance(n, Thresholding)] for dataflow in found]
    assert steps == [[3, 15, 3], [3, 3]]


def test_the_rate_in_the_results_is_the_simulated_one() -> None:
    compared = Compared("block-680", 1017.25, Cells(), {}, 0)
    simulation = Simulation(4, 4096, 0, "", 1000, 98_357, 400_000, (), ())
    measured = Measured("block", 680, compared, (), simulation, 98_304, None)
    assert measured.as_json()["fps"] == round(measured.fps, 3) == 1016.704


def design(name: str, fps: float, cells: Cells, bits: int, layers: tuple[LayerCells, ...] = ()) -> Measured:
    simulation = Simulation(4, 4096, 0, "", 1000, 110, 400_000, (), ())
    compared = Compared(f"{name}-{fps:g}", fps, cells, {}, bits)
    return Measured(name, fps, compared, layers, simulation, 100, None)


def cells_of(found: Table) -> dict[str, list[str]]:
    """The rows of a table by their first cell."""
    rows = zip(*(column.cells for column in found.columns), strict=True)
    return {str(name): list(map(str, row)) for name, *row in rows}


def test_changes_are_against_the_first_of_a_folding_and_costs_above_the_last() -> None:
    kinds = (LayerCells("fork", "DuplicateStreams", Cells(luts=30)), LayerCells("top", "Top", Cells(luts=5, ffs=7)))
    designs = [
        design("skips", 10, Cells(200, 50, 80, 1, 1), 640, kinds),
        design("short", 10, Cells(150, 50, 90, 2), 320),
        design("none", 10, Cells(100, 0, 60, 2), 0),
        design("skips", 20, Cells(400), 0),
    ]
    rows = cells_of(table(designs))
    assert rows["skips-10"][:7] == ["909.091", "10.00%", "200", "50", "80", "3", "640"]
    assert rows["skips-10"][7:10] == ["0.11%", "0.02%", "0.48%"], "of 230,400 LUT, 460,800 FF, 624 BRAM18"
    assert rows["short-10: change"][2:7] == ["-20.0%", "+0.0%", "+12.5%", "-33.3%", "-50.0%"]
    assert rows["none-10: change"][2:7] == ["-60.0%", "-100.0%", "-25.0%", "-33.3%", "-100.0%"]
    assert "skips-20: change" not in rows
    assert cells_of(costs(designs)) == dict.fromkeys(KINDS, ["+0 / +0 / +0"] * 2) | {
        "fork": ["+30 / +0 / +0", "+0 / +0 / +0"],
        "other": ["+5 / +7 / +0", "+0 / +0 / +0"],
        "in all": ["+150 / +20 / +1", "+100 / +30 / +0"],
    }


def test_builds_of_other_bits_or_images_are_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["table", "--out", str(tmp_path), "--foldings", "10", *options])
        main()

    monkeypatch.setattr("examples.table2.table.measure", lambda name, model, fps, *_: design(name, fps, Cells(9), 0))
    run("--data", "digit")
    run()  # for nothing was built
    (tmp_path / "skips-10").mkdir()
    (tmp_path / "skips-10" / REPORT).write_text("{}")
    run("--place", "ecp5", "--foldings", "10,20")
    before = (tmp_path / "results.json").read_bytes()
    for option, value in (("--weight-bits", "2"), ("--frames", "5"), ("--data", "digits"), ("--networks", "4")):
        name = option[2:].replace("-", "_")
        with pytest.raises(UserError, match=rf"results\.json is of {name}=.*, not .*; give another --out"):
            run(option, value)
    assert (tmp_path / "results.json").read_bytes() == before
