"""From a person's graph to a copy that can be trained, or one sentence that says why not.

The trained values go back into the person's graph by name. Where its weights cannot be reached by name (inside
functions, behind a Cast, as Constant nodes) the graph is rewritten first by ``inline-functions`` and
``fold-constants``, and the rewritten graph is the one that comes back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from graphops.inference import reason
from graphops.quantisers import standard, with_shapes
from graphops.training import mend
from graphops.training.readable import depending, free_batch, logits_of, only_input, readable
from graphops.training.refusals import refuse_foreign, refuse_gradient_names, refuse_untrainable
from graphops.training.roles import FLOATS, Roles, matches, roles
from graphops.training.source import trainable_source
from passes import gates
from passes.errors import UserError


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
        features: the tensors that the patterns for features match, in the graph's order.
    """

    source: onnx.ModelProto
    model: onnx.ModelProto
    input: str
    logits: str
    roles: Roles
    notes: tuple[str, ...]
    features: tuple[str, ...] = ()

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


def prepare(
    model: onnx.ModelProto,
    output: str | None = None,
    freeze: Sequence[str] = (),
    features: Sequence[str] = (),
    size: Sequence[int] = (),
) -> Prepared:
    """Check ``model`` and make its training copy.

    Args:
        model: any classifier with one input; never modified.
        output: the output with the logits; may be left out when there is one.
        freeze: name patterns of initialisers to keep.
        features: names or name patterns (* and ?) of further tensors that the loss needs.
        size: of the images, as the input takes one, where the input leaves some of it open.

    Raises:
        UserError: when the graph cannot be trained.
    """
    notes: list[str] = []
    source = trainable_source(model, notes)
    copy = readable(source, notes)
    name = only_input(copy)
    logits = logits_of(copy, output)
    kind = next((o.type.tensor_type.elem_type for o in copy.graph.output if o.name == logits), TensorProto.FLOAT)
    if kind not in FLOATS | {TensorProto.UNDEFINED}:
        raise UserError(
            f"The model's output {logits!r} is {TensorProto.DataType.Name(kind).lower()} and training needs a float a "
            "class for each image; name the right one with `output` (on the command line --logits), or give the model "
            "without what follows its logits."
        )
    mend.constants_as_initialisers(copy)
    features = _matching(copy, name, features)
    mend.prune(copy, [logits, *features])
    mend.name_nodes(copy)
    refuse_foreign(copy)
    refuse_gradient_names(copy)
    free_batch(copy, name, [logits, *features], size)
    shapes = mend.shapes_of(copy)
    names = [i.name for graph in (source.graph, copy.graph) for i in graph.initializer]
    for pattern in freeze:
        if not any(matches(name, [pattern]) for name in names):
            raise UserError(f"The model has no initialiser {pattern!r} to keep; `freeze` names initialisers.")
    found = roles(copy, gates(source), freeze)
    if not found.trained:
        raise UserError(
            "The model has no float32 weights to train"
            + (f" besides those that match {', '.join(freeze)}; freeze less." if freeze else "; give another model.")
        )
    refuse_untrainable(copy, found)
    mend.kept_statistics(copy, shapes, found.statistics)
    mend.mend(copy, shapes)
    return Prepared(source, copy, name, logits, found, tuple(notes), tuple(features))


def probe(prepared: Prepared, images: NDArray, features: Sequence[str]) -> tuple[Prepared, dict[str, tuple[int, ...]]]:
    """Run the copy on ``images``: the copy with its logits as [N, classes] (from e.g. [N, classes, 1, 1] by a Flatten
    that is added), and the shape without the batch of the logits and of each of ``features``.

    Raises:
        UserError: when the copy does not run, or its output is no row of numbers an image.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    wanted = [prepared.logits, *features]
    try:
        session = onnxruntime.InferenceSession(
            standard(prepared.model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = session.run(wanted, {prepared.input: images})
    except Exception as error:
        raise UserError(
            f"The model does not run on a batch of {len(images)} images ({reason(error)}); "
            "export it with a free batch size, or check it with onnx.checker."
        ) from error
    shape = values[0].shape
    classes = math.prod(shape[1:])
    if len(shape) < 2 or shape[0] != len(images) or classes not in shape[1:]:
        raise UserError(
            f"The model's output {prepared.logits!r} has the shape {list(shape)} for {len(images)} images and "
            "training needs a number a class for each image; name the right one with `output` (on the command line "
            "--logits)."
        )
    for tensor, value in zip(wanted, values, strict=True):
        if value.shape[:1] != (len(images),):
            raise UserError(
                f"The feature {tensor!r} has the shape {list(value.shape)} for {len(images)} images, which is no row "
                "an image; name other tensors with `features`."
            )
    shapes = {tensor: value.shape[1:] for tensor, value in zip(wanted, values, strict=True)}
    if len(shape) == 2:
        return prepared, shapes
    flat, model = f"{prepared.logits}/flat", onnx.ModelProto()
    model.CopyFrom(prepared.model)
    model.graph.node.append(helper.make_node("Flatten", [prepared.logits], [flat], name=flat, axis=1))
    return replace(prepared, model=model, logits=flat), {**shapes, flat: (classes,)}


def _matching(model: onnx.ModelProto, input: str, patterns: Sequence[str]) -> list[str]:
    """The tensors of these names, or that match these patterns: of floats and by the images, for patterns may match
    shapes and quantised weights as well."""
    inferred = with_shapes(model).graph.value_info if patterns else ()
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred}
    varying = depending(model, input)
    names = [o for n in model.graph.node for o in n.output if o in varying]
    names = [name for name in names if kinds.get(name, TensorProto.FLOAT) == TensorProto.FLOAT]
    found: list[str] = []
    for pattern in patterns:
        matching = [pattern] if pattern in names else [name for name in names if matches(name, [pattern])]
        if not matching:
            raise UserError(
                f"The model has no tensor {pattern!r} to distil, of float32 and computed from its input; `features` "
                "names outputs of its nodes."
            )
        found += matching
    return list(dict.fromkeys(found))


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
