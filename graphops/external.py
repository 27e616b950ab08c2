"""Weights that lie in files beside a model, as ONNX's external data.

A location is believed only as far as the model's own folder: an absolute path, a ``..`` or a link that leads out
of it is refused, for a model file may come from anybody.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto

from graphops import sanity
from graphops.files import atomic
from passes.errors import ModelError, UserError

ALIGNMENT = 4096
"""Offsets are multiples of a page, so that runtimes can map the file."""

SMALL = 1024
"""Tensors of fewer bytes stay in the model: shapes and axes are needed to infer anything."""


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor that holds data: initialisers and attributes, in subgraphs, functions and training too."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _attribute_tensors(function.attribute_proto)
        for node in function.node:
            yield from _attribute_tensors(node.attribute)
    for info in model.training_info:
        yield from _graph_tensors(info.initialization)
        yield from _graph_tensors(info.algorithm)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        yield from attribute.tensors
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def external_tensors(model: onnx.ModelProto) -> list[TensorProto]:
    """The tensors whose data lie in another file."""
    return [t for t in tensors(model) if t.data_location == TensorProto.EXTERNAL]


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes lie: ``length`` bytes from ``offset`` in the file ``location``."""

    location: str
    offset: int
    length: int | None


def place(tensor: TensorProto) -> Place:
    """The external place of ``tensor``.

    Raises:
        ModelError: when it names none, or names it in a way ONNX does not.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        if len(entries) < len(tensor.external_data):
            raise ValueError  # readers would differ on which of two entries counts
        length = int(entries["length"]) if "length" in entries else None
        found = Place(entries["location"], int(entries.get("offset", "0")), length)
    except (KeyError, ValueError):
        found = Place("", -1, None)
    if (
        not found.location
        or "\0" in found.location
        or found.offset < 0
        or (found.length is not None and found.length < 0)
    ):
        raise ModelError(f"Tensor {tensor.name!r} names no place for its external data; export the model again.")
    return found


def resolve(folder: Path, location: str) -> Path:
    """The file that ``location`` names, proved to lie inside ``folder``.

    Raises:
        ModelError: when it does not, or is not a file.
    """
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = posix.is_absolute() or windows.is_absolute() or ".." in (*posix.parts, *windows.parts)
    try:
        path = (folder / location).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, or links that lead in a circle
        raise ModelError(f"The model's data file {location!r} cannot be found; put it beside the model.") from error
    if outside:
        raise ModelError(
            f"The model keeps weights in {location!r}, outside its own folder, where nothing is read; "
            "put the data file beside the model and refer to it by its name."
        )
    if not path.is_relative_to(folder.resolve()):
        raise ModelError(
            f"The model's data file {location!r} is a link that leads outside the model's own folder, where nothing is "
            "read; copy the model and the file itself, not the link, into one folder."
        )
    if not is_file:
        raise ModelError(f"The model's data file {folder / location} is missing; put it beside the model.")
    return path


def check(model: onnx.ModelProto, folder: Path) -> None:
    """See, without reading a weight, that every tensor's bytes are there, as many as its type and shape need.

    Raises:
        ModelError: when they are not, or a data file is missing, too short or outside ``folder``.
    """
    for tensor in tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            sanity.check_weight(tensor)
            continue
        where, needed = place(tensor), sanity.size_of(tensor)
        held = resolve(folder, where.location).stat().st_size
        if needed is None or where.length not in (None, needed):
            raise ModelError(
                f"Tensor {tensor.name!r} keeps {where.length} bytes in {where.location!r} where its type and shape "
                f"need {'another place' if needed is None else needed}; export the model again."
            )
        if where.offset + needed > held:
            raise ModelError(
                f"The data file {folder / where.location} ends before tensor {tensor.name!r}; copy it again."
            )


def load(model: onnx.ModelProto, folder: Path) -> None:
    """Bring every external tensor of ``model`` into memory, in place."""
    for tensor in external_tensors(model):
        where, needed = place(tensor), sanity.size_of(tensor)
        path = resolve(folder, where.location)
        try:
            with open(path, "rb") as stream:
                stream.seek(where.offset)
                tensor.raw_data = stream.read(needed)
        except OSError as error:
            raise ModelError(f"The data file {path} cannot be read: {error.strerror}; mend its permissions.") from error
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def locations(model: onnx.ModelProto) -> list[str]:
    """The data files that ``model`` refers to, each once, in order."""
    return list(dict.fromkeys(place(t).location for t in external_tensors(model)))


def copy(model: onnx.ModelProto, source: Path, output: Path, force: bool) -> Iterator[Path]:
    """Copy the data files of ``model`` from folder ``source`` to beside ``output``; yield those newly made.

    A file that is there already with the same content is left alone.

    Raises:
        UserError: when another file of that name is there and not ``force``, or the disk is full.
    """
    for location in locations(model):
        origin, target = resolve(source, location), output.parent / location
        if target.resolve() == output.resolve():
            raise UserError(f"{output} would overwrite the model's own data file; choose another name.")
        if target.exists() and (target.samefile(origin) or filecmp.cmp(origin, target, shallow=False)):
            continue
        is_new = not target.exists()
        if not (is_new or force):
            raise UserError(
                f"{target} exists already and is not the data file that the model refers to by this name; "
                "write to another folder or pass --force to overwrite it."
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(origin, "rb") as data, atomic(target, force) as stream:
                shutil.copyfileobj(data, stream, 1 << 22)
        except OSError as error:
            raise UserError(f"{target} was not written: {error.strerror}; write elsewhere.") from error
        if is_new:
            yield target


def data_file(output: Path) -> Path:
    """Where ``split`` puts the weights of a model written to ``output``."""
    return output.with_name(output.name + ".data")


def split(model: onnx.ModelProto, output: Path, force: bool) -> onnx.ModelProto:
    """Write the large tensors of ``model`` to ``<output>.data``; return a model that refers to them.

    ``model`` itself is not touched, and no more than one tensor of it is held twice.
    """
    data = data_file(output)
    light = hollow(model)
    with atomic(data, force) as stream:
        for tensor, target in zip(tensors(model), tensors(light), strict=True):
            content = tensor.raw_data
            if len(content) >= SMALL:
                stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
                target.raw_data = b""  # set_external_data wants the field to be there
                onnx.external_data_helper.set_external_data(target, data.name, stream.tell(), len(content))
                target.ClearField("raw_data")
                stream.write(content)
    return light


def hollow(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` whose large initialisers say that their data lie elsewhere: the graph, at no weight."""
    light = onnx.ModelProto()
    _copy_fields(model, light, but="graph")
    _copy_fields(model.graph, light.graph, but="initializer")
    for tensor in model.graph.initializer:
        is_large = len(tensor.raw_data) >= SMALL
        copied = light.graph.initializer.add()
        _copy_fields(tensor, copied, but="raw_data" if is_large else None)
        if is_large:
            copied.data_location = TensorProto.EXTERNAL
    return light


def _copy_fields(source: Any, target: Any, but: str | None) -> None:
    """Copy every field of a message except ``but`` into the empty message ``target``."""
    for descriptor, value in source.ListFields():
        if descriptor.name == but:
            continue
        if hasattr(value, "MergeFrom"):  # a message, or a repeated field
            getattr(target, descriptor.name).MergeFrom(value)
        else:
            setattr(target, descriptor.name, value)
