"""The person's graph with each weight as a float32 initialiser, into which its trained value goes back by name."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from graphops.quantisers import is_quantiser
from graphops.training import mend
from graphops.training.readable import inlined
from graphops.training.roles import FLOATS, weights
from passes import FoldConstants
from passes.errors import UserError
from passes.graph import Editor


def trainable_source(model: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    """The person's graph, where needed inlined, folded, and with statistics unshared; ``notes`` says which.

    Raises:
        UserError: when a weight is out of reach, or a weight or an input of another float type than float32.
    """
    source = onnx.ModelProto()
    source.CopyFrom(model)
    for tensor in source.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and not tensor.HasField("raw_data"):
            raise UserError(f"The weights of {tensor.name!r} lie in another file; load the model with its weights.")
    source = inlined(source, notes)
    quantised = any(is_quantiser(node) for node in source.graph.node)
    if quantised:
        mend.constants_as_initialisers(source)  # scales are trained as well
    if _computed_weights(source):
        mend.constants_as_initialisers(source)
        source = _folded_weights(source) if quantised else FoldConstants().apply(source).model
        notes.append("Weights that the graph computes from constants were folded into initialisers.")
        for node, tensor in _computed_weights(source):
            if any(n.op_type == "DequantizeLinear" for n in source.graph.node):
                raise UserError(
                    f"Node {node.name or node.output[0]!r} computes with weights quantised in QDQ, which cannot "
                    "be trained; export the network in QONNX, or train it in floats and use `graphops quantize`."
                )
            raise UserError(
                f"Node {node.name or node.output[0]!r} computes with the constant {tensor!r}, which cannot be folded "
                "into an initialiser and so not trained; replace the nodes that compute it by an initialiser."
            )
    kinds = {i.name: i.data_type for i in source.graph.initializer}
    for node, tensor in weights(source):
        kind = kinds.get(tensor, TensorProto.FLOAT)
        if kind in FLOATS - {TensorProto.FLOAT}:
            raise UserError(
                f"Node {node.name or node.output[0]!r} computes in {TensorProto.DataType.Name(kind).lower()} and "
                "training is in float32; convert the model to float32."
            )
    for value in source.graph.input:
        kind = value.type.tensor_type.elem_type
        if value.name not in kinds and kind in FLOATS - {TensorProto.FLOAT}:
            raise UserError(
                f"The model's input {value.name!r} is {TensorProto.DataType.Name(kind).lower()} and training is in "
                "float32; convert the model to float32."
            )
    return _unshared(source, notes)


def _computed_weights(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Weights that are computed from constants alone; where they are quantised on the way, what the quantiser reads."""
    varying = {i.name for i in model.graph.input} - {i.name for i in model.graph.initializer}
    constant: set[str] = set()
    rounded: set[str] = set()
    for node in model.graph.node:
        if any(i in varying for i in [*node.input, *mend.captured(node)]):
            varying.update(node.output)
        elif is_quantiser(node) or not rounded.isdisjoint(node.input):
            rounded.update(node.output)
        else:
            constant.update(node.output)
    return [(node, tensor) for node, tensor in weights(model) if tensor in constant]


def _folded_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights become initialisers; a bias's scale is still computed from those that training moves."""
    editor = Editor(model)
    for _, name in _computed_weights(model):
        tensor = editor.tensor(name)
        if editor.producer(tensor) is not None:
            editor.become_constant(tensor, editor.value(tensor))
    return editor.finish()[0]


def _unshared(model: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    """Running statistics with an initialiser each: some exporters share one of zeros between mean and bias."""
    initialisers = {i.name: i for i in model.graph.initializer}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for tensor in node.input:
            uses[tensor] = uses.get(tensor, 0) + 1
    for node in model.graph.node:
        if node.op_type != "BatchNormalization":
            continue
        for place, what in ((3, "mean"), (4, "variance")):
            tensor = node.input[place]
            if tensor not in initialisers:
                raise UserError(
                    f"The running {what} of BatchNormalization {node.name or node.output[0]!r} is no initialiser; "
                    "export the model with constants folded."
                )
            if uses[tensor] > 1:
                uses[tensor] -= 1
                own = model.graph.initializer.add()
                own.CopyFrom(initialisers[tensor])
                own.name = f"{tensor}/{what}/{node.output[0]}"
                node.input[place] = own.name
                notes.append(f"The shared initialiser {tensor!r} got a copy of its own, {own.name!r}.")
    return model
