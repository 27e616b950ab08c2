"""The command line: one file a verb."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from graphops.report.text import plain

LONGEST = 2000
"""Characters of a sentence; names in a model may be of any length."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, or 2 after one sentence on what is wrong."""
    sys.exit(execute(arguments))


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    try:
        return _execute(arguments)
    except KeyboardInterrupt:
        return 130


def _execute(arguments: Sequence[str] | None) -> int:
    # What takes most of a second to import is imported here, where Ctrl-C leaves no traceback.
    import typer

    from graphops.cli.app import app
    from passes.errors import UserError

    # typer brings click, or since 0.26 a copy of it: either way this is what its usage errors descend from.
    click_exception: type[Exception] = typer.BadParameter.__mro__[2]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold what the terminal cannot show
    try:
        return app(args=arguments, standalone_mode=False) or 0
    except UserError as error:
        return _say(str(error))
    except click_exception as error:
        sentence = error.format_message().strip()  # type: ignore[attr-defined]
        return _say(sentence if not sentence or sentence[-1] in ".?" else f"{sentence}.")
    except OSError as error:
        # What no sentence of its own was written for: a path that may not be searched, a name that is too long.
        return _say(f"{error.filename or 'A file'}: {error.strerror or error}; check the path and its permissions.")
    except MemoryError:
        return _say("There is not enough memory for this; free some, or take a smaller model or batch.")
    except typer.Abort:  # what typer makes of KeyboardInterrupt
        return 130


def _say(sentence: str) -> int:
    if sentence:  # click shows the help, and has nothing to add, where no verb is given
        print(plain(sentence, LONGEST), file=sys.stderr)
    return 2
