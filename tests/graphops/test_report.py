"""Reports: the table on narrow and wide terminals, Markdown, the plot."""

from __future__ import annotations

import io
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from graphops.report.curves import _on_one_axis, curves
from graphops.report.hardware import sections
from graphops.report.plot import _curves, _steps, plot
from graphops.report.run import COLUMNS, markdown, table
from graphops.report.text import duration, number, percent, shape_text

RECORDS: list[dict[str, Any]] = [
    {
        "folder": f"{i:02}-a-step-with-a-long-name",
        "start": None if i == 0 else "00-a-step-with-a-long-name",
        "joins": 9,
        "parameters": 11_689_512,
        "macs": None if i == 0 else 1_814_073_344,
        "buffer_bits": 3_145_728,
        "accuracy": None if i == 0 else 0.9173,
        "seconds": 12345.6,
        "notes": ["a note"] if i == 1 else [],
        "history": [{"epoch": 1.0, "loss": 2.0, "test_accuracy": 0.5}, {"epoch": 1.5, "loss": 1.0}] if i == 2 else [],
    }
    for i in range(4)
]


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_and_no_figure_is_cut(width: int) -> None:
    screen = Console(width=width, file=io.StringIO(), record=True)
    screen.print(table(RECORDS, "A title"))
    text = screen.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for figure in ("11,689,512", "1,814,073,344", "3,145,728", "91.73 %", "12,345.6"):
        assert figure in text
    assert text.startswith("A title")


def test_markdown_holds_the_table_the_plot_and_the_notes() -> None:
    lines = markdown("A title", RECORDS).splitlines()
    assert lines[0] == "# A title"
    assert lines[2] == "| " + " | ".join(COLUMNS) + " |"
    assert lines[5].startswith("| 01-a-step-with-a-long-name | 9 | 11,689,512 | 1,814,073,344 |")
    assert "![accuracy step by step, and the trainings](report.png)" in lines
    assert lines[-1] == "- 01-a-step-with-a-long-name: a note"


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], []], ids=["all", "nothing measured", "nothing"])
def test_the_plot_is_a_picture(records: list[dict[str, Any]]) -> None:
    picture = Image.open(io.BytesIO(plot("A title", records)))
    assert picture.format == "PNG"
    assert picture.width > 1000


def test_trainings_and_branches_are_drawn_from_where_they_begin() -> None:
    history = [{"epoch": 1.0, "loss": 2.0, "test_accuracy": 0.5}, {"epoch": 2.0, "loss": 1.0}]
    axes = Figure().subplots(2, 1)
    _curves(axes[0], [{"folder": name, "history": history} for name in ("01-a", "02-b")])
    assert [list(line.get_xdata()) for line in axes[0].get_lines()] == [[1, 2], [3, 4]]
    starts = {"00-a": None, "01-b": "00-a", "02-c": "00-a"}
    _steps(axes[1], [{"folder": f, "start": s, "accuracy": 0.5, "joins": 1} for f, s in starts.items()])
    drawn = [tuple(line.get_xdata()) for line in axes[1].get_lines()]
    assert [line for line in drawn if len(line) == 2] == [(0, 1), (0, 2)]


def test_dollars_in_names_are_no_formulae() -> None:
    name = r"a$\x$"
    builds = [{"name": f"{name}{i}", "figures": {"LUT": 1}, "purposes": {"skips": CELLS}} for i in range(2)]
    compared = RECORDS[0] | {"kind": "compare", "figures": {"builds": builds}}
    assert plot(name, [compared]).startswith(b"\x89PNG")


CELLS = {"luts": 12_345, "lutrams": 678, "ffs": 23_456, "bram18": 1, "bram36": 140, "dsps": 0}
FPS = {"fps": 1_234_567.8, "clock_mhz": 100.0}
SAME = {"count": 1_000, "equal": 1_000, "correct": 912}
SIMULATED = {"frames": 1_000, "words": 123_456, "errors": 0, "classes": SAME, "latency": 1_234_567, "interval": 98_304}
HARDWARE: list[dict[str, Any]] = [
    {"kind": "export-hls", "figures": {"part": "xczu7ev", "cycles": 98_304, "luts": 12_345, "bram18": 234} | FPS},
    {"kind": "simulate", "figures": SIMULATED | FPS},
    {"kind": "synth", "figures": {"family": "xcup", "total": CELLS}},
    {
        "kind": "compare",
        "figures": {
            "builds": [
                {"name": name, "figures": {"LUT": lut, "FF": 0}, "purposes": {"skips": CELLS}}
                for name, lut in (("with", 200), ("without", 150))
            ]
        },
    },
]


@pytest.mark.parametrize("width", [80, 100])
def test_tables_of_hardware_fit_and_no_figure_is_cut(width: int) -> None:
    screen = Console(width=width, file=io.StringIO(), record=True)
    for section in sections([record | {"folder": "12-nonresnet-simulated"} for record in HARDWARE]):
        screen.print(section.table())
    text = screen.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    figures = ("123,456", "1,000", "1,234,567", "98,304", "1,234,568", "12,345", "23,456", "140")
    for figure in (*figures, "xczu7ev", "150 -25.0%", "13,023 / 23,456 / 281"):
        assert figure in text
    assert sections(RECORDS) == []


def test_figures_as_people_read_them() -> None:
    assert (number(1234567), number(None)) == ("1,234,567", "?")
    assert (percent(0.9173), percent(None)) == ("91.73 %", "-")
    assert shape_text((None, "C", 32)) == "?xCx32"
    assert shape_text(None) == "?"
    assert (duration(3.14), duration(3725), duration(None)) == ("3.1", "3,725.0", "-")


STEPS = [
    {"kind": "step", "step": k, "loss": 1 / k, "accuracy": 0.5, "lr": 0.1, "gates": [1 - k / 8]} for k in range(1, 9)
]
EPOCHS = [
    {"kind": "epoch", "epoch": e, "step": 4 * e, "loss": 1 / e, "accuracy": 0.5, "lr": 0.1, "test_accuracy": 0.6}
    for e in (1, 2)
]


@pytest.mark.parametrize(
    "lines",
    [
        STEPS[:2],
        [*STEPS[:4], EPOCHS[0], *STEPS[4:], EPOCHS[1]],
        [{"folder": "01-a", **EPOCHS[0]}, {"folder": "01-a", "test_accuracy": 0.7}, {"folder": "02-b", **EPOCHS[0]}],
        [],
    ],
    ids=["before the first epoch's end", "a training", "a run", "nothing"],
)
def test_the_curves_are_a_picture(lines: list[dict[str, Any]]) -> None:
    picture = Image.open(io.BytesIO(curves(lines)))
    assert picture.format == "PNG"
    assert (picture.height >= 1000) == any("gates" in line for line in lines), "gates have an axis of their own"


def test_trainings_lie_one_after_another() -> None:
    run = [{"folder": f, **e} for f in ("01-a", "03-b") for e in EPOCHS]
    points, ends = _on_one_axis([*run[:2], {"folder": "02-c", "test_accuracy": 0.5}, *run[2:]])
    assert [point["x"] for point in points] == [1, 2, 3, 4]
    assert ends == [2]
    steps, _ = _on_one_axis([*STEPS, *EPOCHS])
    assert [point["x"] for point in steps[:4]] == [0.25, 0.5, 0.75, 1.0]
