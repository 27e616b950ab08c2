"""What must be true of every command line, whatever the model."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import onnx

from tests.fuzzing.commands import BUILD

LONGEST = 4000
"""Characters of a sentence on what is wrong."""


class Judge:
    """Runs command lines in this process.

    Args:
        own: folders in which files may be written; files may be read in these, and where Python's own lie.
    """

    def __init__(self, own: list[Path]) -> None:
        from tests.fuzzing.watch import Audit

        self._audit = Audit()
        self._writable = tuple(str(folder) for folder in own)
        packages = {str(Path(entry).resolve()) for entry in sys.path if entry}
        self._readable = (
            *self._writable,
            sys.prefix,
            sys.base_prefix,
            *packages,
            "/proc/",
            "/sys/",
            "/dev/",
            "/usr/",
            "/etc/",
        )

    def run(self, line: list[str], folder: Path) -> tuple[object, list[str]]:
        """The exit code of the command ``line`` on the model in ``folder``, and what is wrong with what it did.

        Whatever it wrote is removed.
        """
        from graphops.cli import execute

        before = _files(folder)
        self._audit.opened.clear()
        error = None
        with _captured() as texts:
            self._audit.is_on = True
            try:
                code: object = execute(line)
            except BaseException as raised:
                error, code = raised, None
            finally:
                self._audit.is_on = False
        return code, list(self._faults(line, folder, code, error, texts, _files(folder) - before))

    def _faults(
        self,
        line: list[str],
        folder: Path,
        code: object,
        error: BaseException | None,
        texts: list[str],
        made: set[str],
    ) -> Iterator[str]:
        out, said = texts
        if error is not None:
            yield "raised " + "".join(traceback.format_exception(error))[-6000:]
        else:
            yield from _sentence(code, said)
        if _lacks_memory(said + out):
            yield f"asked for too much memory: {(said or out)[:500]!r}"
        if code != 0 and made:
            yield f"failed and left {sorted(made)}"
        if code == 0 and "-o" in line:
            output = Path(line[line.index("-o") + 1])
            if not output.exists():
                yield f"succeeded without an output but {sorted(made)}"
            elif output.suffix == ".onnx":
                yield from _invalid(output)
        for name in made:
            (folder / name).unlink(missing_ok=True)
        if code != 0 and (folder / BUILD).exists():
            yield "failed and left a build folder"
        shutil.rmtree(folder / BUILD, ignore_errors=True)
        for path, writes in self._audit.opened:
            if not self._may(path, writes, folder):
                yield f"{'wrote' if writes else 'read'} {path}"

    def _may(self, path: str, writes: bool, folder: Path) -> bool:
        full = os.path.normpath(os.path.join(os.getcwd(), path))
        if writes:
            return full.startswith((str(folder), *self._writable)) or full == os.devnull
        return full.startswith((str(folder), *self._readable))


def _invalid(path: Path) -> Iterator[str]:
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:
        yield f"wrote an invalid model: {str(error)[:1000]}"


def _sentence(code: object, said: str) -> Iterator[str]:
    """What is wrong with what was said on standard error."""
    if code not in (0, 2):
        yield f"exit code {code}, said {said[:500]!r}"
    if code == 0 and said:
        yield f"succeeded and said {said[:500]!r}"
    if code != 2:
        return
    lines = said.splitlines()
    if len(lines) != 1 or not lines[0].endswith((".", "?")) or len(said) > LONGEST or not said.endswith("\n"):
        yield f"said no sentence: {said[:500]!r}... ({len(said)} characters, {len(lines)} lines)"
    if "Traceback" in said or not said.strip().isprintable():
        yield f"said what is no sentence: {said[:500]!r}"


def _lacks_memory(text: str) -> bool:
    lower = text.lower()
    return any(sign in lower for sign in ("bad_alloc", "memoryerror", "failed to allocate", "unable to allocate"))


def _files(folder: Path) -> set[str]:
    return {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}


@contextmanager
def _captured() -> Iterator[list[str]]:
    """What goes to standard output and error meanwhile, from native code too: two texts, when the block is over."""
    texts: list[str] = []
    with TemporaryFile() as out, TemporaryFile() as err:
        kept = [os.dup(1), os.dup(2)]
        _redirect([out.fileno(), err.fileno()])
        try:
            yield texts
        finally:
            _redirect(kept)
            for descriptor in kept:
                os.close(descriptor)
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode(errors="replace"))


def _redirect(descriptors: list[int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor, number in zip(descriptors, (1, 2), strict=True):
        os.dup2(descriptor, number)
