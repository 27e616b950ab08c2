"""``metrics.jsonl``: one JSON object a line, a line a step and a line an epoch, written as training goes.

A checkpoint holds the file's length at its moment; a resumed run cuts the file there, so that in the end it equals
that of a run that was never stopped, but for the seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from passes.errors import UserError


class Metrics:
    """The file in ``folder``, cut to ``length`` bytes; with no folder, nothing is written.

    Raises:
        UserError: when it cannot be written, e.g. because the disk is full, or is not a training's.
    """

    def __init__(self, folder: Path | None, length: int = 0) -> None:
        self._stream: BinaryIO | None = None
        if folder is None:
            return
        self._path = folder / "metrics.jsonl"
        try:
            self._stream = open(self._path, "ab")  # noqa: SIM115 - lives as long as the run
            if not _is_ours(self._path):
                raise UserError(f"{self._path} is no training's, and would be overwritten; choose another folder.")
            self._stream.truncate(min(length, self._stream.tell()))
            self._stream.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, record: dict[str, Any]) -> None:
        """Append a line."""
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps(record).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            raise self._failed(error) from error

    def sync(self) -> int:
        """Bring all lines to the disk; the file's length in bytes."""
        if self._stream is None:
            return 0
        try:
            os.fsync(self._stream.fileno())  # each line was flushed when it was written
        except OSError as error:
            raise self._failed(error) from error
        return self._stream.tell()

    def close(self) -> None:
        """Let the file go; a line that did not fit on the disk was reported when it was written."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()

    def _failed(self, error: OSError) -> UserError:
        return UserError(
            f"{self._path} cannot be written ({error.strerror}); make room and start again: "
            "training continues from its last checkpoint."
        )


def _is_ours(path: Path) -> bool:
    """Whether the file begins as a training's line does, or ends before; that of a pipeline's run begins otherwise."""
    line = b'{"kind": "'
    with open(path, "rb") as stream:
        return line.startswith(stream.read(len(line)))
