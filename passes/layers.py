"""Weighted layers read as one array whatever their operator, and written back.

A layer gives ``y[o] = bias[o] + sum of weight[o, i] * x[i]`` over the input channels i of o's group and, where it
slides, the positions of its kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from passes.errors import ModelError
from passes.graph import QUANTISERS, Editor, Node, is_standard, label
from passes.operators import KEEPING
from passes.refusal import Refusal

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A weighted layer's numbers.

    Attributes:
        node: the node that multiplies.
        weight: float64 [O, I / groups, *kernel].
        bias: float64 [O].
        groups: blocks of channels that do not mix.
        dtype: what the node's weight is stored as.
    """

    node: Node
    weight: np.ndarray
    bias: np.ndarray
    groups: int
    dtype: np.dtype

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[1]) * self.groups


def need_weights(editor: Editor) -> None:
    """Raise a ModelError when the weights were not loaded."""
    for proto in editor.source.graph.initializer:
        if proto.data_location == TensorProto.EXTERNAL:
            raise ModelError(
                f"The weight {proto.name!r} lies in an external file; load the model with its external data."
            )


def constant(editor: Editor, tensor: gs.Variable) -> np.ndarray:
    """The value of a constant.

    Raises:
        Refusal: when it depends on the graph's inputs, or cannot be computed.
    """
    try:
        return editor.value(tensor)
    except ModelError as error:
        raise Refusal(str(error).rstrip(".")) from error


def per_channel(value: np.ndarray, rank: int, axis: int, channels: int) -> np.ndarray:
    """A constant that is added to or multiplied with a tensor of ``rank`` axes, as float64 [channels].

    Raises:
        Refusal: when broadcasting makes it more than one number a channel.
    """
    shape = (1,) * (rank - value.ndim) + value.shape
    if len(shape) != rank or any(d != 1 for i, d in enumerate(shape) if i != axis) or shape[axis] not in (1, channels):
        raise Refusal(f"a constant of shape {list(value.shape)} is not one number a channel")
    return np.broadcast_to(value.astype(np.float64).reshape(-1), (channels,)).copy()


def read_layer(editor: Editor, node: Node) -> Layer:
    """The numbers of a Conv, ConvTranspose, Gemm or MatMul whose first input is the data.

    Raises:
        Refusal: when it is none of these, or its weights are not constant.
    """
    if node.op not in LAYERS or not is_standard(node):
        raise Refusal(f"{label(node)} is no {', '.join(LAYERS[:-1])} or {LAYERS[-1]}")
    if all(is_rounded(editor, tensor) for tensor in node.inputs[:2]):
        raise Refusal(f"{label(node)} is quantised, and other weights would leave its grid")
    stored = constant(editor, node.inputs[1])
    if stored.dtype.kind not in "fV":  # bfloat16 is of kind V
        raise Refusal(f"the weight of {label(node)} is no floating-point tensor")
    groups = int(editor.attribute(node, "group", 1))
    if node.op == "Gemm":
        if editor.attribute(node, "transA", 0):
            raise Refusal(f"{label(node)} transposes its data")
        turned = stored if editor.attribute(node, "transB", 0) else stored.T
        weight = turned.astype(np.float64) * editor.attribute(node, "alpha", 1.0)
    elif node.op == "MatMul":
        if stored.ndim != 2:
            raise Refusal(f"the weight of {label(node)} is no matrix")
        weight = stored.T.astype(np.float64)
    else:
        weight = stored.astype(np.float64)
        if node.op == "ConvTranspose":
            weight = _turn(weight, groups)
    return Layer(node, weight, _bias(editor, node, len(weight)), groups, stored.dtype)


def is_rounded(editor: Editor, tensor: gs.Variable) -> bool:
    """Whether a quantiser makes the numbers of ``tensor``, be they picked or moved behind it."""
    maker = editor.producer(tensor)
    while maker is not None and maker.op in KEEPING and is_standard(maker):
        maker = editor.producer(maker.inputs[0])
    return maker is not None and maker.op in QUANTISERS


def _bias(editor: Editor, node: Node, outputs: int) -> np.ndarray:
    if node.op == "MatMul" or len(node.inputs) < 3 or not node.inputs[2].name:
        return np.zeros(outputs)
    value = constant(editor, node.inputs[2])
    if node.op != "Gemm":
        return value.astype(np.float64)
    return per_channel(value, 2, 1, outputs) * float(editor.attribute(node, "beta", 1.0))


def _turn(weight: np.ndarray, groups: int) -> np.ndarray:
    """[I, O / groups, *kernel] to [O, I / groups, *kernel], or back."""
    a, b, *kernel = weight.shape
    blocks = weight.reshape(groups, a // groups, b, *kernel).swapaxes(1, 2)
    return blocks.reshape(groups * b, a // groups, *kernel)


def cast(layer: Layer, value: np.ndarray) -> np.ndarray:
    """``value`` as the layer stores it.

    Raises:
        Refusal: when it is too large for that type.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        stored = value.astype(layer.dtype)
    if not np.isfinite(stored).all():
        raise Refusal(f"the weights of {label(layer.node)} would not fit into {layer.dtype}")
    return stored


def write_layer(
    editor: Editor, layer: Layer, weight: np.ndarray, bias: np.ndarray, output: gs.Variable, groups: int | None = None
) -> None:
    """Give the layer these numbers and let it make ``output``; a weight that others read as well is copied.

    Args:
        weight: float64 [O, I / groups, *kernel], of any O and I.
        bias: float64 [O].
        output: loses the node that made it so far; the caller takes out what nobody reads any more.
        groups: the layer's own, if not given.

    Raises:
        Refusal: before any edit, when the numbers do not fit the layer's type.
    """
    node, groups = layer.node, layer.groups if groups is None else groups
    values, shift = cast(layer, weight), cast(layer, bias)
    if node.op == "ConvTranspose":
        values = _turn(values, groups)
    elif node.op == "MatMul" or (node.op == "Gemm" and not editor.attribute(node, "transB", 0)):
        values = values.T
    base = node.name or node.outputs[0].name
    if node.op == "Gemm":
        for factor in ("alpha", "beta"):
            if editor.attribute(node, factor, 1.0) != 1:
                editor.set_attribute(node, factor, 1.0)
    elif groups != layer.groups:
        editor.set_attribute(node, "group", groups)
    editor.set_weight(node, 1, values, f"{base}_weight")
    if node.op == "MatMul":
        _write_sum(editor, node, shift, output, base)
        return
    if shift.any() or (len(node.inputs) > 2 and node.inputs[2].name):
        editor.set_weight(node, 2, shift, f"{base}_bias")
    if node.outputs[0] is not output:
        editor.set_output(node, output)


def bias_add(editor: Editor, product: gs.Variable) -> tuple[Node, int] | None:
    """The Add that alone reads ``product`` and adds a constant to it, and which of its inputs the constant is."""
    readers = editor.consumers(product)
    if not editor.is_private(product) or readers[0].op != "Add" or not is_standard(readers[0]):
        return None
    slot = 1 if readers[0].inputs[0] is product else 0
    try:
        editor.value(readers[0].inputs[slot])
    except ModelError:
        return None
    return readers[0], slot


def _write_sum(editor: Editor, node: Node, bias: np.ndarray, output: gs.Variable, base: str) -> None:
    """Let a MatMul and, where the bias is not zero, an Add behind it make ``output``."""
    product = node.outputs[0]
    if not bias.any():
        if product is not output:
            editor.set_output(node, output)
        return
    if product is output:
        product = editor.tensor(editor.fresh(f"{base}_product"))
        editor.set_output(node, product)
    added = bias_add(editor, product)
    if added is None:
        editor.release(output)
        shift = editor.add_constant(f"{base}_bias", bias)
        editor.add_node("Add", [product, shift], f"{base}_add", after=node, output=output)
        return
    editor.set_weight(*added, bias, f"{base}_bias")
    if added[0].outputs[0] is not output:
        editor.set_output(added[0], output)
