"""The gradient graph: a plain ModelProto that any onnxruntime session of the training build runs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import onnx
from onnx import helper

from graphops.training import runtime
from passes.errors import UserError

SUFFIX = "_grad"


def gradient_graph(
    model: onnx.ModelProto, loss: str, trained: Sequence[str], inputs: Sequence[str] = ()
) -> onnx.ModelProto:
    """The graph of ``model``'s outputs and of d ``loss`` / d each of ``trained``.

    Args:
        model: a graph with the float32 scalar ``loss``, all of whose ``trained`` initialisers reach the loss.
        trained: initialisers that become inputs of the same name, with an output ``<name>_grad`` each.
        inputs: further initialisers that become inputs: running statistics (BatchNormalization then updates the
            bound buffers in place, whatever its ``training_mode``) and gates.

    Raises:
        UserError: when an operator between a trained value and the loss has no gradient; names the node.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    freed = {*trained, *inputs}
    kept = []
    for tensor in copy.graph.initializer:
        if tensor.name in freed:
            shape = list(tensor.dims)
            copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
        else:
            kept.append(onnx.TensorProto.FromString(tensor.SerializeToString()))
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    copy = onnx.shape_inference.infer_shapes(copy)
    try:
        built = runtime.gradient_of(copy, set(trained), loss)
    except Exception as error:
        raise in_words(error, copy) from error
    outputs = {o.name: o for o in built.graph.output}
    ordered = [outputs[o.name] for o in copy.graph.output] + [outputs[n + SUFFIX] for n in trained]
    ordered = [onnx.ValueInfoProto.FromString(o.SerializeToString()) for o in ordered]
    del built.graph.output[:]
    built.graph.output.extend(ordered)
    return built


def in_words(error: Exception, model: onnx.ModelProto) -> UserError:
    """What onnxruntime said while it built a gradient graph or a session for it, as one sentence about the node."""
    text = str(error).strip()
    kinds = {n.name: n.op_type for n in model.graph.node}
    reason = text.splitlines()[-1] if text else type(error).__name__
    missing = re.search(r"has not been registered: (\S+) for node (.*)", text)
    kernel = re.search(r"implementation for \w+\(\d+\) node with name '(.*?)(_Grad/|')", text)
    name = missing.group(2).strip() if missing else kernel.group(1) if kernel else ""
    if missing or name in kinds:
        kind = missing.group(1) if missing else kinds[name]
        return UserError(
            f"Node {name!r} is a {kind}, which has no gradient in onnxruntime {runtime.VERSION}; replace it by "
            "operators that have one, or freeze all weights before it with `freeze`."
        )
    return UserError(
        f"onnxruntime {runtime.VERSION} cannot differentiate this graph ({reason}"
        "); check the model with onnx.checker, or freeze the weights before the node it names with `freeze`."
    )
