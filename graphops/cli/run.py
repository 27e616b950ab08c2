"""`graphops run`: a recipe from beginning to end, or on from where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from graphops.cli.common import DataDir, Force, Json, Report, ScreenWatch, check_report, emit, print_notes
from graphops.report.hardware import sections
from graphops.report.run import table
from graphops.report.text import duration, percent

if TYPE_CHECKING:
    from graphops.pipeline import Pipeline, Run

Recipe = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped one.", show_default=False)
]
Model = Annotated[
    Path | None, typer.Option("--model", metavar="MODEL.onnx", help="The model to start from, if not the recipe's.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="The run folder; default: runs/RECIPE.")
]


def run(
    recipe: Recipe,
    model: Model = None,
    out: Out = None,
    data_dir: DataDir = None,
    json: Json = False,
    report: Report = None,
    force: Force = False,
) -> None:
    """Run a recipe; a run that was stopped goes on where it was."""
    from graphops import recipe as recipes

    path = recipes.find(recipe)
    pipeline = recipes.read(path)
    check_report(report, force, models=[file for file in (model, pipeline.model) if file])
    pipeline.data_dir = data_dir or pipeline.data_dir
    done = follow(pipeline, out or Path("runs") / path.stem, model, force)
    emit(payload_of(done, pipeline), lambda screen: show_run(screen, done, pipeline), json, report)


def follow(pipeline: Pipeline, out: Path, model: Path | None = None, force: bool = False) -> Run:
    """Run a pipeline, with a bar and a line a step."""
    with RunWatch() as watch:
        try:
            return pipeline.run(model, out, force, watch)
        except KeyboardInterrupt:
            watch.say("Stopped; the same command goes on from here.")
            raise


def payload_of(done: Run, pipeline: Pipeline) -> dict[str, Any]:
    """What ``--json`` says of a run."""
    return {"folder": str(done.folder), "title": pipeline.title, "steps": list(done.records)}


def show_run(screen: Console, done: Run, pipeline: Pipeline) -> None:
    """The tables of a run, and what a person should know."""
    records = list(done.records)
    screen.print(table(records, pipeline.title))
    for section in sections(records):
        screen.print()
        screen.print(section.table())
    print_notes(screen, (f"{record['folder']}: {note}" for record in records for note in record["notes"]))
    screen.print(f"Models, curves and report: {done.folder}", soft_wrap=True)


class RunWatch(ScreenWatch):
    """A bar for the step at work, and a line on standard error for each that is done."""

    def __init__(self) -> None:
        super().__init__("")

    def begin(self, step: str) -> None:
        self.restart(step)

    def end(self, record: dict[str, Any], was_done: bool) -> None:
        how = "was done" if was_done else f"took {duration(record['seconds'])} s"
        self.say(f"{record['folder']}: {how}, {record['joins']} joins left, accuracy {percent(record['accuracy'])}")
