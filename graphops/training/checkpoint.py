"""Checkpoints that survive a kill at any moment and a flipped bit.

A file is a line with the format's name, a line with the SHA-256 of all that follows, a line of JSON (the header, which
lists the arrays), and the arrays' bytes. It is written beside its name, flushed and renamed; the last two are kept.
Training draws its randomness from (seed, epoch, step) alone, so no random generator's state has to be stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphops.files import write_bytes
from passes.errors import UserError

MAGIC = b"graphops checkpoint 1"
KEPT = 2
NAMES = f"checkpoint-{'[0-9]' * 9}.bin"  # nobody's copy of one under another name


class Damaged(Exception):
    """A checkpoint whose bytes are not those that were written."""


@dataclass(frozen=True)
class Checkpoint:
    """A state of training.

    Attributes:
        header: what JSON can say: step, identity of the run, sums of the current epoch, history.
        arrays: flat buffers by name.
        path: the file.
    """

    header: dict[str, Any]
    arrays: dict[str, NDArray]
    path: Path


class Checkpoints:
    """The checkpoints in a folder. ``damaged`` lists a sentence for each that could not be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[str] = []
        self._good: list[Path] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left_over in folder.glob(".checkpoint-*.tmp"):
                left_over.unlink()
        except OSError as error:
            raise UserError(f"{folder} cannot be used as a folder for checkpoints ({error.strerror}).") from error

    @property
    def last(self) -> Path | None:
        """The newest good checkpoint of this run."""
        return self._good[-1] if self._good else None

    def save(self, step: int, header: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Path:
        """Write the checkpoint of ``step`` and forget all but the last two.

        Raises:
            UserError: when it cannot be written; those before are untouched.
        """
        path = self.folder / f"checkpoint-{step:09d}.bin"
        write_bytes(path, encode(header, arrays))
        self._good = [*(p for p in self._good if p != path), path][-KEPT:]
        for other in self.folder.glob(NAMES):
            if other not in self._good:
                other.unlink(missing_ok=True)
        return path

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None; each damaged one adds a sentence to ``damaged``."""
        found: Checkpoint | None = None
        damaged: list[str] = []
        for path in sorted(self.folder.glob(NAMES), reverse=True):
            try:
                header, arrays = decode(path.read_bytes())
            except (Damaged, OSError) as error:
                damaged.append(f"Checkpoint {path} is damaged ({error})")
                continue
            self._good.insert(0, path)
            found = found or Checkpoint(header, arrays, path)
        used = f"{found.path.name} is used" if found else "there is no other, so training begins anew"
        self.damaged = [f"{what}; {used}." for what in damaged]
        return found


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> bytes:
    """The bytes of a checkpoint file."""
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({"header": dict(header), "arrays": listed}).encode()
    body = b"\n".join([text, b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values())])
    return b"\n".join([MAGIC, hashlib.sha256(body).hexdigest().encode(), body])


def decode(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Header and arrays of a checkpoint file.

    Raises:
        Damaged: when a byte differs from what was written.
    """
    magic, _, rest = content.partition(b"\n")
    digest, _, body = rest.partition(b"\n")
    if magic != MAGIC:
        raise Damaged("its first line is not that of a checkpoint")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise Damaged("its checksum is wrong")
    text, _, data = body.partition(b"\n")
    described = json.loads(text)
    arrays, start = {}, 0
    for name, kind, shape in described["arrays"]:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        arrays[name] = np.frombuffer(data[start : start + size], kind).reshape(shape).copy()
        start += size
    return described["header"], arrays
