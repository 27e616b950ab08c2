"""What hardware takes and how fast it is, as tables and bars; from the figures that verbs print and reports keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from graphops.report.text import number, plain

CELLS = {"luts": "LUT", "lutrams": "LUTRAM", "ffs": "FF", "bram18": "BRAM18", "bram36": "BRAM36", "dsps": "DSP"}
"""What synthesis counts, and its heading."""


@dataclass(frozen=True)
class Section:
    """A table of text: the first column is of names, the others are of figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def table(self) -> Table:
        """For a terminal."""
        found = Table(box=None, header_style="bold", pad_edge=False, title=self.title or None, title_justify="left")
        found.add_column(self.columns[0], overflow="fold")
        for column in self.columns[1:]:
            heading = "\n".join(column.rsplit(" ", 1)) if self.title else column
            found.add_column(heading, justify="right", overflow="fold")
        for row in self.rows:
            found.add_row(*row)
        return found

    def markdown(self) -> list[str]:
        """As lines."""
        head = ["| " + " | ".join(self.columns) + " |", "| --- |" + " ---: |" * (len(self.columns) - 1)]
        title = [f"## {self.title}", ""] if self.title else []
        return [*title, *head, *("| " + " | ".join(row) + " |" for row in self.rows), ""]


def sections(records: Iterable[Mapping[str, Any]]) -> list[Section]:
    """The tables of a run's hardware steps; none where it has no such step."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_kind.setdefault(record.get("kind", ""), []).append(record)
    found = []
    for kind, (title, columns, row) in _KINDS.items():
        if by_kind.get(kind):
            rows = tuple((record["folder"], *row(record["figures"])) for record in by_kind[kind])
            found.append(Section(title, ("step", *columns), rows))
    for record in by_kind.get("compare", ()):
        found += [comparison(record["figures"], record["folder"]), purposes(record["figures"])]
    return found


def _build(figures: Mapping[str, Any]) -> tuple[str, ...]:
    rate, clock = f"{figures['fps']:,.0f}", f"{figures['clock_mhz']:g}"
    return (figures["part"], clock, number(figures["cycles"]), rate, number(figures["luts"]), number(figures["bram18"]))


def _simulation(figures: Mapping[str, Any]) -> tuple[str, ...]:
    rate = "-" if figures["fps"] is None else f"{figures['fps']:,.0f}"
    interval = "-" if figures["interval"] is None else number(figures["interval"])
    same = figures.get("classes")
    equal = "-" if same is None else number(same["equal"])
    words = number(figures["words"] - figures["errors"])
    return (number(figures["frames"]), words, equal, number(figures["latency"]), interval, rate)


def _synthesis(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (figures["family"], *(number(figures["total"][cell]) for cell in CELLS))


_KINDS = {
    "export-hls": (
        "Builds: cycles of the slowest layer, cells as estimated",
        ("part", "MHz", "cycles a frame", "images/s", "LUT", "BRAM18"),
        _build,
    ),
    "simulate": (
        "RTL in Verilator beside the integer dataflow and the quantised model",
        ("frames", "words equal", "classes equal", "latency", "cycles a frame", "images/s"),
        _simulation,
    ),
    "synth": ("Counted by Yosys, not by Vivado", ("family", *CELLS.values()), _synthesis),
}


def comparison(payload: Mapping[str, Any], title: str = "") -> Section:
    """Builds beside each other, in figures and in per cent of the first."""
    builds = payload["builds"]
    first = builds[0]["figures"]
    rows = []
    for figure, base in first.items():
        cells = []
        for place, build in enumerate(builds):
            value = build["figures"].get(figure, 0)
            change = f" {value / base - 1:+.1%}" if place and base else ""
            cells.append(f"{value:,.10g}{change}" if value == int(value) else f"{value:,.1f}{change}")
        rows.append((figure, *cells))
    return Section(title, ("", *(plain(build["name"]) for build in builds)), tuple(rows))


def purposes(payload: Mapping[str, Any]) -> Section:
    """LUTs (those for memory included), flip-flops and block RAMs, by what they are for."""
    builds = payload["builds"]
    rows = tuple((what, *(_three(build["purposes"][what]) for build in builds)) for what in builds[0]["purposes"])
    return Section("", ("LUT / FF / BRAM18 for", *(plain(build["name"]) for build in builds)), rows)


def _three(cells: Mapping[str, int]) -> str:
    return f"{cells['luts'] + cells['lutrams']:,} / {cells['ffs']:,} / {cells['bram18'] + 2 * cells['bram36']:,}"


def bars(axis: Any, payload: Mapping[str, Any]) -> None:
    """A group of bars a figure, each in per cent of the first build."""
    builds = payload["builds"]
    first = builds[0]["figures"]
    shown = [name for name, value in first.items() if value and name != "LUTRAM"]
    width = 0.8 / len(builds)
    for place, build in enumerate(builds):
        heights = [100 * build["figures"][name] / first[name] for name in shown]
        axis.bar([i + place * width for i in range(len(shown))], heights, width, label=build["name"])
    axis.set_xticks([i + 0.4 - width / 2 for i in range(len(shown))], shown, rotation=15)
    axis.set_ylabel(f"per cent of {builds[0]['name']}", parse_math=False)
    for text in axis.legend(fontsize=8).get_texts():
        text.set_parse_math(False)  # dollars in names are no formulae
