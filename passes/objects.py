"""onnx-graphsurgeon's nodes and tensors, made without the detours of its constructors.

Half of the time that a pass takes on a large graph went there: each list was filled through overridden methods, each
field set through an overridden ``__setattr__``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.util.misc import SynchronizedList


class Tensor(gs.Variable):
    """A graphsurgeon tensor that is not connected to anything yet."""

    def __init__(self, name: str) -> None:
        self.__dict__.update(
            name=name,
            inputs=_connected(self, "outputs", ()),
            outputs=_connected(self, "inputs", ()),
            dtype=None,
            shape=None,
            type="tensor_type",
        )


class Node(gs.Node):
    """A graphsurgeon node that is only ever equal to itself and remembers the NodeProto it came from."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, source: onnx.NodeProto, inputs: Sequence[gs.Variable], outputs: Sequence[gs.Variable]) -> None:
        self.__dict__.update(
            source=source,
            op=source.op_type,
            name=source.name,
            domain=source.domain or None,
            attrs={},
            inputs=_connected(self, "outputs", inputs),
            outputs=_connected(self, "inputs", outputs),
        )


def _connected(owner: Any, field: str, elements: Sequence[Any]) -> SynchronizedList:
    """A list of ``owner``'s that keeps ``field`` of its elements in step."""
    made = SynchronizedList.__new__(SynchronizedList)
    made.parent_obj, made.field_name = owner, field
    list.extend(made, elements)
    for element in elements:
        list.append(element.__dict__[field], owner)
    return made
