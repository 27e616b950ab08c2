"""Reports: the table on narrow and wide terminals, Markdown, the plot."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from graphops.report.plot import plot
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


def test_figures_as_people_read_them() -> None:
    assert (number(1234567), number(None)) == ("1,234,567", "?")
    assert (percent(0.9173), percent(None)) == ("91.73 %", "-")
    assert shape_text((None, "C", 32)) == "?xCx32"
    assert shape_text(None) == "?"
    assert (duration(3.14), duration(3725), duration(None)) == ("3.1", "3,725.0", "-")
