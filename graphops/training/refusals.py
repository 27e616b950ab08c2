"""What cannot be trained, found before the runtime is asked: it would end the process, or be wrong without a word."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from graphops.quantisers import is_quantiser, with_shapes
from graphops.training import mend
from graphops.training.gradient import SUFFIX, untrainable
from graphops.training.readable import STANDARD
from graphops.training.roles import FLOATS, Roles
from passes.errors import UserError


def refuse_foreign(model: onnx.ModelProto) -> None:
    """Operators that onnxruntime does not know, such as quantisers."""
    for node in model.graph.node:
        if node.domain not in (*STANDARD, "com.microsoft") and not is_quantiser(node):
            raise UserError(
                f"Node {node.name!r} is {node.domain}.{node.op_type}, which has no gradient; train the network "
                "before such nodes are inserted."
            )


def refuse_gradient_names(model: onnx.ModelProto) -> None:
    """Tensors whose names the gradient builder would define again."""
    names = {t for n in model.graph.node for t in [*n.input, *n.output]}
    for name in sorted(names):
        if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in names:
            raise UserError(
                f"The tensor {name!r} bears the name that training gives to the gradient of "
                f"{name.removesuffix(SUFFIX)!r}; rename it."
            )


def refuse_untrainable(model: onnx.ModelProto, found: Roles) -> None:
    """What makes the runtime's gradient builder end the process, or compute a wrong gradient without a word."""
    kinds = {v.name: v.type.tensor_type.elem_type for v in with_shapes(model).graph.value_info}
    read = {i for n in model.graph.node for i in n.input if i}.union(o.name for o in model.graph.output)
    trained = set(found.trained)  # and all that depends on it, but no sizes, places and truths
    for node in model.graph.node:
        if trained.isdisjoint([*node.input, *mend.captured(node)]):
            continue
        if _without_gradient(node, trained, read):
            raise untrainable(node.name, node.op_type)
        trained.update(o for o in node.output if o and kinds.get(o, TensorProto.FLOAT) in FLOATS)


def _without_gradient(node: onnx.NodeProto, trained: set[str], read: set[str]) -> bool:
    """Whether the builder ends the process at ``node``, or takes it for what it is not."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    further_outputs_read = not read.isdisjoint(node.output[1:])
    match node.op_type:
        case "Pow" | "Clip" | "Pad":  # of which it leaves out an exponent, a bound, a value
            return not trained.isdisjoint(node.input[1:])
        case "LeakyRelu":  # whose sign it takes from the result
            return values.get("alpha", 0) < 0
        case "ScatterND" | "ScatterElements":  # which it takes to overwrite
            return values.get("reduction", b"none") != b"none"
        case "LayerNormalization":
            return further_outputs_read
        case "MaxPool":
            return bool(values.get("storage_order")) and further_outputs_read
        case kind:
            return kind in ("LSTM", "GRU") or any(a.HasField("g") or a.graphs for a in node.attribute)
