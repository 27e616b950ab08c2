"""A dataflow as files: ``dataflow.json``, ``parameters.npz`` and ``host.onnx`` in a folder.

The JSON names every layer's fields and every stream; arrays stand in the npz under ``layer.field``. Nothing in them is
code: layers are looked up among those that there are, types among qonnx's integers, and arrays are plain numbers.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx

from hls_backend import layers as known
from hls_backend.dataflow import Dataflow, End, Folding, Layer, Stream
from hls_backend.datatypes import named
from hls_backend.progression import Progression
from passes.errors import UserError

_FORMAT = 1
_GRAPH, _ARRAYS, _HOST = "dataflow.json", "parameters.npz", "host.onnx"
_TYPE = re.compile(r"BINARY|BIPOLAR|U?INT\d{1,3}")


def save(dataflow: Dataflow, folder: Path) -> None:
    """Write ``dataflow`` into ``folder``, which exists; each file is whole or not there.

    Raises:
        OSError: when a file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    description = {
        "format": _FORMAT,
        "name": dataflow.name,
        "layers": [_layer_fields(layer, arrays) for layer in dataflow.layers],
        "streams": [_stream_fields(stream, arrays) for stream in dataflow.streams],
        "host_axes": list(dataflow.host_axes),
    }
    _write(folder / _ARRAYS, lambda file: np.savez_compressed(file, **cast(Any, arrays)))
    if dataflow.host is not None:
        host = dataflow.host.SerializeToString()
        _write(folder / _HOST, lambda file: file.write(host))
    text = json.dumps(description, indent=1)
    _write(folder / _GRAPH, lambda file: file.write(text.encode()))


def load(folder: Path) -> Dataflow:
    """The dataflow that `save` wrote into ``folder``.

    Raises:
        UserError: when it is missing or damaged.
    """
    if not (folder / _GRAPH).is_file():
        raise UserError(f"There is no dataflow in {str(folder)!r}; make one with `graphops export-hls`.")
    try:
        description = json.loads((folder / _GRAPH).read_text())
        if description["format"] != _FORMAT:
            raise UserError(f"The dataflow in {str(folder)!r} is of another version of graphops; export it again.")
        with np.load(folder / _ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        host = onnx.load(folder / _HOST) if (folder / _HOST).is_file() else None
        found = tuple(_layer(fields, arrays) for fields in description["layers"])
        streams = tuple(_stream(fields, arrays) for fields in description["streams"])
        return Dataflow(description["name"], found, streams, host, tuple(description["host_axes"]))
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"The dataflow in {str(folder)!r} is damaged ({reason}); make it again with `graphops export-hls --force`."
        ) from error
    except Exception as error:  # protobuf has an error of its own for each of its implementations
        if type(error).__name__ != "DecodeError":
            raise
        raise UserError(
            f"{str(folder / _HOST)!r} is no ONNX file; make it again with `graphops export-hls --force`."
        ) from error


def _layer_fields(layer: Layer, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    fields = {"kind": type(layer).__name__}
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        fields[field.name] = _stored(f"{layer.name}.{field.name}", value, arrays)
    return fields


def _stored(name: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """``value`` as JSON, with its arrays in ``arrays``."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return "array"
    if isinstance(value, Progression):
        return {f.name: _stored(f"{name}.{f.name}", getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
    return _plain(value)


def _stream_fields(stream: Stream, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    for name in ("scale", "bias"):
        arrays[f"{stream.name}.{name}"] = getattr(stream, name)
    fields = {field.name: getattr(stream, field.name) for field in dataclasses.fields(stream)}
    return {name: _plain(value) for name, value in fields.items() if name not in ("scale", "bias")}


def _plain(value: Any) -> Any:
    """``value`` as JSON."""
    if isinstance(value, (Folding, End)):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    return value if isinstance(value, (int, str, type(None))) else value.name


def _layer(fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Layer:
    kind = fields["kind"]
    layer_class = getattr(known, kind, None) if kind in known.__all__ else None
    if not (isinstance(layer_class, type) and issubclass(layer_class, Layer)):
        raise ValueError(f"there is no layer {kind!r}")
    given: dict[str, Any] = {}
    for field in dataclasses.fields(layer_class):
        value = fields[field.name]
        place = f"{fields['name']}.{field.name}"
        if field.type == "np.ndarray":
            value = arrays[place]
        elif field.name == "progression" and value is not None:
            start, step = (arrays[f"{place}.{part}"] for part in ("start", "step"))
            value = Progression(start, step, int(value["shift"]), int(value["low"]), int(value["high"]))
        elif "IntegerType" in str(field.type):
            value = tuple(_type(item) for item in value) if isinstance(value, list) else _type(value)
        elif field.name == "folding":
            value = Folding(**value)
        given[field.name] = tuple(value) if isinstance(value, list) else value
    return layer_class(**given)


def _stream(fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Stream:
    name = fields["name"]
    ends = {key: End(**fields[key]) if fields[key] else None for key in ("source", "target")}
    return Stream(
        name,
        cast(Any, tuple(fields["shape"])),
        _type(fields["type"]),
        ends["source"],
        ends["target"],
        int(fields["depth"]),
        fields["tensor"],
        arrays[f"{name}.scale"],
        arrays[f"{name}.bias"],
    )


def _type(name: str) -> Any:
    if not _TYPE.fullmatch(name):
        raise ValueError(f"{name!r} is no integer type")
    return named(name)


def _write(path: Path, write: Callable[[Any], object]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
