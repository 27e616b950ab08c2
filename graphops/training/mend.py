"""Rewrites of the training copy: what onnxruntime has no gradient for, or a wrong one, said in other operators.

Each function edits the copy in place and keeps its function; the person's graph never sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphops.quantisers import import_domain, with_shapes
from passes.errors import UserError

Shapes = dict[str, list[int | None]]


def mend(model: onnx.ModelProto, shapes: Shapes) -> None:
    """All the rewrites below; ``shapes`` are those of the model's tensors.

    Raises:
        UserError: where one needs a shape that is unknown.
    """
    splits_as_gathers(model, shapes)
    parts_without_gradient(model)
    sums_as_adds(model)
    drop_dropout(model)
    explicit_permutations(model, shapes)
    explicit_pads(model, shapes)
    whole_pads(model, shapes)
    row_major_pooling(model, shapes)
    averages_as_convolutions(model, shapes)
    whole_choices(model, shapes)
    vectors_as_matrices(model, shapes)
    distinct_inputs(model)
    whole_layer_normalisations(model)
    gelus_by_tanh(model)
    prune(model, [o.name for o in model.graph.output])


def shapes_of(model: onnx.ModelProto) -> Shapes:
    """The inferred shape of each tensor that has one; an unknown size is None."""
    inferred = with_shapes(model, data_prop=True)
    found: Shapes = {i.name: list(i.dims) for i in model.graph.initializer}
    for value in [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            found[value.name] = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    return found


def prune(model: onnx.ModelProto, outputs: list[str]) -> None:
    """Take out the nodes that ``outputs`` do not need: an unreachable parameter stops the gradient builder."""
    needed, kept = set(outputs), []
    for node in reversed(model.graph.node):
        if any(o in needed for o in node.output):
            needed.update(node.input)
            needed.update(captured(node))
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in reversed(kept)]
    _replace_nodes(model, nodes)
    initialisers = [i for i in model.graph.initializer if i.name in needed]
    rest = [onnx.TensorProto.FromString(i.SerializeToString()) for i in initialisers]
    del model.graph.initializer[:]
    model.graph.initializer.extend(rest)


def constants_as_initialisers(model: onnx.ModelProto) -> None:
    """Constant nodes as initialisers, so that the rewrites below see one kind of constant."""
    nodes = []
    for node in model.graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
        else:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    _replace_nodes(model, nodes)


def captured(node: onnx.NodeProto) -> set[str]:
    """Tensors that the node's subgraphs read, their own included."""
    names: set[str] = set()
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            for inner in graph.node:
                names.update(inner.input)
                names.update(captured(inner))
    return names


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node a unique name, so that an error of the runtime can be traced to it."""
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type} number {number} (output {next((o for o in node.output if o), '')})"
        seen.add(node.name)


def sums_as_adds(model: onnx.ModelProto) -> None:
    """Sum has no gradient; a chain of Adds has."""

    def adds(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if len(node.input) == 1:
            return [helper.make_node("Identity", node.input, node.output, name=node.name)]
        chain, left = [], node.input[0]
        for k, right in enumerate(node.input[1:]):
            last = k == len(node.input) - 2
            result = node.output[0] if last else f"{node.output[0]}/sum{k}"
            name = node.name if last else f"{node.name}/sum{k}"
            chain.append(helper.make_node("Add", [left, right], [result], name=name))
            left = result
        return chain

    _rewrite(model, "Sum", adds)


def drop_dropout(model: onnx.ModelProto) -> None:
    """In an inference graph Dropout does nothing, and so it does in training here."""
    _rewrite(
        model,
        "Dropout",
        lambda n: [helper.make_node("Identity", [n.input[0]], [n.output[0]], name=n.name)],
    )


def explicit_permutations(model: onnx.ModelProto, shapes: Shapes) -> None:
    """Transpose without ``perm`` stops the gradient builder."""
    for node in model.graph.node:
        if node.op_type == "Transpose" and not node.attribute and node.input[0] in shapes:
            rank = len(shapes[node.input[0]])
            node.attribute.append(helper.make_attribute("perm", list(range(rank))[::-1]))


def kept_statistics(model: onnx.ModelProto, shapes: Shapes, moving: Collection[str]) -> None:
    """BatchNormalization trains on the batch's statistics, always: by such as do not move it is said in arithmetic.

    Raises:
        UserError: where the rank of its input is unknown.
    """
    constants = {i.name: i for i in model.graph.initializer}

    def arithmetic(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        data, scale, bias, mean, variance = node.input[:5]
        if mean in moving:
            return [node]
        if data not in shapes:
            raise UserError(
                f"The rank of {data!r}, which {node.name!r} normalises by kept statistics, is unknown; fix the model's "
                "input size, or keep no statistics by `freeze`."
            )
        name, column = node.output[0], [-1, *[1] * (len(shapes[data]) - 2)]
        epsilon = np.float32(next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5))
        centre, spread = (numpy_helper.to_array(constants[n]).reshape(column) for n in (mean, variance))
        made = {"mean": centre, "deviation": np.sqrt(spread + epsilon), "column": np.array(column, np.int64)}
        model.graph.initializer.extend(numpy_helper.from_array(v, f"{name}/{what}") for what, v in made.items())
        steps = (
            ("Sub", [data, f"{name}/mean"], f"{name}/centred"),
            ("Div", [f"{name}/centred", f"{name}/deviation"], f"{name}/normalised"),
            ("Reshape", [scale, f"{name}/column"], f"{name}/scale"),
            ("Mul", [f"{name}/normalised", f"{name}/scale"], f"{name}/scaled"),
            ("Reshape", [bias, f"{name}/column"], f"{name}/bias"),
            ("Add", [f"{name}/scaled", f"{name}/bias"], name),
        )
        return [helper.make_node(kind, inputs, [result], name=result) for kind, inputs, result in steps]

    _rewrite(model, "BatchNormalization", arithmetic)


def whole_layer_normalisations(model: onnx.ModelProto) -> None:
    """The gradient of LayerNormalization reads its bias and two more outputs: give it all of them."""
    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "LayerNormalization":
            continue
        if len(node.input) == 2 and node.input[1] in constants:
            name = f"{node.name}/bias"
            zeros = np.zeros(list(constants[node.input[1]].dims), np.float32)
            model.graph.initializer.append(numpy_helper.from_array(zeros, name))
            node.input.append(name)
        for k in range(len(node.output), 3):
            node.output.append(f"{node.output[0]}/{('', 'mean', 'deviation')[k]}")


def gelus_by_tanh(model: onnx.ModelProto) -> None:
    """The gradient of Gelu is the exact function's, whatever ``approximate`` says; that by tanh is FastGelu."""
    nodes = [n for n in model.graph.node if n.op_type == "Gelu" and any(a.s == b"tanh" for a in n.attribute)]
    for node in nodes:
        node.op_type, node.domain = "FastGelu", "com.microsoft"
        del node.attribute[:]
    if nodes:
        import_domain(model, "com.microsoft")


def explicit_pads(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The gradient of Conv is silently wrong under ``auto_pad=SAME_*``: compute the pads.

    Raises:
        UserError: where the input's height and width are unknown.
    """
    for node in model.graph.node:
        if node.op_type not in ("Conv", "MaxPool", "AveragePool"):
            continue
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        mode = values.get("auto_pad", b"NOTSET").decode(errors="replace")
        if not mode.startswith("SAME"):
            continue
        kernel = values.get("kernel_shape") or _known(_spatial(shapes, node.input[1]))
        size = _known(_spatial(shapes, node.input[0]))
        if not kernel or not size:
            raise UserError(
                f"Node {node.name!r} has auto_pad={mode} and an input of unknown size, and its gradient would be "
                "wrong; fix the model's input size, or give the node explicit pads."
            )
        strides = values.get("strides") or [1] * len(kernel)
        dilations = values.get("dilations") or [1] * len(kernel)
        begins, ends = [], []
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
            small, large = total // 2, total - total // 2
            begins.append(small if mode == "SAME_UPPER" else large)
            ends.append(large if mode == "SAME_UPPER" else small)
        kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
        attributes = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
        del node.attribute[:]
        node.attribute.extend([*attributes, helper.make_attribute("pads", begins + ends)])


def splits_as_gathers(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The gradient of a Split is garbage where no gradient comes from one of its outputs: gather each part instead.

    (Slices of all parts would be fused back into a Split by the runtime's optimiser.)

    Raises:
        UserError: where the sizes of the parts are unknown.
    """

    def gathers(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        sizes = [shapes[o][axis] if o in shapes else None for o in node.output]
        made, start = [], 0
        for output, size in zip(node.output, sizes, strict=True):
            if size is None:
                raise UserError(
                    f"Node {node.name!r} is a Split into parts of unknown size, and its gradient could be wrong; "
                    "replace it by Slice nodes, or fix the model's input size."
                )
            places = f"{output}/places"
            model.graph.initializer.append(numpy_helper.from_array(np.arange(start, start + size), places))
            name = f"{node.name}/{output}"
            made.append(helper.make_node("Gather", [node.input[0], places], [output], name=name, axis=axis))
            start += size
        return made

    _rewrite(model, "Split", gathers)


def parts_without_gradient(model: onnx.ModelProto) -> None:
    """Slices, or Gathers, that cover a tensor are made a Split, with its garbage: a part without gradient reads a copy.

    (Max of one tensor is a copy that the runtime's optimiser leaves.)
    """
    floats = {
        value.name
        for value in with_shapes(model).graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    reached = {o.name for o in model.graph.output}  # by the gradient
    for node in reversed(model.graph.node):
        if not reached.isdisjoint(node.output):
            reached.update(floats.intersection(node.input))
    parts = [n for n in model.graph.node if n.op_type in ("Slice", "Gather") and n.input[0] in floats]
    whole = {n.input[0] for n in parts if n.output[0] in reached}
    idle = {n.output[0] for n in parts if n.output[0] not in reached and n.input[0] in whole}

    def of_a_copy(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if node.output[0] not in idle:
            return [node]
        copy = f"{node.output[0]}/input"
        made = helper.make_node("Max", [node.input[0]], [copy], name=copy)
        node.input[0] = copy
        return [made, node]

    for kind in ("Slice", "Gather"):
        _rewrite(model, kind, of_a_copy)


def distinct_inputs(model: onnx.ModelProto) -> None:
    """The builder defines a gradient twice where a node reads one tensor twice: the second reads a copy.

    Not of whole numbers, which have no gradient: sizes could not be inferred through copies.
    """
    whole = {i.name for i in model.graph.initializer if i.data_type != TensorProto.FLOAT}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        seen: set[str] = set()
        for place, tensor in enumerate(node.input):
            if tensor and tensor in seen and tensor not in whole:
                copy = f"{node.output[0]}/input{place}"
                nodes.append(helper.make_node("Identity", [tensor], [copy], name=copy))
                node.input[place] = copy
            seen.add(tensor)
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    _replace_nodes(model, nodes)


def row_major_pooling(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The gradient of MaxPool is wrong for column-major indices; where nothing reads them, the order is nothing.

    Raises:
        UserError: where the input's size is unknown: that gradient would end the process.
    """
    read = {i for node in model.graph.node for i in node.input if i}
    for node in model.graph.node:
        if node.op_type == "MaxPool":
            _pooled(node, shapes)
        if node.op_type == "MaxPool" and read.isdisjoint(node.output[1:]):
            for attribute in node.attribute:
                if attribute.name == "storage_order":
                    attribute.i = 0


def averages_as_convolutions(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The gradient of AveragePool ends the process where the batch size is free: a convolution by ones, divided.

    What lies beyond the input does not count, unless the node says so.

    Raises:
        UserError: where the input's size is unknown.
    """

    def convolution(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kernel = values["kernel_shape"]
        channels, *spatial = _pooled(node, shapes)
        strides, dilations = (list(values.get(n) or [1] * len(kernel)) for n in ("strides", "dilations"))
        pads = list(values.get("pads") or [0] * 2 * len(kernel))
        if kernel == spatial and not any(pads):
            return [helper.make_node("GlobalAveragePool", node.input, node.output, name=node.name)]
        counts = np.ones((), np.float32)
        for axis, (n, k, s, d) in enumerate(zip(spatial, kernel, strides, dilations, strict=True)):
            before, reach = pads[axis], (k - 1) * d + 1
            steps = (n + before + pads[axis + len(kernel)] - reach) / s
            outputs = (math.ceil(steps) if values.get("ceil_mode") else math.floor(steps)) + 1
            pads[axis + len(kernel)] = max(pads[axis + len(kernel)], (outputs - 1) * s + reach - n - before)
            taps = np.arange(outputs)[:, None] * s - before + np.arange(k) * d
            counts = counts[..., None] * ((taps >= 0) & (taps < n)).sum(1)
        ones, divisor, total = (f"{node.output[0]}/{what}" for what in ("ones", "divisor", "total"))
        if values.get("count_include_pad"):
            counts = np.array(math.prod(kernel))
        given = {ones: np.ones((channels, 1, *kernel)), divisor: np.maximum(counts, 1)}
        model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), n) for n, v in given.items())
        options = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": channels}
        return [
            helper.make_node("Conv", [node.input[0], ones], [total], name=total, pads=pads, **options),
            helper.make_node("Div", [total, divisor], node.output, name=node.name),
        ]

    _rewrite(model, "AveragePool", convolution)


def whole_pads(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The gradient of Pad wants pads for every axis."""
    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Pad" or len(node.input) < 4 or not node.input[3]:
            continue
        if node.input[0] in shapes and node.input[1] in constants and node.input[3] in constants:
            rank = len(shapes[node.input[0]])
            axes = numpy_helper.to_array(constants[node.input[3]]) % rank
            whole = np.zeros((2, rank), np.int64)
            whole[:, axes] = numpy_helper.to_array(constants[node.input[1]]).reshape(2, -1)
            name = f"{node.name}/pads"
            model.graph.initializer.append(numpy_helper.from_array(whole.reshape(-1), name))
            node.input[1] = name
            del node.input[3:]


def whole_choices(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The gradients of Where and of Pow's base are wrong for what they broadcast: expand it to the result's size."""
    places = {"Where": (1, 2), "Pow": (0,)}

    def expanded(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        result = node.output[0]
        size = shapes.get(result)
        small = [k for k in places[node.op_type] if size is None or shapes.get(node.input[k]) != size]
        if not small:
            return [node]
        whole, sizes = f"{result}/whole", f"{result}/sizes"
        made = [helper.make_node(node.op_type, node.input, [whole], name=whole)]
        made.append(helper.make_node("Shape", [whole], [sizes], name=sizes))
        for k in small:
            name = f"{result}/expanded{k}"
            made.append(helper.make_node("Expand", [node.input[k], sizes], [name], name=name))
            node.input[k] = name
        return [*made, node]

    for kind in places:
        _rewrite(model, kind, expanded)


def vectors_as_matrices(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The gradient of MatMul is wrong for vectors: give them the axis of length 1, and take it from the result."""

    def product(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        vectors = [k for k in (0, 1) if len(shapes.get(node.input[k], [])) == 1]
        result, made = node.output[0], []
        for k in vectors:
            matrix, axis = f"{result}/matrix{k}", f"{result}/axis{k}"
            model.graph.initializer.append(numpy_helper.from_array(np.array([k]), axis))
            made.append(helper.make_node("Unsqueeze", [node.input[k], axis], [matrix], name=matrix))
            node.input[k] = matrix
        if vectors:
            whole, axes = f"{result}/whole", f"{result}/axes"
            model.graph.initializer.append(numpy_helper.from_array(np.array(vectors) - 2, axes))
            made.append(helper.make_node("MatMul", node.input, [whole], name=whole))
            node = helper.make_node("Squeeze", [whole, axes], [result], name=node.name)
        return [*made, node]

    _rewrite(model, "MatMul", product)


def _pooled(node: onnx.NodeProto, shapes: Shapes) -> list[int]:
    """The size of what a pooling node reads, without the batch."""
    size = _known(shapes.get(node.input[0], [])[1:])
    if not size:
        raise UserError(
            f"Node {node.name!r} ({node.op_type}) reads a tensor of unknown size and so has no gradient; fix the "
            "model's input size, or replace the Reshape before it by one to fixed sizes."
        )
    return size


def _spatial(shapes: Shapes, tensor: str) -> list[int | None]:
    return shapes.get(tensor, [])[2:]


def _known(sizes: list[int | None]) -> list[int]:
    """The sizes, or none of them where one is unknown."""
    return [s for s in sizes if s is not None] if None not in sizes else []


def _rewrite(model: onnx.ModelProto, kind: str, rewritten: Callable[[onnx.NodeProto], list[onnx.NodeProto]]) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        nodes.extend(rewritten(copy) if node.op_type == kind else [copy])
    _replace_nodes(model, nodes)


def _replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)
