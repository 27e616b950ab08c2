"""`graphops execute`: a build's integer dataflow, run in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from graphops.bench import Bench
from graphops.cli.common import DataDir, Force, Json, Normalisation, Report, ScreenWatch, check_data, check_report, emit
from graphops.hardware import classes as classes_of
from graphops.modelfile import load_model
from graphops.report.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from hls_backend.dataflow import Dataflow

BuildFolder = Annotated[
    Path, typer.Argument(metavar="BUILD", help="A folder that export-hls made.", show_default=False)
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="Images to run; default: the build's own test data.")
]
Count = Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many images.")]

_BATCH = 20


def execute(
    build: BuildFolder,
    data: Data = None,
    count: Count = None,
    data_dir: DataDir = None,
    normalisation: Normalisation = None,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Run a build's integer dataflow in numpy and print the accuracy."""
    from hls_backend.build import MODEL, load

    check_report(report, force)
    check_data(data, data_dir, normalisation)
    design = load(build)
    payload: dict[str, Any] = {"build": str(build), "data": data}
    with ScreenWatch("executing") as watch:
        if data is None:
            inputs, expected = design.vectors.inputs[:count], design.vectors.outputs[:count]
            found = _run(design.dataflow, inputs, watch.progress)
            equal = int((found == expected).reshape(len(found), -1).all(axis=1).sum())
            payload |= {"count": len(found), "equal": equal}
            sentence = f"{equal:,} of {len(found):,} outputs as stored ({design.vectors.origin})."
        else:
            from graphops.data.feed import Feed
            from hls_backend.host import prepare

            dataset = Bench(data_dir=data_dir).data(data)
            feed = Feed(load_model(build / MODEL), dataset, normalisation)
            chosen = dataset.test.first(count)
            found = _run(design.dataflow, chosen.images, watch.progress, lambda x: prepare(design.dataflow, feed(x)))
            classes = classes_of(design.dataflow, found)
            correct = None if classes is None else int((classes == chosen.labels).sum())
            accuracy = None if correct is None else correct / len(found)
            payload |= {"data": dataset.name, "count": len(found), "correct": correct, "accuracy": accuracy}
            sentence = (
                f"{len(found):,} test images of {dataset.name} run; the network's output is no class."
                if correct is None
                else f"{percent(accuracy)}: {correct:,} of {len(found):,} test images of {dataset.name} right."
            )
    emit(payload, lambda screen: screen.print(sentence, soft_wrap=True), json, report)
    if payload.get("equal", payload["count"]) < payload["count"]:
        raise typer.Exit(1)


def _run(
    dataflow: Dataflow,
    images: np.ndarray,
    progress: Callable[[float, float, str], None],
    prepare: Callable[[np.ndarray], np.ndarray] = lambda x: x,
) -> np.ndarray:
    """The integers of the output stream [N, rows, columns, channels], a batch at a time."""
    from hls_backend.execute import run

    (last,) = dataflow.outputs
    parts = []
    for start in range(0, len(images), _BATCH):
        progress(start, len(images), f"{start} of {len(images)}")
        parts.append(run(dataflow, prepare(images[start : start + _BATCH]))[last.name].reshape(-1, *last.shape))
    return np.concatenate(parts)
