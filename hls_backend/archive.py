"""A dataflow as files: ``dataflow.json``, ``parameters.npz`` and ``host.onnx`` in a folder.

The JSON names every layer's fields and every stream; arrays stand in the npz under ``layer.field``. Nothing in them is
code: layers are looked up among those that there are, types among qonnx's integers, and arrays are plain numbers.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx

from hls_backend import layers as known
from hls_backend.dataflow import Dataflow, End, Folding, Layer, Stream
from hls_backend.datatypes import named
from hls_backend.files import write
from hls_backend.progression import Progression
from passes.errors import UserError

_FORMAT = 1
_GRAPH, _ARRAYS, _HOST = "dataflow.json", "parameters.npz", "host.onnx"
_PLAIN = {"int": int, "bool": bool, "str": str}
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
        "has_host": dataflow.host is not None,
        "host_axes": list(dataflow.host_axes),
    }
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **cast(Any, arrays))
    write(folder / _ARRAYS, compressed.getvalue())
    if dataflow.host is not None:
        write(folder / _HOST, dataflow.host.SerializeToString())
    write(folder / _GRAPH, json.dumps(description, indent=1).encode())


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
        # Builds that say nothing of it are of networks of floats.
        host = onnx.load(folder / _HOST) if description.get("has_host", True) else None
        found = tuple(_layer(fields, arrays) for fields in description["layers"])
        streams = tuple(_stream(fields, arrays) for fields in description["streams"])
        dataflow = Dataflow(str(description["name"]), found, streams, host, tuple(description["host_axes"]))
        for layer in dataflow.layers:
            if layer.folding not in layer.foldings():
                raise ValueError(f"{layer.name} cannot be folded by {layer.folding}")
        return dataflow
    except UserError:
        raise
    except Exception as error:  # numpy, zipfile, zlib, protobuf: each has errors of its own for what is damaged
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"The dataflow in {str(folder)!r} is damaged ({reason}); make it again with `graphops export-hls --force`."
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
            value = Folding(int(value["pe"]), int(value["simd"]))
        elif type(value) is not _PLAIN.get(str(field.type), type(value)):
            raise ValueError(f"{place} is {value!r}")
        given[field.name] = tuple(value) if isinstance(value, list) else value
    return layer_class(**given)


def _stream(fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Stream:
    name = fields["name"]
    if not 0 < fields["depth"] < 2**31:
        raise ValueError(f"{name} is {fields['depth']} deep")
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
