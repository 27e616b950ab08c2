"""Quantised graphs of any dialect, read into one: QONNX quantisers among standard operators, constants folded."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from hls_backend.errors import LoweringError
from passes.constants import FoldConstants
from passes.errors import ModelError
from passes.graph import Editor, label
from passes.inline import InlineFunctions

QUANTISERS = frozenset({"Quant", "IntQuant", "BipolarQuant", "Trunc"})
"""QONNX's integer quantisers, in whatever domain (``onnx.brevitas``, ``qonnx.custom_op.general``)."""

_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_INTEGER_OPERATORS = frozenset("QLinearConv QLinearMatMul ConvInteger MatMulInteger QLinearAdd QGemm".split())


def read(model: onnx.ModelProto) -> Editor:
    """``model`` with functions inlined, QDQ pairs as Quant and constants folded, ready to be walked.

    Raises:
        ModelError: when weights are missing or shapes cannot be inferred.
        LoweringError: when quantisation is written in a way that no conversion knows.
    """
    model = InlineFunctions().apply(model).model
    if any(node.op_type in _QDQ for node in model.graph.node):
        model = _from_qdq(model)
    editor = Editor(FoldConstants().apply(model).model)
    for node in editor.nodes:
        if node.op in _INTEGER_OPERATORS:
            remedy = "export the network in QDQ format, with QuantizeLinear and DequantizeLinear around float operators"
            raise LoweringError(label(node), "it computes in integers by itself", remedy)
        if node.op in _QDQ:
            remedy = "give it constant scales and zero points, equal to those of its counterpart"
            raise LoweringError(label(node), "it is no half of a pair that quantises", remedy)
        if node.op == "FloatQuant":
            raise LoweringError(label(node), "it rounds to floats", "quantise to integers")
    if not any(node.op in QUANTISERS for node in editor.nodes):
        raise ModelError("The model holds floats only, no quantisers; quantise it first: `graphops quantize`.")
    return editor


def _from_qdq(model: onnx.ModelProto) -> onnx.ModelProto:
    """QuantizeLinear and DequantizeLinear pairs as Quant, by qonnx."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant

    explicit = onnx.ModelProto()
    explicit.CopyFrom(model)
    values = {i.name: i for i in explicit.graph.initializer}
    for node in explicit.graph.node:
        if node.op_type in _QDQ and len(node.input) == 2:
            zero = numpy_helper.from_array(np.zeros(values[node.input[1]].dims, _zero_type(values, node)))
            zero.name = f"{node.output[0]}_zero_point"
            explicit.graph.initializer.append(zero)
            node.input.append(zero.name)
    inferred = onnx.shape_inference.infer_shapes(explicit)
    typed = {v.name for v in inferred.graph.value_info}
    for name, tensor in values.items():  # qonnx reads a constant's type from its value_info
        if name not in typed:
            inferred.graph.value_info.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    converted: onnx.ModelProto = ModelWrapper(inferred).transform(QCDQToQuant()).model
    return converted


def _zero_type(values: dict[str, onnx.TensorProto], node: onnx.NodeProto) -> np.dtype:
    """What an omitted zero point is: unsigned bytes, or the type of the constant that is dequantised."""
    if node.op_type == "DequantizeLinear" and node.input[0] in values:
        return onnx.helper.tensor_dtype_to_np_dtype(values[node.input[0]].data_type)
    return np.dtype(np.uint8)
