"""What a training measured, as a picture: loss, accuracy, gates and learning rate over the epochs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from graphops.files import write_bytes

PERIOD = 5.0
"""Seconds between two pictures of a run at work: drawing takes a good part of one."""

_POINTS = 2000  # of a curve by steps; more cannot be seen


class Curves:
    """The picture beside ``metrics.jsonl``, drawn anew now and then, and at the end.

    Args:
        folder: where the two lie; None where nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._drawn = folder, time.monotonic()

    def draw(self, at_end: bool = False) -> None:
        """Draw what stands in the file, unless that was done a moment ago and this is not the end."""
        if self._folder is None or (not at_end and time.monotonic() - self._drawn < PERIOD):
            return
        lines = [json.loads(line) for line in (self._folder / "metrics.jsonl").read_text().splitlines()]
        write_bytes(self._folder / "metrics.png", curves(lines))
        self._drawn = time.monotonic()


def curves(lines: Iterable[dict[str, Any]]) -> bytes:
    """A PNG of the lines of a ``metrics.jsonl``: those of a training by step and epoch, or of a run by epoch."""
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    points, ends = _on_one_axis(list(lines))
    has_gates = any(point.get("gates") for point in points)
    figure = Figure(figsize=(10, 10 if has_gates else 8), layout="constrained")
    axes = figure.subplots(4 if has_gates else 3, 1, sharex=True)
    epochs = [point for point in points if point.get("kind") != "step"]
    steps = [point for point in points if point.get("kind") == "step"]
    steps = steps[:: max(1, len(steps) // _POINTS)]
    _draw(axes[0], steps, "loss", "each step", alpha=0.4, lw=0.8)
    _draw(axes[0], epochs, "loss", "mean of an epoch", marker=".")
    axes[0].set_ylabel("training loss")
    _draw(axes[1], epochs, "accuracy", "training images", 100, marker=".")
    _draw(axes[1], epochs, "test_accuracy", "test images", 100, marker="o")
    axes[1].set_ylabel("accuracy, %")
    _draw(axes[2], steps or epochs, "lr", "learning rate")
    axes[2].set_ylabel("learning rate")
    if has_gates:
        gated = [point for point in steps or epochs if point.get("gates")]
        for number in range(max(len(point["gates"]) for point in gated)):
            alike = [{"x": p["x"], "gate": p["gates"][number]} for p in gated if number < len(p["gates"])]
            _draw(axes[3], alike, "gate", f"gate {number + 1}")
        axes[3].set_ylabel("gates")
    for axis in axes:
        for end in ends:
            axis.axvline(end, color="grey", lw=0.6, ls=":")
        if len(axis.get_lines()) > len(ends) + 1:
            axis.legend(fontsize=7, ncols=3)
    axes[-1].set_xlabel("epochs, one training after the other")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()


def _on_one_axis(lines: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[float]]:
    """The lines with their place ``x`` in epochs, trainings one after another, and where each but the last ends."""
    length = next((line["step"] / line["epoch"] for line in lines if line.get("epoch") and line.get("step")), 1.0)
    points: list[dict[str, Any]] = []
    ends: list[float] = []
    begin, folder = 0.0, None
    for line in lines:
        if "loss" not in line:
            continue  # the score of a step that trains nothing
        if points and line.get("folder") != folder:
            begin = points[-1]["x"]
            ends.append(begin)
        folder = line.get("folder")
        points.append({**line, "x": begin + (line["epoch"] if "epoch" in line else line["step"] / length)})
    return points, ends


def _draw(axis: Any, points: list[dict[str, Any]], name: str, label: str, factor: float = 1.0, **style: Any) -> None:
    known = [(point["x"], factor * point[name]) for point in points if point.get(name) is not None]
    if known:
        axis.plot(*zip(*known, strict=True), label=label, **style)
