"""The report of a run: its table as JSON and Markdown, and its curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from graphops.files import write_bytes, write_json
from graphops.report.hardware import sections
from graphops.report.text import duration, number, percent

COLUMNS = ("step", "joins left", "parameters", "MACs", "skip buffer bits", "test accuracy", "seconds")


def rows(records: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row of text a step, under `COLUMNS`."""
    return [
        (
            record["folder"],
            number(record["joins"]),
            number(record["parameters"]),
            number(record["macs"]),
            number(record["buffer_bits"]),
            percent(record["accuracy"]),
            duration(record["seconds"]),
        )
        for record in records
    ]


def table(records: list[dict[str, Any]], title: str | None = None) -> Table:
    """The steps as a table for a terminal of at least 80 columns."""
    found = Table(title=title, box=None, header_style="bold", pad_edge=False, title_justify="left")
    # On a narrow terminal long names of steps wrap, but never a figure.
    found.add_column(COLUMNS[0], overflow="fold")
    for column in COLUMNS[1:]:
        found.add_column("\n".join(column.rsplit(" ", 1)), justify="right", no_wrap=True)
    for row in rows(records):
        found.add_row(*row)
    return found


def write_report(folder: Path, title: str | None, records: list[dict[str, Any]]) -> None:
    """``report.json``, ``report.md`` and ``report.png`` in ``folder``."""
    from graphops.report.plot import plot

    write_json(folder / "report.json", {"title": title, "steps": records})
    write_bytes(folder / "report.md", markdown(title, records).encode())
    write_bytes(folder / "report.png", plot(title, records))


def markdown(title: str | None, records: list[dict[str, Any]]) -> str:
    """The table as Markdown, the plot, what there is of hardware and the notes."""
    lines = [f"# {title or 'Run'}", "", "| " + " | ".join(COLUMNS) + " |"]
    lines.append("| --- |" + " ---: |" * (len(COLUMNS) - 1))
    lines += ["| " + " | ".join(row) + " |" for row in rows(records)]
    lines += ["", "![accuracy step by step, and the trainings](report.png)", ""]
    for section in sections(records):
        lines += section.markdown()
    lines += [f"- {record['folder']}: {note}" for record in records for note in record["notes"]]
    return "\n".join(lines).rstrip() + "\n"
