"""Shapes and types, by onnx's own inference."""

from __future__ import annotations

import onnx

from passes.errors import ModelError
from passes.operators import DEFAULT_DOMAINS, QUANTISERS
from passes.protobufs import typed


def infer_types(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Shapes and types of every tensor that onnx can infer, quantisers taken for the identity."""
    for node in model.graph.node:
        if node.op_type in QUANTISERS and node.domain not in DEFAULT_DOMAINS:
            node.op_type, node.domain = "Identity", ""
            del node.input[1:], node.attribute[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:
        raise ModelError(f"The shapes of this model cannot be inferred: {str(error).splitlines()[0]}.") from error
    types = {i.name: typed(i) for i in inferred.initializer}
    for value in [*inferred.input, *inferred.output, *inferred.value_info]:
        types[value.name] = value
    return types
