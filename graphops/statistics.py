"""What a model costs: parameters, multiplications, operators, joins and the buffers of its skip connections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import onnx
import onnx_graphsurgeon as gs

from passes.errors import ModelError
from passes.flow import Flow
from passes.graph import DEFAULT_DOMAINS, QUANTISERS, Editor, Node, label
from passes.inline import InlineFunctions
from passes.joins import addends, is_join
from passes.skips import find_skips

_TRAINED = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "Gather": (0,),
    "Add": (0, 1),
    "Mul": (0, 1),
}
"""The inputs at which an operator holds trained values when they are constants."""

_NEVER_TRAINED = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL)

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_MATRIX_PRODUCTS = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
"""Operators with the place of their second factor among the inputs."""


def operators(model: onnx.ModelProto) -> Counter[str]:
    """How many nodes of each operator the graph has; names outside ONNX's own domain are ``domain.Operator``.

    Functions are counted as one node and subgraphs are not looked into.
    """
    return Counter(
        node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}" for node in model.graph.node
    )


def parameters(model: onnx.ModelProto) -> int:
    """The number of trained values, as papers count them.

    Counted are weights and biases of layers, scale and bias of normalisations, slopes of PRelu, embeddings, and
    constants of more than one element that are added to or multiplied with data. Not counted are running means
    and variances, the scales of quantisers, scalars such as gates, and constants subtracted or divided by. A
    weight that several layers share counts once, and one that is stored as float16 or quantised counts as well.
    """
    editor = Editor(InlineFunctions().apply(model).model)
    nodes = editor.nodes
    flow = Flow(editor, nodes)
    counted: dict[str, int] = {}
    for node in nodes:
        if (node.domain or "") not in DEFAULT_DOMAINS or not any(flow.carries(tensor) for tensor in node.outputs):
            continue
        for slot in _TRAINED.get(node.op, ()):
            if slot < len(node.inputs) and node.inputs[slot].name and not flow.carries(node.inputs[slot]):
                for tensor in _origins(editor, node.inputs[slot]):
                    size = editor.size(tensor) or 0
                    if size > 1 or node.op not in ("Add", "Mul"):
                        counted[tensor.name] = size
    return sum(counted.values())


def _origins(editor: Editor, tensor: gs.Variable) -> Iterator[gs.Variable]:
    """The stored constants that ``tensor`` is computed from, but scales, shapes and axes."""
    pending, seen = [tensor], {tensor.name, ""}
    while pending:
        tensor = pending.pop()
        node = editor.producer(tensor)
        if node is None or node.op in ("Constant", "ConstantOfShape"):
            yield tensor
            continue
        if node.op in QUANTISERS:
            seen.update(source.name for source in node.inputs[1:])  # a scale may be read on the way as well
        for source in node.inputs:
            if source.name not in seen and editor.element_type(source) not in _NEVER_TRAINED:
                seen.add(source.name)
                pending.append(source)


def macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates per image of all convolutions and matrix products; padding counts as pixels do.

    Raises:
        ModelError: when a shape that matters cannot be inferred.
    """
    single, images = _for_one_image(InlineFunctions().apply(model).model)
    editor = Editor(single)
    return sum(_node_macs(editor, node) for node in editor.nodes) // images


def _for_one_image(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """A copy of ``model`` with free batch sizes set to 1, and the number of images it takes at once."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    weights = {tensor.name for tensor in single.graph.initializer}
    values = [value for value in single.graph.input if value.name not in weights]
    batches = [value.type.tensor_type.shape.dim[0] for value in values if value.type.tensor_type.shape.dim]
    names = {dim.dim_param for dim in batches} - {""}
    for dim in batches:
        if dim.dim_value < 1:
            dim.dim_value = 1
    for value in [*single.graph.input, *single.graph.output, *single.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_value = 1
    return single, batches[0].dim_value if batches else 1


def _node_macs(editor: Editor, node: Node) -> int:
    if (node.domain or "") not in DEFAULT_DOMAINS:
        return 0
    if node.op in _CONVOLUTIONS:
        weight = _sizes(editor, node, node.inputs[_CONVOLUTIONS[node.op]])  # [out, in / group, kernel...]
        return math.prod(_sizes(editor, node, node.outputs[0])) * math.prod(weight[1:])
    if node.op == "ConvTranspose":
        weight = _sizes(editor, node, node.inputs[1])  # [in, out / group, kernel...]
        return math.prod(_sizes(editor, node, node.inputs[0])) * math.prod(weight[1:])
    if node.op in _MATRIX_PRODUCTS:
        # [..., inner, columns] or [inner]
        factor = _sizes(editor, node, node.inputs[_MATRIX_PRODUCTS[node.op]], rank=1)
        return math.prod(_sizes(editor, node, node.outputs[0])) * factor[-2:][0]
    if node.op == "Gemm":
        first = _sizes(editor, node, node.inputs[0], rank=2)
        inner = first[0] if editor.attribute(node, "transA", 0) else first[1]
        return math.prod(_sizes(editor, node, node.outputs[0])) * inner
    return 0


def _sizes(editor: Editor, node: Node, tensor: gs.Variable, rank: int = 0) -> list[int]:
    """The tensor's sizes, at least ``rank`` of them."""
    shape = editor.shape(tensor)
    sizes = [size for size in shape or () if isinstance(size, int)]
    if shape is None or len(sizes) != len(shape) or len(sizes) < rank:
        raise ModelError(
            f"The shape of {tensor.name!r} at {label(node)} cannot be inferred, so its multiplications cannot be "
            "counted; fix the sizes of the model's inputs."
        )
    return sizes


def joins_left(model: onnx.ModelProto) -> int:
    """How many nodes add two tensors that both carry data, whether they end a skip connection or not."""
    editor = Editor(InlineFunctions().apply(model).model)
    nodes = editor.nodes
    flow = Flow(editor, nodes)
    return sum(is_join(node) and all(flow.carries(tensor) for tensor in addends(node)) for node in nodes)


def skip_buffer_bits(model: onnx.ModelProto, bits: int = 32) -> int:
    """Bits that a dataflow design holds for all skip connections, row by row (``Skip.streaming_bits``).

    Args:
        model: any graph.
        bits: the width of an activation that no quantiser gives one.

    Raises:
        ModelError: when the shape of a fork cannot be inferred.
    """
    total = 0
    for skip in find_skips(InlineFunctions().apply(model).model, bits):
        if skip.streaming_bits is None:
            raise ModelError(
                f"The buffer of skip {skip.number} is unknown, since the shape of {skip.fork!r} cannot be inferred; "
                "fix the sizes of the model's inputs."
            )
        total += skip.streaming_bits
    return total
