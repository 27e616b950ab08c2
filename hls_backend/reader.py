"""Quantised graphs of any dialect, read into one: QONNX quantisers among standard operators, constants folded."""

from __future__ import annotations

import re
from collections.abc import Container

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hls_backend.errors import LoweringError
from passes.constants import FoldConstants
from passes.errors import ModelError
from passes.graph import Editor, Node, attributes, is_standard, label
from passes.inline import InlineFunctions
from passes.protobufs import read_value, type_name

QUANTISERS = frozenset({"Quant", "IntQuant", "BipolarQuant", "Trunc", "MultiThreshold"})
"""QONNX's and FINN's integer quantisers, in whatever domain (``onnx.brevitas``, ``qonnx.custom_op.general``)."""

_INTEGER_TYPE = re.compile(r"BIPOLAR|BINARY|(?P<unsigned>U)?INT(?P<bits>\d{1,2})")
_QONNX = "qonnx.custom_op.general"
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_HALF = (
    "it is no half of a pair that quantises",
    "give it constant scales and zero points, equal to those of its counterpart",
)
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
    editor = Editor(_with_typed_input(_without_shapes(FoldConstants().apply(model).model)))
    for node in editor.nodes:
        if node.op in _INTEGER_OPERATORS:
            remedy = "export the network in QDQ format, with QuantizeLinear and DequantizeLinear around float operators"
            raise LoweringError(label(node), "it computes in integers by itself", remedy)
    for node in editor.nodes:
        if node.op in _QDQ:
            raise LoweringError(label(node), *_HALF)
        if node.op == "FloatQuant":
            raise LoweringError(label(node), "it rounds to floats", "quantise to integers")
    if not any(node.op in QUANTISERS for node in editor.nodes):
        raise ModelError("The model holds floats only, no quantisers; quantise it first: `graphops quantize`.")
    return editor


def _without_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with shapes computed once, for one image, and reshapes that take any number of images."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    weights = {i.name for i in single.graph.initializer}
    for value in single.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in weights and dims and dims[0].dim_value < 1:
            dims[0].dim_value = 1
    editor = Editor(single)
    for node in [n for n in editor.nodes if n.op == "Shape" and is_standard(n)]:
        shape, found = editor.shape(node.inputs[0]), attributes(node)
        sizes = (None,) if shape is None else shape[found.get("start") : found.get("end")]
        if all(isinstance(size, int) for size in sizes):
            editor.become_constant(node.outputs[0], np.array(sizes, np.int64))
    editor = Editor(FoldConstants().apply(editor.finish()[0]).model)
    for node in [n for n in editor.nodes if n.op == "Reshape" and is_standard(n)]:
        tensor, first = node.inputs[1], (editor.shape(node.inputs[0]) or ())[:1]
        target = editor.value(tensor).tolist() if editor.is_initializer(tensor) else []
        if target[:1] == list(first) and len(target) > 1 and 0 not in target:  # a constant's stays as it is by that
            if editor.attribute(node, "allowzero"):  # PyTorch sets it everywhere
                editor.set_attribute(node, "allowzero", 0)
            editor.set_weight(node, 1, np.array([0, *target[1:]], np.int64), f"{tensor.name}_any_batch")
    return editor.finish()[0]


def _with_typed_input(model: onnx.ModelProto) -> onnx.ModelProto:
    """An input that an annotation says to hold integers goes through a quantiser that says the same."""
    editor = Editor(model)
    types = {
        a.tensor_name: p.value
        for a in model.graph.quantization_annotation
        for p in a.quant_parameter_tensor_names
        if p.key == "finn_datatype"
    }
    for name in editor.inputs:
        tensor, found = editor.tensor(name), _INTEGER_TYPE.fullmatch(types.get(name, ""))
        readers = editor.consumers(tensor)
        if found is None or not readers or any(reader.op in QUANTISERS for reader in readers):
            continue
        signed, bits = found["unsigned"] is None, int(found["bits"] or 1)
        one, zero, width = (
            editor.add_constant(f"{name}_{what}", np.array(value, np.float32))
            for what, value in (("step", 1), ("zero", 0), ("bits", bits))
        )
        if found[0] == "BIPOLAR":
            made = editor.add_node("BipolarQuant", [tensor, one], f"{name}_typed", before=readers[0], domain=_QONNX)
        else:
            made = editor.add_node(
                "Quant",
                [tensor, one, zero, width],
                f"{name}_typed",
                before=readers[0],
                domain=_QONNX,
                signed=int(signed and found[0] != "BINARY"),
                narrow=0,
                rounding_mode="ROUND",
            )
        for reader in readers:
            for slot, read_tensor in enumerate(reader.inputs):
                if read_tensor.name == name:
                    editor.set_input(reader, slot, made)
    return editor.finish()[0]


def _from_qdq(model: onnx.ModelProto) -> onnx.ModelProto:
    """QuantizeLinear and DequantizeLinear as Quant: constants here, pairs by qonnx."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant

    explicit = _with_initialisers(model)
    _quantise_constants(explicit)
    values = {i.name: i for i in explicit.graph.initializer}
    for node in explicit.graph.node:
        if node.op_type in _QDQ and len(node.input) == 2:
            kind = next((a.i for a in node.attribute if a.name == "output_dtype"), 0) or TensorProto.UINT8
            zeros = np.zeros(values[node.input[1]].dims, helper.tensor_dtype_to_np_dtype(kind))
            zero = numpy_helper.from_array(zeros, f"{node.output[0]}_zero")
            explicit.graph.initializer.append(zero)
            node.input.append(zero.name)
    inferred = onnx.shape_inference.infer_shapes(explicit)
    converted: onnx.ModelProto = ModelWrapper(inferred).transform(QCDQToQuant()).model
    return converted


def _with_initialisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy as qonnx takes it: constants are initialisers and no inputs, and no tensor is dequantised twice alike."""
    editor = Editor(model)
    for node in [n for n in editor.nodes if n.op == "Constant" and n.outputs[0].name not in editor.outputs]:
        editor.become_constant(node.outputs[0], editor.value(node.outputs[0]))
    _check_integers(editor)
    _merge_dequantisers(editor)
    explicit = editor.finish()[0]
    weights = {i.name for i in explicit.graph.initializer}
    inputs = [v for v in explicit.graph.input if v.name not in weights]
    del explicit.graph.input[:]
    explicit.graph.input.extend(inputs)
    return explicit


def _check_integers(editor: Editor) -> None:
    """Raises LoweringError for integers that qonnx takes for others, or for none: of few bits, or clipped oddly."""
    for node in [n for n in editor.nodes if n.op == "QuantizeLinear" and is_standard(n)]:
        kind = type_name(editor.element_type(node.outputs[0]) or TensorProto.UINT8)
        if not re.fullmatch(r"u?int(8|16|32)", kind):
            raise LoweringError(label(node), f"it makes {kind}", "quantise to int8 or uint8, with a Clip to fewer bits")
        for clip in [n for n in editor.consumers(node.outputs[0]) if n.op == "Clip"]:
            bounds = [editor.value(t).item() for t in clip.inputs[1:] if editor.is_initializer(t)]
            low, high = bounds if len(bounds) == 2 else (0, 0)
            most = 2 ** ((high - low).bit_length() - (kind[0] == "i")) - 1
            if high != most or high < 1 or low not in ((0,) if kind[0] == "u" else (-high, -high - 1)):
                reason = f"it clips {kind} to {low} to {high}" if len(bounds) == 2 else "it has no two bounds"
                raise LoweringError(label(clip), reason, "clip to the least and the greatest integer of so many bits")


def _merge_dequantisers(editor: Editor) -> None:
    """One DequantizeLinear in place of several that do the same: qonnx takes away the QuantizeLinear with the first.

    Raises:
        LoweringError: when two do not do the same with what a node makes.
    """
    found: dict[tuple[object, ...], Node] = {}
    firsts: dict[str, Node] = {}
    for node in [n for n in editor.nodes if n.op == "DequantizeLinear" and is_standard(n)]:
        parameters = [editor.value(t).tobytes() if editor.is_initializer(t) else t.name for t in node.inputs[1:]]
        first = found.setdefault((node.inputs[0].name, *parameters, *attributes(node).items()), node)
        if first is not node:
            editor.redirect(node.outputs[0], first.outputs[0])
            editor.remove(node)
        elif firsts.setdefault(node.inputs[0].name, node) is not node and editor.producer(node.inputs[0]) is not None:
            raise LoweringError(label(node), *_HALF)


def _quantise_constants(model: onnx.ModelProto) -> None:
    """Each DequantizeLinear of a constant becomes a Quant of the float constant; of 32 bits, that constant.

    (qonnx 1.0 does not broadcast the scales of channels there.)
    """
    graph = model.graph
    values = {i.name: i for i in graph.initializer}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or not all(name in values for name in node.input):
            continue
        stored = values[node.input[0]]
        kind = type_name(stored.data_type)  # e.g. uint4
        if not re.fullmatch(r"u?int\d+", kind):
            raise ModelError(f"The weights {stored.name!r} are {kind}; quantised weights are integers.")
        integers = read_value(stored).astype(np.int64)
        scale = numpy_helper.to_array(values[node.input[1]]).astype(np.float32)
        zero = numpy_helper.to_array(values[node.input[2]]).astype(np.float32) if len(node.input) > 2 else np.float32(0)
        found = {a.name: a.i for a in node.attribute}
        axis, block = found.get("axis", 1), found.get("block_size", 0)
        if block:
            sizes = range(integers.shape[axis])
            scale = scale.repeat(block, axis).take(sizes, axis)
            zero = zero.repeat(block, axis).take(sizes, axis) if zero.ndim else zero
        elif scale.size > 1:
            shape = [-1 if i == axis % integers.ndim else 1 for i in range(integers.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.size > 1 else zero
        bits, name = int(kind.lstrip("uint")), node.output[0]
        floats = ((integers - zero) * scale).astype(np.float32)
        if bits < 32:
            parts = {"float": floats, "scale": scale, "zero": zero, "bits": np.float32(bits)}
            constants = {_fresh(f"{name}_{part}", values): np.asarray(value) for part, value in parts.items()}
            signed = int(kind[0] == "i")
            node.CopyFrom(
                helper.make_node("Quant", list(constants), [name], node.name, None, _QONNX, signed=signed, narrow=0)
            )
        else:
            constants = {name: floats}
            node.ClearField("output")
        graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items())
    kept = [node for node in graph.node if node.output]
    del graph.node[:]
    graph.node.extend(kept)
    if _QONNX not in {o.domain for o in model.opset_import}:
        model.opset_import.add(domain=_QONNX, version=1)


def _fresh(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name
