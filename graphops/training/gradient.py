"""The gradient graph: a plain ModelProto that any onnxruntime session of the training build runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import onnx
from onnx import helper

from graphops.quantisers import is_quantiser, with_shapes
from graphops.training import runtime
from graphops.training.mend import prune
from graphops.training.quantisers import Placeholders
from passes.errors import UserError

SUFFIX = "_grad"
_NORMALISATIONS = ("BatchNormalization", "LayerNormalization")


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
    _as_inputs(copy, {*trained, *inputs})
    copy = with_shapes(copy, data_prop=True)
    held = _hidden(copy).difference(trained, inputs)
    placeholders = Placeholders(copy, trained)
    constants = _as_inputs(copy, held)
    try:
        built = runtime.gradient_of(copy, set(trained).difference(placeholders.scales), loss)
    except Exception as error:
        raise in_words(error, copy, trained) from error
    built = placeholders.fill(built, SUFFIX)
    outputs = {o.name: o for o in built.graph.output}
    ordered = [outputs[o.name] for o in copy.graph.output] + [outputs[n + SUFFIX] for n in trained]
    ordered = [onnx.ValueInfoProto.FromString(o.SerializeToString()) for o in ordered]
    del built.graph.output[:]
    built.graph.output.extend(ordered)
    given = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in built.graph.input if i.name not in held]
    del built.graph.input[:]
    built.graph.input.extend(given)
    built.graph.initializer.extend(constants)
    return built


def _as_inputs(model: onnx.ModelProto, names: Collection[str]) -> list[onnx.TensorProto]:
    """The initialisers of these names, which become inputs."""
    moved, kept = list[onnx.TensorProto](), list[onnx.TensorProto]()
    for tensor in model.graph.initializer:
        (moved if tensor.name in names else kept).append(onnx.TensorProto.FromString(tensor.SerializeToString()))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in moved)
    return moved


def _hidden(model: onnx.ModelProto) -> set[str]:
    """What the builder must take for inputs even where it is constant.

    The runtime's optimiser drops a scale and what it is computed from, for no node reads it while placeholders stand
    for quantisers; and it makes one of equal constants, whose gradient the builder then defines once for each
    normalisation that reads it.
    """
    hidden = {node.input[1] for node in model.graph.node if is_quantiser(node)}
    for node in reversed(model.graph.node):
        if not hidden.isdisjoint(node.output):
            hidden.update(node.input)
    hidden.update(*(node.input[1:3] for node in model.graph.node if node.op_type in _NORMALISATIONS))
    return hidden.intersection(i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT)


def in_words(error: Exception, model: onnx.ModelProto, trained: Sequence[str] = ()) -> UserError:
    """What onnxruntime said of the gradient graph of ``model``, as one sentence about the node at fault.

    Where the message names no node, the first one is looked for behind which the gradient by ``trained`` (inputs of
    ``model``) cannot be built.
    """
    text = str(error).strip()
    kinds = {n.name: n.op_type for n in model.graph.node}
    found = re.search(r"not been registered: \S+ for node (.*)", text)
    found = found or re.search(r"[Nn]ame:?\s*'(.*?)(_Grad/|')", text)
    name = found.group(1).strip() if found else ""
    name = name if name in kinds else _culprit(model, trained)
    if name:
        return untrainable(name, kinds[name])
    reason = (text.splitlines() or [type(error).__name__])[-1].rstrip(".")
    return UserError(
        f"onnxruntime {runtime.VERSION} cannot train this graph ({reason}); check it with onnx.checker, "
        "or freeze some of its weights with `freeze`."
    )


def untrainable(name: str, kind: str) -> UserError:
    """The sentence about a node without a gradient."""
    return UserError(
        f"Node {name!r} ({kind}) has no gradient in onnxruntime {runtime.VERSION}; replace it by operators that have "
        "one, or freeze all weights before it with `freeze`."
    )


def _culprit(model: onnx.ModelProto, trained: Sequence[str]) -> str:
    """The first node whose output's mean has no gradient by the ``trained`` inputs before it; "" if each has one."""
    before: dict[str, set[str]] = {name: {name} for name in trained}
    for node in model.graph.node:
        reached = set().union(*(before.get(i, set()) for i in node.input))
        if not reached:
            continue
        before |= dict.fromkeys(node.output, reached)
        piece = onnx.ModelProto()
        piece.CopyFrom(model)
        mean = f"{node.name}/mean"
        piece.graph.node.append(helper.make_node("ReduceMean", [node.output[0]], [mean], name=mean, keepdims=0))
        prune(piece, [mean])
        del piece.graph.output[:]
        piece.graph.output.append(helper.make_tensor_value_info(mean, onnx.TensorProto.FLOAT, []))
        try:
            runtime.gradient_of(piece, reached, mean)
        except Exception:
            return node.name
    return ""
