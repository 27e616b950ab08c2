"""What a model file may not say, seen before any code meets it that would crash, hang or eat all memory.

onnx's checker sees most of what is wrong with a model. It does not see names that are no text, functions that call
themselves or unfold into billions of nodes, and, in older versions, weights whose bytes do not fit their shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper

from passes.errors import ModelError
from passes.protobufs import with_subgraphs

MOST_AXES = 64
"""As many axes as a numpy array can have."""

DEEPEST = 100
"""Functions that call one another in a row; what unfolds them recurses."""

MOST_UNFOLDED = 200_000
"""Nodes of a model whose functions are unfolded, where the file itself does not hold a twentieth of that."""

_UNFOLDING = 20

Function = tuple[str, str, str]

_BITS = {
    getattr(TensorProto, name): bits
    for bits, names in {2: "INT2 UINT2", 4: "INT4 UINT4 FLOAT4E2M1"}.items()
    for name in names.split()
    if hasattr(TensorProto, name)
}
"""Types that share bytes."""


def check(model: onnx.ModelProto) -> None:
    """Refuse a model that must not be looked at any further.

    Raises:
        ModelError: when a name is no UTF-8, a function calls itself, or functions unfold without measure.
    """
    for message in _messages(model):
        _check_text(message)
    _check_functions(model)


def check_weight(tensor: TensorProto) -> None:
    """See that the bytes of ``tensor`` are those of its type and shape; external ones are none of its own.

    Raises:
        ModelError: when they are not.
    """
    size = size_of(tensor)
    if size is None or tensor.data_location == TensorProto.EXTERNAL:
        return
    if tensor.HasField("raw_data"):
        held, needed, unit = len(tensor.raw_data), size, "bytes"
    else:
        field = helper.tensor_dtype_to_field(tensor.data_type)
        held, needed, unit = len(getattr(tensor, field)), _entries(tensor), "values"
    if held != needed:
        raise ModelError(
            f"The weight {tensor.name!r} holds {held} {unit} where its shape needs {needed}; export the model again."
        )


def size_of(tensor: TensorProto) -> int | None:
    """Bytes that the values of ``tensor`` take by its type and shape; None for strings and types not known here.

    Raises:
        ModelError: when the shape is none.
    """
    if len(tensor.dims) > MOST_AXES or any(size < 0 for size in tensor.dims):
        what = "more than 64 axes" if len(tensor.dims) > MOST_AXES else "an axis of less than no elements"
        raise ModelError(f"The weight {tensor.name!r} has {what}; export the model again.")
    if tensor.data_type == TensorProto.STRING:
        return None
    if tensor.data_type in _BITS:
        return -(-math.prod(tensor.dims) * _BITS[tensor.data_type] // 8)
    try:
        return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        return None


def _entries(tensor: TensorProto) -> int:
    """Entries of the field that holds the values of ``tensor`` where they are no raw bytes."""
    count = math.prod(tensor.dims)
    if tensor.data_type in _BITS:
        return -(-count * _BITS[tensor.data_type] // 8)
    return count * 2 if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else count


def _messages(message: Message) -> Iterator[Message]:
    """``message`` and all that it holds; of tensors not the fields, lest weights be copied."""
    pending = [message]
    while pending:
        message = pending.pop()
        yield message
        if isinstance(message, TensorProto):
            pending.extend(message.external_data)
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                pending.extend(value if field.is_repeated else (value,))


def _check_text(message: Message) -> None:
    """Where text is no UTF-8, protobuf gives bytes in its place."""
    if isinstance(message, TensorProto):
        fields: list[tuple[str, Any]] = [("name", message.name), ("doc_string", message.doc_string)]
    else:
        fields = [(field.name, value) for field, value in message.ListFields() if field.type == field.TYPE_STRING]
    for name, value in fields:
        for text in (value,) if isinstance(value, str | bytes) else value:
            if not isinstance(text, str):
                raise ModelError(
                    f"The {name} {text[:50]!r} in a {message.DESCRIPTOR.name} is no UTF-8; export the model again."
                )


def _check_functions(model: onnx.ModelProto) -> None:
    if not model.functions:
        return
    functions = {_key(f.domain, f.name, f.overload): f for f in model.functions}
    calls: dict[Function, list[Function]] = {}
    written: dict[Function, int] = {}
    for key, function in functions.items():
        nodes = list(_nodes(onnx.GraphProto(node=function.node)))
        written[key] = len(nodes)
        calls[key] = [callee for node in nodes if (callee := _callee(node)) in functions]
    unfolded: dict[Function, int] = {}
    depth: dict[Function, int] = {}
    for key in _callees_first(calls):
        unfolded[key] = written[key] + sum(unfolded[callee] for callee in calls[key])
        depth[key] = 1 + max((depth[callee] for callee in calls[key]), default=0)
        if depth[key] > DEEPEST:
            raise ModelError(
                f"The functions below {key[1]!r} call one another more than {DEEPEST} deep; inline them when exporting."
            )
    nodes = list(_nodes(model.graph))
    total = len(nodes) + sum(unfolded.get(_callee(node), 0) for node in nodes)
    if total > max(MOST_UNFOLDED, _UNFOLDING * (len(nodes) + sum(written.values()))):
        raise ModelError(f"The model's functions unfold into {total:.3g} nodes; export the model without functions.")


def _key(domain: str, name: str, overload: str) -> Function:
    return ("" if domain == "ai.onnx" else domain, name, overload)


def _callee(node: onnx.NodeProto) -> Function:
    return _key(node.domain, node.op_type, node.overload)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for each in with_subgraphs(graph):
        yield from each.node


def _callees_first(calls: dict[Function, list[Function]]) -> Iterator[Function]:
    """The functions, each after those it calls."""
    done: set[Function] = set()
    open_: set[Function] = set()
    for start in calls:
        pending = [(start, False)]
        while pending:
            key, is_over = pending.pop()
            if is_over:
                open_.discard(key)
                done.add(key)
                yield key
            elif key not in done:
                if key in open_:
                    raise ModelError(
                        f"The function {key[1]!r} calls itself, which ONNX forbids; export the model again."
                    )
                open_.add(key)
                pending.append((key, True))
                pending.extend((callee, False) for callee in dict.fromkeys(calls[key]))
