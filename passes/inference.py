"""Shapes and types, by onnx's own inference."""

from __future__ import annotations

import onnx

from passes.errors import ModelError
from passes.operators import DEFAULT_DOMAINS, QUANTISERS
from passes.protobufs import typed

# What onnxruntime's operators on integers do to shapes: the operator of ONNX that does so, and where the data are.
_INTEGER = {
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QGemm": ("Gemm", (0, 3)),
}


def infer_types(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Shapes and types of every tensor that onnx can infer, quantisers taken for the identity; edits ``model``."""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:  # some exporters write -1 for any size, and onnx would go on counting from there
                dim.Clear()
    version = next((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), 0)
    for named in [*model.opset_import, *model.graph.node]:
        if named.domain == "ai.onnx":
            named.domain = ""  # onnx knows no operators by the other name
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain == "com.microsoft" and version >= 10:
            node.domain = ""  # it differs from ONNX's, which is of opset 10, in the types that it takes
        elif node.op_type in QUANTISERS and node.domain not in DEFAULT_DOMAINS:
            node.op_type, node.domain = "Identity", ""
            del node.input[1:], node.attribute[:]
        elif node.op_type in _INTEGER and node.domain == "com.microsoft":
            _as_real(node)
    if 5 <= version < 14:
        _with_known_targets(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:
        raise ModelError(f"The shapes of this model cannot be inferred: {str(error).splitlines()[0]}.") from error
    types = {i.name: typed(i) for i in inferred.initializer}
    for value in [*inferred.input, *inferred.output, *inferred.value_info]:
        types[value.name] = value
    return types


_RESHAPE = onnx.helper.make_function(
    "graphops.shapes",
    "Reshape",
    ["data", "shape"],
    ["reshaped"],
    [onnx.helper.make_node("Reshape", ["data", "shape"], ["reshaped"])],
    [onnx.helper.make_opsetid("", 14)],
)


def _with_known_targets(model: onnx.ModelProto) -> None:
    """Let every Reshape, in place, be that of opset 14: for older ones onnx follows no shape that is computed."""
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.domain in DEFAULT_DOMAINS:
            node.domain = _RESHAPE.domain
    model.functions.append(_RESHAPE)
    model.opset_import.append(onnx.helper.make_opsetid(_RESHAPE.domain, 1))


def _as_real(node: onnx.NodeProto) -> None:
    """Make of an operator on integers, in place, one whose shapes onnx can infer."""
    if any(a.name == "channels_last" and a.i for a in node.attribute):
        return
    node.op_type, places = _INTEGER[node.op_type]
    node.domain = ""
    node.input[:] = [node.input[place] for place in places]
    for attribute in [a for a in node.attribute if node.op_type == "Identity" or a.name in ("alpha", "channels_last")]:
        node.attribute.remove(attribute)
