"""Models from files and back: every way in which that goes wrong has its sentence."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from graphops import external, sanity
from graphops.files import atomic, check_output
from graphops.probe import probe
from passes.errors import ModelError, UserError

LARGEST = 2**31 - 2**24
"""Bytes of weights that one protobuf file holds, with room for the graph; more go to a data file."""

LARGEST_FILE = 2**31
"""Bytes that protobuf can read."""


def load_model(path: str | Path, weights: bool = True) -> onnx.ModelProto:
    """Read and check an ONNX model.

    Args:
        path: the file.
        weights: bring weights that lie in other files into memory; False leaves them where they are.

    Raises:
        ModelError: when the file is missing, is a folder, may not be read, is no valid ONNX model, or keeps
            weights in a file that is missing, too short or outside the model's folder.
    """
    path = Path(path)
    model = _parse(path, _read(path))
    sanity.check(model)
    external.check(model, path.parent)
    probe(path, model)
    if weights:
        external.load(model, path.parent)
    return model


def _read(path: Path) -> bytes:
    try:
        str(path).encode()
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size < LARGEST_FILE:
            with open(path, "rb") as stream:
                return stream.read()
    except FileNotFoundError as error:
        raise ModelError(f"There is no file {path}; check the path.") from error
    except PermissionError as error:
        raise ModelError(f"{path} may not be read; change its permissions.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}; check the path.") from error
    except UnicodeEncodeError as error:
        raise ModelError(f"The path {str(path)!r} is not UTF-8, and onnx reads no other; rename it.") from error
    except ValueError as error:
        raise ModelError(f"There is no file {str(path)!r}; check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ModelError(f"{path} is a folder; name the ONNX file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is no file but a pipe or a device; write the model to a file and name that.")
    raise ModelError(f"{path} has 2 GB or more, which no ONNX model can; keep its weights in a data file.")


def _parse(path: Path, content: bytes) -> onnx.ModelProto:
    if not content:
        raise ModelError(f"{path} is empty; export or copy the model again.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(f"{path} is not an ONNX model, or is cut short; export or copy it again.") from error
    # Protobuf finds a message in many files that hold none: it only skips the fields that it does not know.
    if not model.ir_version or not model.graph.node or not model.graph.output:
        raise ModelError(
            f"{path} is not an ONNX model, or is cut short: it has no graph with nodes and outputs; "
            "export or copy it again."
        )
    return model


def save_model(model: onnx.ModelProto, path: str | Path, force: bool = False, source: str | Path | None = None) -> None:
    """Write ``model`` so that ``path`` holds all of it or what it held before.

    Data files that the model refers to are copied beside ``path``, unless they lie there already. Weights in
    memory beyond 2 GB go to ``<path>.data``.

    Args:
        model: what to write; it is the same afterwards.
        path: where to.
        force: overwrite what is there.
        source: the file the model was read from; needed when its weights lie in other files.

    Raises:
        UserError: when something is there already and not ``force``, when it is a data file of ``source``, when the
            disk is full, when the folder is missing or may not be written.
    """
    path = Path(path)
    check_target(path, source, force)
    made: list[Path] = []
    try:
        if external.locations(model):
            if source is None:
                raise UserError(f"{path} needs the model's data files, and nothing says where they are; pass source=.")
            for copied in external.copy(model, Path(source).parent, path, force):
                made.append(copied)  # at once, for the next one may fail
        if sum(len(tensor.raw_data) for tensor in external.tensors(model)) > LARGEST:
            data = external.data_file(path)
            is_new = not data.exists()
            model = external.split(model, path, force)
            made += [data] * is_new
        with atomic(path, force) as stream:
            stream.write(model.SerializeToString(deterministic=True))
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise


def beside(source: Path, verb: str) -> Path:
    """Where ``verb`` writes what it makes of ``source`` when nobody says: ``net.onnx`` to ``net-verb.onnx``."""
    return source.parent / f"{source.stem}-{verb}{source.suffix or '.onnx'}"


def check_target(path: Path, source: str | Path | None, force: bool) -> None:
    """Say before any work is done that ``path`` cannot be written; as ``check_output``, and minds the input's files.

    Raises:
        UserError: see ``save_model``.
    """
    is_input = source is not None and path.exists() and Path(source).exists() and path.samefile(source)
    if is_input and not force:
        raise UserError(f"{path} is the input itself; choose another name or pass --force to overwrite it.")
    check_output(path, force)
    if source is not None and not is_input:
        check_unread(path, source)


def check_unread(path: Path, model: str | Path) -> None:
    """Refuse to write to ``path`` where that is the file ``model`` or a data file it refers to.

    Raises:
        UserError: when it is.
        ModelError: when ``model`` cannot be read.
    """
    model = Path(model)
    if not path.exists() or not model.exists():
        return
    if any(path.samefile(file) for file in _files(model, _parse(model, _read(model)))):
        raise UserError(f"{path} holds the model {model} or weights of it; choose another name.")


def _files(path: Path, model: onnx.ModelProto) -> list[Path]:
    """The file ``path`` that ``model`` was read from, and every data file it refers to."""
    return [path, *(external.resolve(path.parent, location) for location in external.locations(model))]


def fingerprint(path: str | Path) -> str:
    """SHA-256, in hex, of the model's file and of every data file it refers to.

    Raises:
        ModelError: as ``load_model``.
    """
    path = Path(path)
    model = load_model(path, weights=False)
    digest = hashlib.sha256()
    for file in _files(path, model):
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
