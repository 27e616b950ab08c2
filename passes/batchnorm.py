"""Folding batch normalisation into the layer before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from passes.base import Pass, register
from passes.graph import Editor, Node, is_standard, label
from passes.layers import LAYERS, Layer, bias_add, constant, need_weights, per_channel, read_layer, write_layer
from passes.refusal import Refusal


@register
@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Folds each BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it. Exact.

    What the BatchNormalization made, the layer makes under the same name; an Add of a constant between the two goes
    as well. One that normalises by the batch (training), or whose layer is read by others, stays and is noted.
    """

    name: ClassVar[str] = "fold-batchnorm"
    exact: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def rewrite(self, editor: Editor) -> list[str]:
        need_weights(editor)
        return fold_batchnorms(editor)


def fold_batchnorms(editor: Editor) -> list[str]:
    """Fold what can be folded; a note for each that stays."""
    notes = []
    for node in editor.nodes:
        if node.op == "BatchNormalization" and is_standard(node):
            try:
                _fold(editor, node)
            except Refusal as refusal:
                notes.append(f"{label(node)} stays: {refusal.reason}.")
    return notes


def scale_and_shift(editor: Editor, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """The two float64 vectors [C] by which a BatchNormalization acts on channels (axis 1): ``x * scale + shift``.

    Raises:
        Refusal: when it normalises by the batch, or not by channels, or its parameters are not constant.
    """
    if not _is_inference(editor, node):
        raise Refusal(f"{label(node)} normalises by the batch it sees")
    gamma, beta, mean, variance = (constant(editor, t).astype(np.float64) for t in node.inputs[1:5])
    if gamma.ndim != 1 or not gamma.shape == beta.shape == mean.shape == variance.shape:
        raise Refusal(f"{label(node)} does not normalise by channels")
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(variance + float(editor.attribute(node, "epsilon", 1e-5)))
        shift = beta - mean * scale
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise Refusal(f"the variance of {label(node)} is not positive")
    return scale, shift


def _is_inference(editor: Editor, node: Node) -> bool:
    """Before opset 7 an attribute says so, before 14 the lack of further outputs does, then an attribute again."""
    if any(t.name for t in node.outputs[1:]):
        return False
    if editor.opset < 7:
        return bool(editor.attribute(node, "is_test", 0))
    return not editor.attribute(node, "training_mode", 0)


def _fold(editor: Editor, node: Node) -> None:
    layer, added = _layer_before(editor, node)
    scale, shift = scale_and_shift(editor, node)
    if len(scale) != layer.outputs:
        raise Refusal(f"it normalises {len(scale)} channels where {label(layer.node)} makes {layer.outputs}")
    bias = layer.bias
    if added is not None:
        rank = 2 if layer.node.op in ("Gemm", "MatMul") else layer.weight.ndim
        bias = bias + per_channel(constant(editor, added), rank, 1, layer.outputs)
    rows = scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    write_layer(editor, layer, layer.weight * rows, bias * scale + shift, node.outputs[0])
    editor.remove(node)


def _layer_before(editor: Editor, node: Node) -> tuple[Layer, gs.Variable | None]:
    """The layer that ``node`` alone reads, and the constant that an Add between the two adds, if there is one."""
    made, added = node.inputs[0], None
    _demand_private(editor, made)
    maker = editor.producer(made)
    if maker is not None and maker.op == "Add" and is_standard(maker):
        for tensor in maker.inputs:
            before, sum_ = editor.producer(tensor), bias_add(editor, tensor)
            if before is not None and before.op in LAYERS and sum_ is not None:
                made, maker, added = tensor, before, maker.inputs[sum_[1]]
                break
    if maker is None or maker.op not in LAYERS or not is_standard(maker):
        what = f"the graph input {made.name!r}" if maker is None else label(maker)
        raise Refusal(f"it follows {what}, not a layer with weights")
    layer = read_layer(editor, maker)
    if maker.op == "MatMul" and len(editor.shape(made) or ()) != 2:
        raise Refusal(f"its channels are not known to be those of {label(maker)}, as in a tensor of two axes")
    return layer, added


def _demand_private(editor: Editor, tensor: gs.Variable) -> None:
    if tensor.name in editor.outputs:
        raise Refusal(f"the tensor before it, {tensor.name!r}, is an output of the graph")
    if not editor.is_private(tensor):
        raise Refusal(f"the tensor before it, {tensor.name!r}, has other readers")
