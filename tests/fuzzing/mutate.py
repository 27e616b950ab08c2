"""Mutations that know protobuf: every message and field of a model, found by reflection, is dropped, doubled, swapped,
moved, taken from another model or given a value nobody expects."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

INTEGERS = (
    *(0, 1, -1, 2, 3, 4, 7, 16, 100, 1000, -2, -100),
    *(2**20, 2**31 - 1, 2**31, -(2**31), 2**32, 2**33, 2**40, 2**62, 2**63 - 1, -(2**63)),
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-38, 3.4e38, float("inf"), float("-inf"), float("nan"), 0.5, 1e10)

# Bytes that one mutation may add: fifty copies of a whole graph would be more than a worker's memory.
_ROOM = 2**24

_INTEGRAL = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
_UNSIGNED = {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
_FLOATING = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def mutated(
    rng: random.Random, model: onnx.ModelProto, donor: onnx.ModelProto, outside: Path
) -> tuple[onnx.ModelProto, str]:
    """A copy of ``model`` after one to five mutations, and which they were.

    Args:
        donor: a model from which parts are taken.
        outside: a folder that names may point to.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    story = [_once(rng, result, donor, outside) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5)))]
    return result, ", ".join(story)


def _once(rng: random.Random, model: onnx.ModelProto, donor: onnx.ModelProto, outside: Path) -> str:
    message = rng.choice(_favoured(rng, list(messages(model))))
    fields = message.DESCRIPTOR.fields
    used = [field for field, _ in message.ListFields()]
    field = rng.choice(used if used and rng.random() < 0.8 else fields)
    where = f"{message.DESCRIPTOR.name}.{field.name}"
    if field.is_repeated:
        return f"{where} {_repeated(rng, getattr(message, field.name), field, model, donor, outside)}"
    if rng.random() < 0.15:
        message.ClearField(field.name)
        return f"{where} cleared"
    if field.message_type is not None:
        other = rng.choice([m for m in messages(donor) if field.message_type == m.DESCRIPTOR] or [None])
        if other is not None:
            copied = type(other)()
            copied.CopyFrom(other)
            getattr(message, field.name).CopyFrom(copied)
        return f"{where} taken from another model"
    value = hostile(rng, field, model, outside)
    setattr(message, field.name, value)
    return f"{where} = {_short(value)}"


def _favoured(rng: random.Random, found: list[Message]) -> list[Message]:
    """Mostly a message of a kind drawn first, since most of a model's messages are dimensions and weights."""
    if rng.random() < 0.2:
        return found
    kind = rng.choice(sorted({m.DESCRIPTOR.name for m in found}))
    return [m for m in found if m.DESCRIPTOR.name == kind]


def _repeated(
    rng: random.Random,
    values: Any,
    field: FieldDescriptor,
    model: onnx.ModelProto,
    donor: onnx.ModelProto,
    outside: Path,
) -> str:
    count = len(values)
    way = rng.choice(("drop", "double", "swap", "new", "set", "clear", "many") if count else ("new", "many"))
    at = rng.randrange(count) if count else 0
    is_message = field.message_type is not None
    if way == "drop":
        del values[at]
    elif way == "clear":
        del values[:]
    elif way == "double":
        _append(values, values[at])
    elif way == "swap":
        order = list(range(count))
        if rng.random() < 0.5:
            rng.shuffle(order)
        else:
            other = rng.randrange(count)
            order[at], order[other] = order[other], order[at]
        kept = [_copy(values[i]) for i in order]
        del values[:]
        for value in kept:
            _append(values, value)
    elif is_message:
        pool = [m for source in (model, donor) for m in messages(source) if field.message_type == m.DESCRIPTOR]
        room = _ROOM
        for _ in range(rng.choice((2, 50)) if way == "many" else 1):
            chosen = rng.choice(pool) if pool else None
            room -= chosen.ByteSize() if chosen is not None else 0
            if room < 0:
                break
            if chosen is None:
                values.add()
            elif way == "set" and count:
                values[at].CopyFrom(_copy(chosen))
            else:
                _append(values, chosen)
    elif way == "many":
        values.extend([hostile(rng, field, model, outside)] * rng.choice((2, 50, 5000)))
    else:
        value = hostile(rng, field, model, outside)
        if way == "set" and count:
            values[at] = value
        else:
            values.append(value)
        return f"{way} {_short(value)}"
    return f"{way} [{at}]"


def _append(values: Any, value: Any) -> None:
    value = _copy(value)
    if isinstance(value, Message):
        values.add().CopyFrom(value)
    else:
        values.append(value)


def _copy(value: Any) -> Any:
    if not isinstance(value, Message):
        return value
    copied = type(value)()
    copied.CopyFrom(value)
    return copied


def messages(message: Message) -> Iterator[Message]:
    """``message`` and all that it holds."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in value if field.is_repeated else (value,):
            yield from messages(inner)


def hostile(rng: random.Random, field: FieldDescriptor, model: onnx.ModelProto, outside: Path) -> Any:
    """A value of the field's type that nobody expects."""
    if field.enum_type is not None:
        return rng.choice([value.number for value in field.enum_type.values])
    if field.cpp_type in _INTEGRAL | _UNSIGNED:
        low, high = (-(2**31), 2**31 - 1) if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else (-(2**63), 2**63 - 1)
        low = 0 if field.cpp_type in _UNSIGNED else low
        return min(max(rng.choice(INTEGERS), low), high)
    if field.cpp_type in _FLOATING:
        return rng.choice(FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice((b"", b"\0", b"\xff" * 7, rng.randbytes(64), b"SAME_UPPER", b"\xff\xfe", b"0" * 100_000))
    return text(rng, model, outside)


def text(rng: random.Random, model: onnx.ModelProto, outside: Path) -> str:
    """A name that exists already, or one that is hard to print, to find or to bear."""
    if rng.random() < 0.6:
        return rng.choice(_names(model) or [""])
    return rng.choice(_TEXTS)(rng, outside)


def _names(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    found = [name for node in graph.node for name in (*node.input, *node.output, node.name, node.op_type, node.domain)]
    found += [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    return found + [f.name for f in model.functions]


_TEXTS: tuple[Callable[[random.Random, Path], str], ...] = (
    lambda rng, outside: "",
    lambda rng, outside: "nowhere",
    lambda rng, outside: rng.choice(("[/red]", "[bold", "[[", "[/]", "{0}", "%s%n", "\\", "'", '"', "a b")),
    lambda rng, outside: rng.choice(
        ("\x1b[2J\x1b]0;x\x07", "a\nb", "a\r\nTraceback", "\0", "\x7f", "\u202e", "\ufeff")
    ),
    lambda rng, outside: rng.choice(("é" * 50, "日本語", "\U0001f600", "a\u0300" * 20)),
    lambda rng, outside: rng.choice(("x", "/", "é")) * rng.choice((1000, 100_000, 1_000_000)),
    lambda rng, outside: rng.choice(
        ("../outside/secret.bin", str(outside / "secret.bin"), "../secret.bin", "..", ".", "/")
    ),
    lambda rng, outside: rng.choice(_OPERATORS),
)

_OPERATORS = tuple(
    sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
    + ["Quant", "BipolarQuant", "Trunc", "Add", "Sum", "Conv", "MatMul"] * 5
)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else f"{shown[:40]}... ({len(shown)} characters)"
