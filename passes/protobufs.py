"""Reading and copying ONNX's protobufs without touching a weight."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from passes.errors import ModelError, WeightElsewhereError

VALUE_FIELDS = {f.name for f in onnx.TensorProto.DESCRIPTOR.fields} - {"doc_string", "metadata_props"}
"""The fields of a TensorProto that hold its name, its type or its values."""

# Tensors with more elements than this cannot be a shape, a pad or a slice bound: shape inference does without them.
_SMALL = 1024

_MAY_HOLD_GRAPHS = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS, onnx.AttributeProto.UNDEFINED}


def typed(proto: onnx.TensorProto, name: str = "") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name or proto.name, proto.data_type, list(proto.dims))


def is_big(proto: onnx.TensorProto) -> bool:
    return math.prod(proto.dims) > _SMALL or proto.data_location == onnx.TensorProto.EXTERNAL


def in_memory(proto: onnx.TensorProto) -> onnx.TensorProto:
    """``proto``, which must not leave its values in another file."""
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        raise WeightElsewhereError(
            f"The weight {proto.name!r} lies in an external file; load the model with its external data."
        )
    return proto


def read_value(proto: onnx.TensorProto) -> np.ndarray:
    """The values of a tensor in memory."""
    if proto.data_type not in TensorProto.DataType.values():
        raise ModelError(f"The weight {proto.name!r} is of a type that ONNX does not have, {proto.data_type}.")
    try:
        return np.asarray(numpy_helper.to_array(in_memory(proto)))
    except (ValueError, TypeError) as error:
        raise ModelError(f"The weight {proto.name!r} cannot be read: {str(error).rstrip('.')}.") from error


def type_name(kind: int) -> str:
    """How a tensor's element type is called, whatever number a file gives for it."""
    return TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else f"type {kind}"


def graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """The subgraphs that an attribute holds."""
    if attribute.type not in _MAY_HOLD_GRAPHS:
        return []
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def with_subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    pending = [graph]
    while pending:
        graph = pending.pop()
        yield graph
        pending.extend(g for node in graph.node for a in node.attribute for g in graphs(a))


def names_read(graph: onnx.GraphProto) -> set[str]:
    """What a graph, with its own subgraphs, reads from outside itself."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in graphs(attribute):
                read |= names_read(inner)
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    made |= {i.name for i in graph.initializer} | {i.values.name for i in graph.sparse_initializer}
    return read - made - {""}


def names_in(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name in a subgraph, so that a new one can be none of them."""
    for each in with_subgraphs(graph):
        for node in each.node:
            yield node.name
            yield from node.output
        for named in [*each.input, *each.initializer, *each.value_info]:
            yield named.name


def names_trained(model: onnx.ModelProto) -> Iterator[str]:
    """What the training information, ONNX's own, reads of the graph."""
    for info in model.training_info:
        for binding in [*info.initialization_binding, *info.update_binding]:
            yield binding.key
        for graph in (info.initialization, info.algorithm):
            yield from names_read(graph)


def copy_fields(source: Any, target: Any, leave: set[str]) -> None:
    """Copy every field that ``source`` has set, also those a newer onnx has added, but those in ``leave``."""
    for field, value in source.ListFields():
        if field.name in leave:
            continue
        kept = getattr(target, field.name)
        if hasattr(kept, "MergeFrom"):
            kept.MergeFrom(value)
        else:
            setattr(target, field.name, value)
