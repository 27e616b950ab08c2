"""What verbs share: their options, and where they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from graphops.bench import Watch
from graphops.files import check_output, write_json
from graphops.modelfile import check_unread
from graphops.report.text import plain
from passes.errors import UserError

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The ONNX model to read.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Report = Annotated[Path | None, typer.Option("--report", metavar="FILE.json", help="Write the JSON object there too.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Bits = Annotated[int, typer.Option("--bits", min=1, help="Bits of an activation that no quantiser describes.")]
DataName = Annotated[
    str,
    typer.Option(
        "--data", metavar="DATA", help="digits, cifar10, cifar100, svhn, an .npz file or a folder.", show_default=False
    ),
]
OutputFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="OUT.onnx", help="Where to write; default: beside the input, -VERB added."),
]
Normalisation = Annotated[
    str | None,
    typer.Option("--normalisation", metavar="NAME", help="Of the images; default: the model's, else the data set's."),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="FOLDER", help="Where data sets lie, or are downloaded to.")
]


def console() -> Console:
    """Standard output, wide enough for tables: narrow terminals wrap lines, where a table would leave figures out."""
    # Names in models and paths may look like markup or emoji; they are neither.
    literal: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    is_terminal = sys.stdout and sys.stdout.isatty()  # there is none under some daemons
    return Console(width=max(Console().width, 80) if is_terminal else 100, **literal)


def check_report(
    report: Path | None, force: bool, other: Path | None = None, models: Iterable[str | Path] = ()
) -> None:
    """Say before the work that the report cannot be written, or would overwrite the verb's ``other`` file or input."""
    if report is not None:
        check_output(report, force)
        for model in models:
            check_unread(report, model)
        if other is not None and report.resolve() == other.resolve():
            raise UserError(f"{report} is named for two things to write; give them different names.")


def check_data(data: str | None, data_dir: Path | None, normalisation: str | None = None, by: str = "--data") -> None:
    """Refuse options on images where none are asked for: they would do nothing; ``by`` is what would ask for some."""
    for option, value in (("--data-dir", data_dir), ("--normalisation", normalisation)):
        if data is None and value is not None:
            raise UserError(f"{option} is about images of a data set; name the data set with {by}, or leave it out.")


def emit(payload: dict[str, Any], show: Callable[[Console], None], as_json: bool, report: Path | None = None) -> None:
    """Print a verb's outcome: as one JSON object, or for people with ``show``; and write it to ``report``."""
    if report is not None:
        write_json(report, payload)
    if as_json:
        print(json.dumps(payload, indent=2, allow_nan=False))
    else:
        show(console())


def print_notes(screen: Console, notes: Iterable[str]) -> None:
    """The sentences that a pass or a step left."""
    for note in notes:
        screen.print(f"Note: {plain(note, 500)}", soft_wrap=True)


class ScreenWatch(Watch):
    """A progress bar on standard error while a ``with`` block runs; no bar where that is no terminal."""

    def __init__(self, description: str) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
        )
        self._screen = Console(stderr=True)
        self._bar = Progress(*columns, console=self._screen, transient=True, disable=not self._screen.is_terminal)
        self._task = self._bar.add_task(description, total=None, text="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progress(self, done: float, total: float, text: str = "") -> None:
        self._bar.update(self._task, completed=done, total=total, text=text)

    def restart(self, description: str) -> None:
        """The bar is for something else now."""
        self._bar.reset(self._task, total=None, description=description, text="")

    def say(self, sentence: str) -> None:
        """A line that stays."""
        self._screen.print(sentence, markup=False, emoji=False, highlight=False, soft_wrap=True)
