"""Writing files so that no reader, and no power cut, ever meets half of one."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from passes.errors import UserError

TEMPORARY = f".*.{'[0-9a-f]' * 8}.tmp"
"""The names of files that are being written; nobody else's are like that."""

LOCK = ".lock"
"""The file by which a process holds a folder."""


def check_output(path: Path, force: bool = False) -> None:
    """Say at once, before any work is done, that ``path`` cannot be written.

    Raises:
        UserError: when ``path`` is a folder, a pipe or a device, lies in a folder that is not there, or exists and not
            ``force``.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file to write.")
    if str(path) == "-":
        raise UserError("Nothing is written to standard output; name a file to write.")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file but a pipe or a device; name a file to write.")
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written, for there is no folder {path.parent}; make it first.")
    if path.exists() and not force:
        raise UserError(f"{path} exists already; choose another name or pass --force to overwrite it.")


@contextmanager
def atomic(path: Path, force: bool = True) -> Iterator[BinaryIO]:
    """A binary stream whose content becomes ``path`` when the block ends well, and vanishes when it does not.

    A link stays, and what it leads to is written.

    Raises:
        UserError: as ``check_output``; when the disk is full or the folder may not be written.
    """
    check_output(path, force)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(_reason(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, force: bool = True) -> None:
    """``path`` holds all of ``content`` afterwards, or what it held before."""
    with atomic(path, force) as stream:
        stream.write(content)


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep ``folder``, which is made when it is not there, to this process while the block runs.

    Raises:
        UserError: when it cannot be written to, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "w")  # noqa: SIM115
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{folder} cannot be used as a folder: {reason}; choose another.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"Another graphops is at work in {folder}; wait for it or stop it.") from error
        except OSError as error:  # some network file systems have no locks
            raise UserError(f"{folder} cannot be locked: {error.strerror}; choose one on another disk.") from error
        yield


def fingerprint_of_folder(folder: Path, without: Collection[str] = ()) -> str:
    """SHA-256, in hex, of the names and contents of all files in ``folder``, but for the folders in it ``without``."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in without:
            digest.update(f"{name}\0".encode())
            with open(path, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _reason(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{path} was not written, for the disk is full or a size limit is reached; make room or write elsewhere."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} may not be written; change the permissions of {path.parent} or write elsewhere."
    return f"{path} was not written: {error.strerror or error}; write elsewhere."
