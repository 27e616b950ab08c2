"""What leaves the dataflow: integers with a scale, or the class."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from hls_backend.datatypes import least
from hls_backend.errors import LoweringError
from hls_backend.layers import ChannelwiseOp, LabelSelect
from hls_backend.lowering.pooling import pool_now
from hls_backend.lowering.state import State, uniform
from hls_backend.lowering.wire import Numbers, Value, Wire
from passes.graph import Node, attributes, label

TERMINAL = frozenset({"Softmax", "LogSoftmax", "ArgMax", "TopK"})
"""Operators that change nothing about which class wins, or say which."""


def terminal(state: State, node: Node) -> Value:
    """A Softmax, ArgMax or TopK of one at the end of the graph."""
    value, found = state.value(node, 0), attributes(node)
    read = [t for t in node.outputs if t.name and not state.editor.consumers(t)]
    if len(read) != len([t for t in node.outputs if t.name]):
        raise LoweringError(label(node), "something reads its output", "let it be the last node")
    rank = len(value.layout.axes)
    axis = found.get("axis", 0 if node.op == "ArgMax" else -1) % rank
    picks = node.op == "TopK" and (
        state.editor.value(node.inputs[1]).reshape(-1).tolist() != [1] or node.outputs[0].name in state.editor.outputs
    )
    if rank != 2 or axis != 1 or picks or found.get("select_last_index", 0) or not found.get("largest", 1):
        raise LoweringError(label(node), "it does more than pick the class of the largest output", "take it off")
    for tensor in read:
        state.terminal[tensor.name] = node.op
        state.values[tensor.name] = value
    return value


def output(state: State, name: str, classify: bool) -> Wire:
    """The wire that leaves as the graph's output ``name``: the class, if that is wanted and can be had.

    Raises:
        LoweringError: when the output is a float that no integer stands for.
    """
    operator, value = state.terminal.get(name), state.values[name]
    alone = value.private and not state.editor.consumers(state.editor.tensor(name))
    value = pool_now(state, replace(value, private=alone))
    affine = value.affine()
    if affine is None:
        last = value.pieces[-1].nodes[-1]
        raise LoweringError(
            label(last), "it makes a float after the last quantiser", "put a Quant after it, or drop it"
        )
    wire = value.wire
    if value.steps or not wire.tensor:  # a pooling's wire has no tensor
        if wire.tensor in state.judges:
            state.judges[value.tensor] = state.judges[wire.tensor]
        wire = wire.read_as(value.tensor, *affine)
    reason = _no_classes(value) if classify else "its input is wanted as it is"
    comparable = None if reason else _comparable(state, wire, value)
    if not reason and comparable is None:
        reason = "its input's scales differ between classes"
        state.notes.append(
            f"The scales of {name!r} differ between classes, so the host compares scaled integers and there is no "
            "LabelSelect; a classifier with one weight scale would have one."
        )
    if comparable is None:
        if operator in ("ArgMax", "TopK"):
            raise LoweringError(f"{operator} that makes {name!r}", reason, "take it off")
        return wire
    layer = LabelSelect(state.builder.name("label"), value.channels, comparable.type)
    state.logits[layer.name] = value.tensor
    numbers = Numbers(np.zeros(1, np.int64), np.full(1, value.channels - 1), np.ones(1), np.zeros(1))
    return state.builder.add(layer, [comparable], numbers, f"{name}_class")


def _no_classes(value: Value) -> str:
    """Why ``value`` does not hold one number a class; empty where it does."""
    if value.shape[:2] != (1, 1):
        return "its input is a flattened image, and a class is one channel of one pixel"
    if len(value.layout.axes) != 2:
        return "its input is no vector"
    return "its input is of one class" if value.channels < 2 else ""


def _comparable(state: State, wire: Wire, value: Value) -> Wire | None:
    """Integers in the order of the values, ties included; None where their scales differ.

    Values are ``scale * (q + r)`` with one r a channel. Where all r are whole, they are added. Else, with m at least
    the number of different fractions of r, ``m * q + m * floor(r) + rank(fraction)`` is in the same order: between two
    channels whole parts differ by a multiple of m, and ranks by less than m.
    """
    one = uniform(wire.numbers.scale)
    if one is None or one == 0:
        return None
    if one < 0:
        wire = state.builder.flip(wire, np.full(value.channels, -1), value.private)
        one = -one
    r = wire.numbers.bias / one
    whole = np.round(r)
    if (np.abs(r - whole) <= 2**-20 * np.maximum(1, np.abs(r))).all():
        if (whole == whole[0]).all():
            return wire
        return _constant(state, wire, "add", whole.astype(np.int64))
    fractions, rank = np.unique(r - np.floor(r), return_inverse=True)
    factor = 1 << (len(fractions) - 1).bit_length()
    wire = _constant(state, wire, "mul", np.full(value.channels, factor))
    return _constant(state, wire, "add", (factor * np.floor(r) + rank).astype(np.int64))


def _constant(state: State, wire: Wire, function: Literal["add", "mul"], by: np.ndarray) -> Wire:
    own = wire.numbers
    if function == "add":
        numbers = Numbers(own.low + by, own.high + by, own.scale, own.bias - own.scale * by)
    else:
        numbers = Numbers(own.low * by, own.high * by, own.scale / by, own.bias)
    name = state.builder.name(f"{wire.name}_{function}")
    layer = ChannelwiseOp(name, (1, 1), function, by, wire.type, least(*numbers.span))
    return state.builder.add(layer, [wire], numbers)
