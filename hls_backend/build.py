"""A build folder: a design on disk, with what the emitters make of it.

build.json       part, clock, target rate, FINN's flavour
quantised.onnx   the graph that the design came from
dataflow/        the folded layers (see `hls_backend.archive`)
vectors.npz      test data: inputs and expected outputs, integers
fifos.json       depths of the RTL's FIFOs, where a simulation measured them
report.json      cycles, FIFO depths, estimated cost
finn/ hls/ rtl/  one folder an emitter
simulation/      a compiled simulation of the RTL, to use again
synthesis/       what Yosys counted, to use again
"""

from __future__ import annotations

import importlib
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx

from hls_backend import archive
from hls_backend.dataflow import Dataflow, Flavour
from hls_backend.design import Design, Measured, Vectors
from hls_backend.files import write
from hls_backend.host import sent
from hls_backend.parts import part
from hls_backend.report import report
from hls_backend.widths import insert_width_converters
from passes.errors import UserError

Emitter = Callable[[Design, Path], None]
"""Writes what it makes of a design into a folder, which exists and is empty."""

_EMITTERS = {"finn": "hls_backend.finn", "hls": "hls_backend.hls", "rtl": "hls_backend.rtl"}
"""The module whose ``emit`` fills the folder of that name."""

_FORMAT = 1
_BUILD, _DATAFLOW, _VECTORS, _FIFOS = "build.json", "dataflow", "vectors.npz", "fifos.json"

MODEL, REPORT = "quantised.onnx", "report.json"
"""The names of the quantised graph and of the report."""

_ENTRIES = {_BUILD, MODEL, _DATAFLOW, _VECTORS, _FIFOS, REPORT, *_EMITTERS, "simulation", "synthesis"}
"""All that a build holds; what a process that was killed left half written is called ``.ENTRY.TOKEN``."""


def emitters() -> dict[str, Emitter]:
    """The emitters, by the name of their folder."""
    return {name: importlib.import_module(module).emit for name, module in _EMITTERS.items()}


def check(folder: Path, force: bool) -> None:
    """Say before the work that ``folder`` cannot be written.

    Raises:
        UserError: when it exists and not ``force``, when it holds anything but a build, has no parent, or is the folder
            that the process is in.
    """
    if not folder.absolute().parent.is_dir():
        raise UserError(f"{folder} cannot be made, for there is no folder {folder.parent}; make it first.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder} is no folder; choose another name for the build.")
    if folder.exists() and folder.samefile("."):  # a shell in it would stay in the old one, which goes
        raise UserError(f"{str(folder)!r} is the folder that you are in; name another one, or write it from outside.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if foreign := _foreign(folder):
        raise UserError(f"{folder} holds files that are no build's, {foreign!r} for one; choose another folder.")
    if not force:
        raise UserError(f"{folder} holds a build already; choose another folder or pass --force to replace it.")


def _foreign(folder: Path) -> str:
    """The name of something in ``folder``, which is not empty, that is no build's; "" where it holds a build."""
    names = {path.name for path in folder.iterdir()}
    half_written = {name for name in names if name.startswith(tuple(f".{entry}." for entry in _ENTRIES))}
    try:
        fields = json.loads((folder / _BUILD).read_bytes())
        is_build = isinstance(fields, dict) and {"format", "flavour", "vectors"} <= fields.keys()
    except OSError:
        is_build = False
    except ValueError:  # a damaged build is to be replaced as well
        is_build = {_DATAFLOW, _VECTORS} <= names
    return min(names - half_written - _ENTRIES, default="" if is_build else min(names))


def create(
    folder: Path,
    design: Design,
    model: onnx.ModelProto,
    emitters: Mapping[str, Emitter],
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Write a build folder: the whole of it, or nothing.

    Args:
        folder: to make.
        design: what goes in.
        model: the quantised graph that the design came from.
        emitters: which further folders to fill, and by what.
        force: replace a build that is there.
        progress: is told the name of what is being written.

    Raises:
        UserError: as `check`; when an emitter raises one; when the disk is full or the folder may not be written.
    """
    check(folder, force)
    try:
        with _replacing(folder.absolute()) as new:
            progress("dataflow")
            write(new / MODEL, model.SerializeToString())
            (new / _DATAFLOW).mkdir()
            archive.save(design.dataflow, new / _DATAFLOW)
            with open(new / _VECTORS, "wb") as file:
                np.savez_compressed(file, inputs=design.vectors.inputs, outputs=design.vectors.outputs)
            _describe(new, design)
            for name, emit in emitters.items():
                progress(name)
                (new / name).mkdir()
                emit(design, new / name)
            write(new / _BUILD, _json(_fields(design)))
            _flush(new)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"{folder} was not written: {reason}; mend that or write elsewhere.") from error


def refill(folder: Path, design: Design, name: str, emit: Emitter, force: bool = False) -> None:
    """Write one emitter's folder of a build anew, and what the build says of its FIFOs.

    Args:
        folder: of the build.
        design: its own, but for measured FIFO depths.
        name: of the emitter's folder.
        emit: fills it.
        force: replace the folder if it is there.

    Raises:
        UserError: when it is there and not ``force``; when the disk is full or the folder may not be written.
    """
    target = folder / name
    if target.exists() and not force:
        raise UserError(f"{target} is there already; pass --force to write it again.")
    try:
        with (
            _replacing(target.absolute()) as new,
            tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as gone,
        ):
            emit(design, new)
            _flush(new)
            # A stop from here on leaves no RTL, but never RTL with depths that the build does not know of.
            if target.exists():
                os.rename(target, Path(gone) / name)
            _describe(folder, design)
    except OSError as error:
        raise UserError(
            f"{target} was not written: {error.strerror or error}; mend that or write elsewhere."
        ) from error


def load(folder: str | Path) -> Design:
    """The design in a build folder.

    Raises:
        UserError: when it is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / _BUILD).is_file():
        raise UserError(f"There is no build in {str(folder)!r}; make one with `graphops export-hls`.")
    dataflow = archive.load(folder / _DATAFLOW)
    try:
        fields = json.loads((folder / _BUILD).read_text())
        if fields["format"] != _FORMAT:
            raise UserError(f"The build in {str(folder)!r} is of another version of graphops; export it again.")
        if fields["flavour"] not in get_args(Flavour):
            raise ValueError(f"there is no flavour {fields['flavour']!r}")
        with np.load(folder / _VECTORS, allow_pickle=False) as stored:
            vectors = Vectors(stored["inputs"], stored["outputs"], str(fields["vectors"]))
        inputs, outputs, layers = map(len, (dataflow.inputs, dataflow.outputs, dataflow.layers))
        if (inputs, outputs) != (1, 1) or not layers:
            raise ValueError(f"the dataflow has {inputs} inputs, {outputs} outputs and {layers} layers")
        sent(dataflow)  # reads the host's part, of which an empty file is a model as well
        for array, stream in ((vectors.inputs, dataflow.inputs[0]), (vectors.outputs, dataflow.outputs[0])):
            if array.shape[1:] != stream.shape or array.dtype.kind not in "iu":
                raise ValueError(f"the test data are {array.dtype} {list(array.shape)}")
        if not len(vectors.inputs) == len(vectors.outputs) > 0:
            raise ValueError(f"the test data are {len(vectors.inputs)} inputs and {len(vectors.outputs)} outputs")
        target, clock = fields["target_fps"], float(fields["clock_mhz"])
        if not 0 < clock * 1e6 < math.inf:
            raise ValueError(f"the clock is {clock} MHz")
        if target is not None and not 0 < target < math.inf:
            raise ValueError(f"the target is {target} images/s")
        return Design(
            dataflow,
            part(fields["device"]),
            clock,
            None if target is None else float(target),
            fields["flavour"],
            vectors,
            _measured(folder, dataflow),
        )
    except UserError:
        raise
    except Exception as error:  # numpy, zipfile, zlib: each has errors of its own for what is damaged
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"The build in {str(folder)!r} is damaged ({reason}); make it again with `graphops export-hls --force`."
        ) from error


def _describe(folder: Path, design: Design) -> None:
    """Write the report, and the depths of FIFOs where they were measured."""
    if design.measured:
        write(folder / _FIFOS, _json(asdict(design.measured)))
    else:
        (folder / _FIFOS).unlink(missing_ok=True)
    write(folder / REPORT, _json(asdict(report(design))))


def _measured(folder: Path, dataflow: Dataflow) -> Measured | None:
    """The depths that were measured.

    Raises:
        ValueError, KeyError, TypeError: when the file is not what `_describe` writes.
    """
    if not (folder / _FIFOS).is_file():
        return None
    fields = json.loads((folder / _FIFOS).read_text())
    streams = {stream.name for stream in insert_width_converters(dataflow).streams}
    if not isinstance(fields, dict) or not all(isinstance(fields[key], dict) for key in ("depths", "computed")):
        raise ValueError(f"{_FIFOS} holds no depths")
    depths, computed = (
        {str(name): int(depth) for name, depth in fields[key].items()} for key in ("depths", "computed")
    )
    if not (depths.keys() == computed.keys() <= streams and min([0, *depths.values()]) == 0):
        raise ValueError("FIFO depths of other streams were measured")
    return Measured(depths, computed, float(fields["interval"]), int(fields["frames"]), int(fields["simulations"]))


def _fields(design: Design) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "name": design.dataflow.name,
        "part": design.part.name,
        "device": design.part.device,
        "clock_mhz": design.clock_mhz,
        "target_fps": design.target_fps,
        "flavour": design.flavour,
        "vectors": design.vectors.origin,
    }


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder that becomes ``folder`` when the block ends well, and vanishes when it does not.

    The old one stays until the new one is in its place.
    """
    token = secrets.token_hex(4)
    new, old = (folder.with_name(f".{folder.name}.{token}.{what}") for what in ("new", "old"))
    new.mkdir()
    try:
        yield new
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
    finally:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Bring every file and folder of ``folder`` to the disk."""
    for root, _, files in os.walk(folder):
        for path in (root, *(os.path.join(root, name) for name in files)):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
