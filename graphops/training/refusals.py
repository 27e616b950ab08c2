"""What cannot be trained, found before the runtime is asked: it would end the process, or be wrong without a word."""

from __future__ import annotations

import onnx

from graphops.quantisers import is_quantiser
from graphops.training import mend
from graphops.training.gradient import SUFFIX, untrainable
from graphops.training.readable import STANDARD
from graphops.training.roles import Roles
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
    trained = set(found.trained)  # and all that depends on it
    for node in model.graph.node:
        if trained.isdisjoint([*node.input, *mend.captured(node)]):
            continue
        trained.update(node.output)
        exponent = node.input[1] if node.op_type == "Pow" else ""  # whose gradient the builder leaves out
        if exponent in trained or any(a.HasField("g") or a.graphs for a in node.attribute):
            raise untrainable(node.name, node.op_type)
