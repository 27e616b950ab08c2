"""From a person's graph to a copy that can be trained, or one sentence that says why not.

The trained values go back into the person's graph by name. Where its weights cannot be reached by name (inside
functions, behind a Cast, as Constant nodes) the graph is rewritten first by ``inline-functions`` and
``fold-constants``, and the rewritten graph is the one that comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from graphops.training import mend
from graphops.training.gradient import SUFFIX, untrainable
from graphops.training.roles import FLOATS, Roles, roles, weights
from graphops.training.runtime import MAX_IR, MAX_OPSET
from passes.errors import UserError

MIN_OPSET, OLD_OPSET = 13, 17  # a graph below the first is converted to the second
BATCH = "graphops_batch"
STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Prepared:
    """A graph to train.

    Attributes:
        source: the person's graph (inlined and folded where needed), whose initialisers take the trained values.
        model: the training copy: batch size free, one output, the logits [N, classes].
        input: name of the only input.
        logits: name of the logits, before a closing Softmax.
        roles: what training does with each initialiser.
        notes: what was done on the way, one sentence each.
    """

    source: onnx.ModelProto
    model: onnx.ModelProto
    input: str
    logits: str
    roles: Roles
    notes: tuple[str, ...]

    def with_values(self, values: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
        """The person's graph with these values in its initialisers; nothing else differs."""
        return _filled(self.source, values)

    def runnable(self, values: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
        """The same function, in an opset that the runtime reads, with the logits as the only output."""
        model = _filled(self.model, values)
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(self.logits, TensorProto.FLOAT, None))
        model.metadata_props.extend(self.source.metadata_props)
        return model


def _filled(model: onnx.ModelProto, values: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    filled = onnx.ModelProto()
    filled.CopyFrom(model)
    for tensor in filled.graph.initializer:
        if tensor.name in values:
            fresh = numpy_helper.from_array(np.ascontiguousarray(values[tensor.name], np.float32))
            for field in ("float_data", "raw_data"):
                tensor.ClearField(field)
            tensor.raw_data = fresh.raw_data
    return filled


def prepare(
    model: onnx.ModelProto,
    output: str | None = None,
    freeze: Sequence[str] = (),
    features: Sequence[str] = (),
) -> Prepared:
    """Check ``model`` and make its training copy.

    Args:
        model: any classifier with one input; never modified.
        output: the output with the logits; may be left out when there is one.
        freeze: name patterns of initialisers to keep.
        features: further tensors that the loss needs.

    Raises:
        UserError: when the graph cannot be trained.
    """
    notes: list[str] = []
    source = _source(model, notes)
    copy = _copy(source, notes)
    name = only_input(copy)
    logits = logits_of(copy, output)
    for feature in features:
        if not any(feature in n.output for n in copy.graph.node):
            raise UserError(f"The model has no tensor {feature!r} to distil; `features` names outputs of its nodes.")
    mend.constants_as_initialisers(copy)
    mend.prune(copy, [logits, *features])
    mend.name_nodes(copy)
    _refuse_foreign(copy)
    _refuse_gradient_names(copy)
    free_batch(copy, name, [logits, *features])
    shapes = mend.shapes_of(copy)
    found = roles(copy, _gates(source), freeze)
    if not found.trained:
        raise UserError(
            "The model has no float32 weights to train"
            + (f" besides those that match {', '.join(freeze)}; freeze less." if freeze else "; give another model.")
        )
    _refuse_untrainable(copy, found)
    mend.mend(copy, shapes)
    return Prepared(source, copy, name, logits, found, tuple(notes))


def _source(model: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    """The person's graph with each weight as an initialiser of its own."""
    source = onnx.ModelProto()
    source.CopyFrom(model)
    for tensor in source.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and not tensor.HasField("raw_data"):
            raise UserError(f"The weights of {tensor.name!r} lie in another file; load the model with its weights.")
    source = _inlined(source, notes)
    if _computed_weights(source):
        from passes import FoldConstants

        mend.constants_as_initialisers(source)

        source = FoldConstants().apply(source).model
        notes.append("Weights that the graph computes from constants were folded into initialisers.")
        for node, tensor in _computed_weights(source):
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
    return _unshared(source, notes)


def _inlined(model: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    called = {(f.domain, f.name) for f in model.functions}
    if not any((n.domain, n.op_type) in called for n in model.graph.node):
        return model
    from passes import InlineFunctions

    notes.append("The model's functions were inlined.")
    return InlineFunctions().apply(model).model


def inference_copy(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """A copy of ``model`` for inference here with a free batch size, and the name of its logits.

    Raises:
        UserError: when its opset is too new, or it has not one input.
    """
    copy = _copy(_inlined(model, []), [])
    mend.constants_as_initialisers(copy)
    name = only_input(copy)
    logits = logits_of(copy)
    free_batch(copy, name, [logits])
    return copy, logits


def _computed_weights(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Weights that are computed from constants alone."""
    varying = {i.name for i in model.graph.input} - {i.name for i in model.graph.initializer}
    constant: set[str] = set()
    for node in model.graph.node:
        if any(i in varying for i in [*node.input, *mend.captured(node)]):
            varying.update(node.output)
        else:
            constant.update(node.output)
    return [(node, tensor) for node, tensor in weights(model) if tensor in constant]


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


def _copy(source: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
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
    model.ir_version = min(model.ir_version, MAX_IR)
    initialisers = {i.name for i in model.graph.initializer}
    inputs = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in model.graph.input]
    del model.graph.input[:]
    model.graph.input.extend(i for i in inputs if i.name not in initialisers)
    for field in ("value_info", "quantization_annotation", "metadata_props"):
        del getattr(model.graph, field)[:]
    del model.functions[:]
    del model.metadata_props[:]
    return model


def only_input(model: onnx.ModelProto) -> str:
    """The name of the model's only input that is no initialiser.

    Raises:
        UserError: when there are several, or it is of another float type than float32.
    """
    initialisers = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initialisers]
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs) or "none"
        raise UserError(f"Training feeds one input, and the model's inputs are {names}; give a model with one.")
    kind = inputs[0].type.tensor_type.elem_type
    if kind in FLOATS - {TensorProto.FLOAT}:
        raise UserError(
            f"The model's input {inputs[0].name!r} is {TensorProto.DataType.Name(kind).lower()} and training is in "
            "float32; convert the model to float32."
        )
    return inputs[0].name


def logits_of(model: onnx.ModelProto, output: str | None = None) -> str:
    """The tensor with the logits: the output, or the input of the Softmax or LogSoftmax that makes it.

    Raises:
        UserError: when there are several outputs and none is named, or none of that name.
    """
    names = [o.name for o in model.graph.output]
    if output is None and len(names) != 1:
        raise UserError(f"The model has the outputs {', '.join(names)}; say which holds the logits with `output`.")
    name = output if output is not None else names[0]
    if name not in names:
        raise UserError(f"The model has no output {name!r}; it has {', '.join(names)}.")
    producers = {o: n for n in model.graph.node for o in n.output}
    while name in producers and producers[name].op_type in ("Softmax", "LogSoftmax", "Identity"):
        name = producers[name].input[0]
    return name


def free_batch(model: onnx.ModelProto, name: str, outputs: Sequence[str]) -> None:
    """Make the first dimension of the input free and ``outputs`` the outputs, where a batch size was fixed.

    Reshapes that spell out the fixed batch size take the size from their input instead.
    """
    value = next(i for i in model.graph.input if i.name == name)
    dims = value.type.tensor_type.shape.dim
    fixed = dims[0].dim_value if len(dims) and dims[0].HasField("dim_value") else 0
    if len(dims):
        dims[0].Clear()
        dims[0].dim_param = BATCH
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs)
    if not fixed:
        return
    shapes = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in shapes or any(a.i for a in node.attribute):
            continue
        target = numpy_helper.to_array(shapes[node.input[1]])
        if target.size > 1 and target[0] == fixed and node.input[0] not in shapes:
            own = model.graph.initializer.add()
            own.CopyFrom(numpy_helper.from_array(np.concatenate([[0], target[1:]]), f"{node.name}/shape"))
            node.input[1] = own.name


def _refuse_foreign(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.domain not in (*STANDARD, "com.microsoft"):
            raise UserError(
                f"Node {node.name!r} is {node.domain}.{node.op_type}, which has no gradient; train the network "
                "before such nodes are inserted."
            )


def _refuse_gradient_names(model: onnx.ModelProto) -> None:
    names = {t for n in model.graph.node for t in [*n.input, *n.output]}
    for name in sorted(names):
        if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in names:
            raise UserError(
                f"The tensor {name!r} bears the name that training gives to the gradient of "
                f"{name.removesuffix(SUFFIX)!r}; rename it."
            )


def _refuse_untrainable(model: onnx.ModelProto, found: Roles) -> None:
    """What makes the runtime's gradient builder end the process, or compute a wrong gradient without a word."""
    trained = set(found.trained)  # and all that depends on it
    for node in model.graph.node:
        if trained.isdisjoint([*node.input, *mend.captured(node)]):
            continue
        trained.update(node.output)
        dilated = any(d != 1 for a in node.attribute if a.name == "dilations" for d in a.ints)
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise untrainable(node.name, node.op_type)
        if node.op_type == "AveragePool" and dilated:
            raise untrainable(node.name, "AveragePool with dilations")


def _gates(model: onnx.ModelProto) -> list[str]:
    from passes.skips import gates

    return gates(model)


def probe(prepared: Prepared, images: NDArray, features: Sequence[str]) -> tuple[Prepared, dict[str, tuple[int, ...]]]:
    """Run the copy on ``images``: the copy with its logits as [N, classes] (from [N, classes, 1, 1] by a Flatten that
    is added), and the shape without the batch of the logits and of each of ``features``.

    Raises:
        UserError: when the copy does not run, or its output is no row of numbers an image.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    wanted = [prepared.logits, *features]
    try:
        session = onnxruntime.InferenceSession(
            prepared.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = session.run(wanted, {prepared.input: images})
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The model does not run on a batch of {len(images)} images ({reason}); "
            "export it with a free batch size, or check it with onnx.checker."
        ) from error
    shape = values[0].shape
    if len(shape) < 2 or shape[0] != len(images) or any(d != 1 for d in shape[2:]):
        raise UserError(
            f"The model's output {prepared.logits!r} has the shape {list(shape)} for {len(images)} images and "
            "training needs a number a class for each image; name the right one with `output`."
        )
    shapes = {tensor: value.shape[1:] for tensor, value in zip(wanted, values, strict=True)}
    if len(shape) == 2:
        return prepared, shapes
    flat, model = f"{prepared.logits}/flat", onnx.ModelProto()
    model.CopyFrom(prepared.model)
    model.graph.node.append(helper.make_node("Flatten", [prepared.logits], [flat], name=flat, axis=1))
    return replace(prepared, model=model, logits=flat), {**shapes, flat: shape[1:2]}
