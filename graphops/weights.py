"""Comparing weights where they lie, a piece at a time, and only as far as needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graphops import external
from graphops.sanity import size_of
from passes.errors import ModelError

_PIECE = 2**24


def are_equal(a: TensorProto, a_folder: Path, b: TensorProto, b_folder: Path) -> bool:
    """Whether two weights of one type and shape have the same values; the same place of one file is not read."""
    if _is_one_place(a, a_folder, b, b_folder):
        return True
    if a.data_type == TensorProto.STRING:
        return list(a.string_data) == list(b.string_data)
    return all(x == y for x, y in zip(_pieces(a, a_folder), _pieces(b, b_folder), strict=True))


def largest_difference(a: TensorProto, a_folder: Path, b: TensorProto, b_folder: Path) -> float | None:
    """The largest absolute difference of two weights of one type and shape; None where it is no number.

    That is so for strings, and where one is infinite or not a number and the other is not the same.
    """
    if a.data_type == TensorProto.STRING:
        return None
    largest = 0.0
    for x, y in zip(_pieces(a, a_folder), _pieces(b, b_folder), strict=True):
        first, second = (_numbers(piece, a.data_type) for piece in (x, y))
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(first - second)
        apart[(first == second) | (np.isnan(first) & np.isnan(second))] = 0
        largest = max(largest, float(np.max(apart, initial=0)))
        if not math.isfinite(largest) or np.isnan(apart).any():
            return None
    return largest


def _is_one_place(a: TensorProto, a_folder: Path, b: TensorProto, b_folder: Path) -> bool:
    if not a.data_location == b.data_location == TensorProto.EXTERNAL:
        return False
    here, there = external.place(a), external.place(b)
    files = external.resolve(a_folder, here.location), external.resolve(b_folder, there.location)
    return here.offset == there.offset and files[0].samefile(files[1])


def _pieces(tensor: TensorProto, folder: Path) -> Iterator[bytes]:
    """The values as they are stored in raw form, in pieces of one size."""
    if tensor.data_location == TensorProto.EXTERNAL:
        yield from _file_pieces(tensor, folder)
        return
    raw = tensor.raw_data if tensor.HasField("raw_data") else _raw(tensor)
    for start in range(0, len(raw), _PIECE):
        yield raw[start : start + _PIECE]


def _file_pieces(tensor: TensorProto, folder: Path) -> Iterator[bytes]:
    where, size = external.place(tensor), size_of(tensor)
    assert size is not None, "`external.check` lets none through whose size is unknown"
    path = external.resolve(folder, where.location)
    try:
        with open(path, "rb") as stream:
            stream.seek(where.offset)
            for start in range(0, size, _PIECE):
                yield stream.read(min(_PIECE, size - start))
    except OSError as error:
        raise ModelError(f"The data file {path} cannot be read: {error.strerror}; mend its permissions.") from error


def _raw(tensor: TensorProto) -> bytes:
    raw: bytes = numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data
    return raw


def _numbers(raw: bytes, kind: int) -> np.ndarray:
    """The values of a piece as float64, or complex128."""
    bits = size_of(TensorProto(data_type=kind, dims=[8])) or 8
    piece = TensorProto(data_type=kind, dims=[len(raw) * 8 // bits], raw_data=raw)
    values = numpy_helper.to_array(piece)
    return values.astype(np.complex128 if helper.tensor_dtype_to_np_dtype(kind).kind == "c" else np.float64)
