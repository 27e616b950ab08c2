"""The curves of a run."""

from __future__ import annotations

import io
from typing import Any

from graphops.report.hardware import bars


def plot(title: str | None, records: list[dict[str, Any]]) -> bytes:
    """A PNG: the accuracy after each step, loss and accuracy through each training, builds beside each other."""
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    trainings = [record for record in records if record["history"]]
    comparisons = [record["figures"] for record in records if record.get("kind") == "compare"]
    count = 1 + bool(trainings) + len(comparisons)
    figure = Figure(figsize=(10, 0.9 + 3.3 * count), layout="constrained")
    axes = figure.subplots(count, 1, squeeze=False)[:, 0]
    _steps(axes[0], records)
    if trainings:
        _curves(axes[1], trainings)
    for axis, compared in zip(axes[count - len(comparisons) :], comparisons, strict=True):
        bars(axis, compared)
    if title:
        figure.suptitle(title, parse_math=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def _steps(axis: Any, records: list[dict[str, Any]]) -> None:
    """Accuracy and joins left, step by step."""
    at = range(len(records))
    scored = {
        record["folder"]: (i, 100 * record["accuracy"])
        for i, record in enumerate(records)
        if record["accuracy"] is not None
    }
    for record in records:
        if record["folder"] not in scored:
            continue
        place = scored[record["folder"]]
        if record["start"] in scored:  # a line from the step it began with, so that branches are seen
            axis.plot(*zip(scored[record["start"]], place, strict=True), "-", color="tab:blue", lw=1)
        axis.plot(*place, "o", color="tab:blue")
        axis.annotate(f"{place[1]:.1f}", place, (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axis.set_ylabel("test accuracy, %", color="tab:blue")
    axis.margins(y=0.15)
    axis.set_xticks(at, [record["folder"] for record in records], rotation=30, ha="right", fontsize=8)
    joins = axis.twinx()
    joins.bar(at, [record["joins"] for record in records], color="tab:orange", alpha=0.3, width=0.5)
    joins.set_ylabel("joins left", color="tab:orange")
    axis.set_zorder(joins.get_zorder() + 1)
    axis.patch.set_visible(False)


def _curves(axis: Any, trainings: list[dict[str, Any]]) -> None:
    """Loss and test accuracy of one training after the other."""
    accuracy = axis.twinx()
    begin = 0.0
    for record in trainings:
        epochs = [begin + line["epoch"] for line in record["history"]]
        (line,) = axis.plot(epochs, [entry["loss"] for entry in record["history"]], label=record["folder"])
        tested = [
            (begin + entry["epoch"], 100 * entry["test_accuracy"])
            for entry in record["history"]
            if entry.get("test_accuracy") is not None
        ]
        if tested:
            accuracy.plot(*zip(*tested, strict=True), ":", marker=".", color=line.get_color())
        begin = max(epochs, default=begin)
    axis.set_xlabel("epochs, one training after the other")
    axis.set_ylabel("training loss (line)")
    accuracy.set_ylabel("test accuracy, % (dots)")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.07, 1))
