"""A copy of a model that the runtime reads: its opset, its IR, a free batch size, and where its logits are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphops.training import mend
from graphops.training.roles import FLOATS
from graphops.training.runtime import MAX_IR, MAX_OPSET
from passes import InlineFunctions
from passes.errors import UserError

MIN_OPSET, OLD_OPSET = 13, 17  # a graph below the first is converted to the second
MIN_IR = 4  # before it initialisers are inputs as well, and nothing has a shape where they are not
BATCH = "graphops_batch"
STANDARD = ("", "ai.onnx")
_SOFTMAX = ("Softmax", "LogSoftmax")


def inference_copy(model: onnx.ModelProto, output: str | None = None) -> tuple[onnx.ModelProto, str]:
    """A copy of a teacher for inference here with a free batch size, and the name of its logits.

    Args:
        model: the teacher.
        output: the output that holds them, where it has several.

    Raises:
        UserError: when its opset is too new, it has not one input, or its logits are not known.
    """
    copy = readable(inlined(model, []), [])
    mend.constants_as_initialisers(copy)
    name = only_input(copy)
    logits = logits_of(copy, among_several(copy, output), "teacher")
    free_batch(copy, name, [logits])
    return copy, logits


def readable(source: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    """A copy in an opset and IR that the runtime reads, without what training does not need."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    opset = next((o.version for o in model.opset_import if o.domain in STANDARD), 1)
    target = MAX_OPSET if opset > MAX_OPSET else OLD_OPSET if opset < MIN_OPSET else opset
    if target != opset:
        try:
            model = onnx.version_converter.convert_version(model, target)
        except Exception as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise UserError(
                f"The model's opset {opset} is outside {MIN_OPSET} to {MAX_OPSET}, which training reads, and onnx "
                f"cannot convert it ({reason}); export it again with opset {OLD_OPSET}."
            ) from error
        lost = {i.name for i in source.graph.initializer} - {i.name for i in model.graph.initializer}
        kept = [i.name for i in source.graph.initializer if i.name in lost and i.data_type in FLOATS and len(i.dims)]
        if kept:
            raise UserError(
                f"Converting the model from opset {opset} to {target} loses the initialiser {kept[0]!r}; "
                f"export it again with opset {OLD_OPSET}."
            )
        notes.append(f"The training copy was converted from opset {opset} to {target}.")
    model.ir_version = min(max(model.ir_version, MIN_IR), MAX_IR)
    initialisers = {i.name for i in model.graph.initializer}
    inputs = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in model.graph.input]
    del model.graph.input[:]
    model.graph.input.extend(i for i in inputs if i.name not in initialisers)
    for field in ("value_info", "quantization_annotation", "metadata_props"):
        del getattr(model.graph, field)[:]
    del model.functions[:]
    del model.metadata_props[:]
    return model


def inlined(model: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    """The model without calls of its own functions."""
    called = {(f.domain, f.name) for f in model.functions}
    if not any((n.domain, n.op_type) in called for n in model.graph.node):
        return model
    notes.append("The model's functions were inlined.")
    return InlineFunctions().apply(model).model


def only_input(model: onnx.ModelProto) -> str:
    """The name of the model's only input that is no initialiser.

    Raises:
        UserError: when there are several.
    """
    initialisers = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initialisers]
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs) or "none"
        raise UserError(f"Training feeds one input, and the model's inputs are {names}; give a model with one.")
    return inputs[0].name


def among_several(model: onnx.ModelProto, output: str | None) -> str | None:
    """``output``, but none where a teacher has a single one, which may have any name."""
    return output if len(model.graph.output) > 1 else None


def logits_of(model: onnx.ModelProto, output: str | None = None, what: str = "model") -> str:
    """The tensor with the logits: the output, or the input of the Softmax or LogSoftmax that makes it, be it reshaped.

    Raises:
        UserError: when there are several outputs and none is named, or none of that name.
    """
    names = [o.name for o in model.graph.output]
    if output is None and len(names) != 1:
        raise UserError(
            f"The {what} has the outputs {', '.join(names)}; say which holds the logits with `output` "
            "(on the command line --logits)."
        )
    name = output if output is not None else names[0]
    if name not in names:
        raise UserError(f"The {what} has no output {name!r}; it has {', '.join(names)}.")
    producers = {o: n for n in model.graph.node for o in n.output}
    before = name
    while before in producers and producers[before].op_type in (*_SOFTMAX, "Identity", "Flatten", "Reshape", "Squeeze"):
        node = producers[before]
        before = node.input[0]
        if node.op_type in _SOFTMAX or (node.op_type, node.output[0]) == ("Identity", name):
            name = before
    return name


def depending(model: onnx.ModelProto, name: str) -> set[str]:
    """The tensors that depend on the input ``name``, itself included."""
    found = {name}
    for node in model.graph.node:
        if not found.isdisjoint([*node.input, *mend.captured(node)]):
            found.update(filter(None, node.output))
    return found


def free_batch(model: onnx.ModelProto, name: str, outputs: Sequence[str], size: Sequence[int] = ()) -> None:
    """Make the first dimension of the input free, the others ``size`` where that is given, and ``outputs`` the outputs.

    Reshapes that spell out the fixed batch size take the size from their input instead.
    """
    value = next(i for i in model.graph.input if i.name == name)
    dims = value.type.tensor_type.shape.dim
    fixed = dims[0].dim_value if len(dims) and dims[0].HasField("dim_value") else 0
    for _ in range(len(dims), len(size) and len(size) + 1):  # where the model gives no shape at all
        dims.add()
    if len(dims):
        dims[0].Clear()
        dims[0].dim_param = BATCH
    for dim, known in zip(dims[1:], size, strict=False):
        dim.dim_value = known
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs)
    if not fixed:
        return
    shapes, varying = {i.name: i for i in model.graph.initializer}, depending(model, name)
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in shapes:
            continue
        target = numpy_helper.to_array(shapes[node.input[1]])
        literal = 0 in target and any(a.i for a in node.attribute)  # of `allowzero`, which PyTorch sets everywhere
        if target.size > 1 and target[0] == fixed and node.input[0] in varying and not literal:
            own = model.graph.initializer.add()
            own.CopyFrom(numpy_helper.from_array(np.concatenate([[0], target[1:]]), f"{node.output[0]}/shape"))
            node.input[1] = own.name
            del node.attribute[:]
