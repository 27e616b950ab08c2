"""What changed between two models.

Nodes are the same where they have the same name, or else make a tensor of the same name, or else are the same operator
on the same tensors. A tensor is renamed where the same node makes it under another name; who reads it is not rewired.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper

from graphops import external, weights
from graphops.modelfile import LARGEST
from graphops.sanity import size_of
from graphops.verify import Arrays, Difference, difference
from passes.errors import ModelError, UserError
from passes.graph import Editor
from passes.operators import DEFAULT_DOMAINS
from passes.protobufs import type_name


@dataclass(frozen=True)
class Change:
    """Something that both models have, and that is not the same; or None where one of them has none.

    Attributes:
        name: what.
        before: as text.
        after: as text.
    """

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class NodeChange:
    """A node that both models have.

    Attributes:
        node: its name in the second model, or what it makes.
        op: its operator.
        changes: what differs: inputs and outputs by ``input 0``, ``output 0``, ..., or attributes by name.
    """

    node: str
    op: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class WeightChange:
    """A weight that both models have.

    Attributes:
        name: its name in the second model.
        before: its type and shape.
        after: its type and shape.
        largest: the largest absolute difference of its values; None where shapes differ or values are no numbers.
    """

    name: str
    before: str
    after: str
    largest: float | None


@dataclass(frozen=True)
class Diff:
    """All that changed.

    Attributes:
        model: versions, operator sets, metadata, inputs, outputs, functions.
        nodes_added: those that the second model alone has, as ``op 'name'``.
        nodes_removed: those that the first model alone has.
        rewired: nodes whose inputs or outputs are others.
        attributes: nodes whose attributes are others.
        tensors_added: what the second model alone computes.
        tensors_removed: what the first model alone computes.
        tensors: those whose type or shape, where both models tell it, or whose name is another.
        weights_added: with their types and shapes.
        weights_removed: with their types and shapes.
        weights: those of other values, types or shapes.
        outputs: how far the outputs lie apart, where both models ran.
        not_run: why they did not.
    """

    model: tuple[Change, ...] = ()
    nodes_added: tuple[str, ...] = ()
    nodes_removed: tuple[str, ...] = ()
    rewired: tuple[NodeChange, ...] = ()
    attributes: tuple[NodeChange, ...] = ()
    tensors_added: tuple[str, ...] = ()
    tensors_removed: tuple[str, ...] = ()
    tensors: tuple[Change, ...] = ()
    weights_added: tuple[Change, ...] = ()
    weights_removed: tuple[Change, ...] = ()
    weights: tuple[WeightChange, ...] = ()
    outputs: Difference | None = field(default=None, compare=False)
    not_run: str | None = field(default=None, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether the two models say the same, in the same words."""
        return self == Diff()


def diff(before: onnx.ModelProto, after: onnx.ModelProto, before_folder: Path, after_folder: Path) -> Diff:
    """What changed from one model to another; their outputs are not looked at.

    Args:
        before: may keep its weights in other files, which are read only where it takes that to compare them.
        after: as ``before``.
        before_folder: where the data files of ``before`` lie.
        after_folder: where those of ``after`` lie.
    """
    pairs, removed, added = _matched(before.graph.node, after.graph.node)
    renamed = _renamed(pairs, before.graph, after.graph)
    rewired = (_rewiring(a, b, renamed) for a, b in pairs)
    attributes = (_attributes(a, b) for a, b in pairs)
    made = [{name for node in graph.node for name in node.output if name} for graph in (before.graph, after.graph)]
    known = {renamed.get(name, name) for name in made[0]}
    weights_added, weights_removed, changed = _weights(before.graph, after.graph, before_folder, after_folder, renamed)
    return Diff(
        model=tuple(_model(before, after)),
        nodes_added=tuple(_called(node) for node in added),
        nodes_removed=tuple(_called(node) for node in removed),
        rewired=tuple(change for change in rewired if change.changes),
        attributes=tuple(change for change in attributes if change.changes),
        tensors_added=tuple(sorted(made[1] - known)),
        tensors_removed=tuple(sorted(name for name in made[0] if renamed.get(name, name) not in made[1])),
        tensors=tuple(_tensors(before, after, renamed)),
        weights_added=tuple(weights_added),
        weights_removed=tuple(weights_removed),
        weights=tuple(changed),
    )


Pairs = list[tuple[onnx.NodeProto, onnx.NodeProto]]


def _matched(
    before: Iterable[onnx.NodeProto], after: Iterable[onnx.NodeProto]
) -> tuple[Pairs, list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Nodes that are the same, in the second model's order; those that are the first's, and the second's, alone."""
    rest, others = list(before), list(after)
    pairs: dict[int, tuple[onnx.NodeProto, onnx.NodeProto]] = {}
    keys: tuple[Callable[[onnx.NodeProto], Any], ...] = (
        lambda node: node.name,
        lambda node: next((name for name in node.output if name), ""),
        lambda node: tuple(node.input),
    )
    for key in keys:
        found = [_unique(rest, key), _unique(others, key)]
        same = {id(found[0][k]): (found[0][k], found[1][k]) for k in found[0].keys() & found[1].keys()}
        pairs |= {id(b): (a, b) for a, b in same.values()}
        rest = [node for node in rest if id(node) not in same]
        others = [node for node in others if id(node) not in pairs]
    return [pairs[id(node)] for node in after if id(node) in pairs], rest, others


def _unique(nodes: list[onnx.NodeProto], key: Callable[[onnx.NodeProto], Any]) -> dict[Any, onnx.NodeProto]:
    """Nodes by operator and ``key``, those alone that no other has and that is not empty."""
    keys = [(_operator(node), key(node)) for node in nodes]
    counts = Counter(keys)
    return {k: node for k, node in zip(keys, nodes, strict=True) if counts[k] == 1 and k[1]}


def _operator(node: onnx.NodeProto) -> str:
    name = node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"
    return f"{name}:{node.overload}" if node.overload else name


def _called(node: onnx.NodeProto) -> str:
    made = next((name for name in node.output if name), "")
    return f"{_operator(node)} {node.name or made!r}"


def _renamed(pairs: Pairs, before: onnx.GraphProto, after: onnx.GraphProto) -> dict[str, str]:
    """New names by old ones, of tensors whose old name is gone and whose new name is new.

    What the same node makes is the same tensor, and so is what it reads where both are weights.
    """
    old, new = _names(before), _names(after)
    stored = {i.name for graph in (before, after) for i in graph.initializer}
    found: dict[str, str] = {}
    for first, second in pairs:
        read = [(a, b) for a, b in zip(first.input, second.input, strict=False) if a in stored and b in stored]
        made = list(zip(first.output, second.output, strict=False))
        for a, b in made + read:
            if a and b and a not in new and b not in old and b not in found.values():
                found.setdefault(a, b)
    return found


def _names(graph: onnx.GraphProto) -> set[str]:
    named = [*graph.input, *graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    return {value.name for value in named} | {name for node in graph.node for name in node.output}


def _rewiring(a: onnx.NodeProto, b: onnx.NodeProto, renamed: Mapping[str, str]) -> NodeChange:
    changes = []
    for kind, first, second in (("input", a.input, b.input), ("output", a.output, b.output)):
        for slot in range(max(len(first), len(second))):
            was = first[slot] if slot < len(first) else None
            now = second[slot] if slot < len(second) else None
            if (renamed.get(was, was) if was else was) != now:
                changes.append(Change(f"{kind} {slot}", was, now))
    return NodeChange(b.name or _called(b), _operator(b), tuple(changes))


def _attributes(a: onnx.NodeProto, b: onnx.NodeProto) -> NodeChange:
    first, second = ({attribute.name: attribute for attribute in node.attribute} for node in (a, b))
    changes = tuple(
        Change(name, _shown(first.get(name)), _shown(second.get(name)))
        for name in sorted(first.keys() | second.keys())
        if _content(first.get(name)) != _content(second.get(name))
    )
    return NodeChange(b.name or _called(b), _operator(b), changes)


def _content(attribute: onnx.AttributeProto | None) -> bytes | None:
    return None if attribute is None else attribute.SerializeToString(deterministic=True)


def _shown(attribute: onnx.AttributeProto | None) -> str | None:
    if attribute is None:
        return None
    if attribute.ref_attr_name:
        return f"@{attribute.ref_attr_name}"
    if attribute.HasField("t"):
        return f"{_typed(attribute.t)} {_digest(attribute.t)}"
    if attribute.HasField("g"):
        return f"{len(attribute.g.node)} nodes, {_digest(attribute.g)}"
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError:
        return "?"
    if isinstance(value, float):
        return f"{value:g}"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _typed(tensor: TensorProto) -> str:
    return f"{type_name(tensor.data_type)}[{', '.join(map(str, tensor.dims))}]"


def _value_type(value: onnx.ValueInfoProto) -> str:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value")
        return str(kind).removesuffix("_type") if kind else "?"
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return f"{type_name(tensor.elem_type)}[?]"
    dims = (str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim)
    return f"{type_name(tensor.elem_type)}[{', '.join(dims)}]"


def _model(before: onnx.ModelProto, after: onnx.ModelProto) -> Iterable[Change]:
    first, second = _facts(before), _facts(after)
    for name in dict.fromkeys([*first, *second]):
        if first.get(name) != second.get(name):
            yield Change(name, first.get(name), second.get(name))
    for kind in ("input", "output"):  # callers take them by their places
        both = [name for name in first if name.startswith(f"{kind} ") and name in second]
        now = [name for name in second if name in both]
        if both != now:
            was, now = ([name.removeprefix(f"{kind} ") for name in names] for names in (both, now))
            yield Change(f"order of {kind}s", ", ".join(was), ", ".join(now))


def _digest(message: Message) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()[:8]


def _facts(model: onnx.ModelProto) -> dict[str, str]:
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    facts = {"IR version": str(model.ir_version)}
    facts |= {f"opset {o.domain or 'ai.onnx'}": str(o.version) for o in model.opset_import}
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        if getattr(model, name):
            facts[name] = str(getattr(model, name))
    facts |= {"graph": graph.name} if graph.name else {}
    facts |= {f"metadata {p.key}": p.value for p in model.metadata_props}
    facts |= {f"input {v.name}": _value_type(v) for v in graph.input if v.name not in constants}
    facts |= {f"output {v.name}": _value_type(v) for v in graph.output}
    for annotation in graph.quantization_annotation:
        parameters = ", ".join(f"{p.key}={p.value}" for p in annotation.quant_parameter_tensor_names)
        facts[f"quantization of {annotation.tensor_name}"] = parameters
    for function in model.functions:
        digest = f"{len(function.node)} nodes, {_digest(function)}"
        facts[f"function {function.domain}.{function.name}{function.overload and ':' + function.overload}"] = digest
    for number, info in enumerate(model.training_info):
        facts[f"training {number}"] = _digest(info)
    return facts


def _tensors(before: onnx.ModelProto, after: onnx.ModelProto, renamed: Mapping[str, str]) -> Iterable[Change]:
    """Tensors that nodes of both make, where their names or what is known of their types differ."""
    first, second = _types(before), _types(after)
    for name, was in first.items():
        now_called = renamed.get(name, name)
        if now_called not in second:
            continue
        now = second[now_called]
        if name != now_called:
            yield Change(name, was or name, f"{now_called}, {now}" if now else now_called)
        elif was is not None and now is not None and was != now:
            yield Change(name, was, now)


def _types(model: onnx.ModelProto) -> dict[str, str | None]:
    """Types and shapes, as far as they can be inferred, of what nodes make."""
    made = [name for node in model.graph.node for name in node.output if name]
    try:
        editor = Editor(model)
        return {name: _inferred(editor, name) for name in made}
    except ModelError:
        return dict.fromkeys(made)


def _inferred(editor: Editor, name: str) -> str | None:
    tensor = editor.tensor(name)
    kind, shape = editor.element_type(tensor), editor.shape(tensor)
    if kind is None or shape is None:
        return None
    return f"{type_name(kind)}[{', '.join('?' if d is None else str(d) for d in shape)}]"


def _weights(
    before: onnx.GraphProto,
    after: onnx.GraphProto,
    before_folder: Path,
    after_folder: Path,
    renamed: Mapping[str, str],
) -> tuple[list[Change], list[Change], list[WeightChange]]:
    """Weights that are the second model's alone, the first's alone, and both models' but others."""
    first, second = _stored(before), _stored(after)
    changed = []
    for name, was in first.items():
        now_called = renamed.get(name, name)
        now = second.get(now_called)
        if now is None:
            continue
        if _typed(was) != _typed(now):
            changed.append(WeightChange(now_called, _typed(was), _typed(now), None))
        elif not weights.are_equal(was, before_folder, now, after_folder):
            largest = weights.largest_difference(was, before_folder, now, after_folder)
            changed.append(WeightChange(now_called, _typed(was), _typed(now), largest))
    known = {renamed.get(name, name) for name in first}
    added = [Change(name, None, _typed(tensor)) for name, tensor in second.items() if name not in known]
    removed = [Change(n, _typed(t), None) for n, t in first.items() if renamed.get(n, n) not in second]
    return added, removed, changed


def _stored(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    stored = {i.name: i for i in graph.initializer}
    for sparse in graph.sparse_initializer:
        stored |= {sparse.values.name: sparse.values, f"{sparse.values.name} (indices)": sparse.indices}
    return stored


def with_outputs(
    found: Diff, before: onnx.ModelProto, after: onnx.ModelProto, folders: tuple[Path, Path], feeds: Arrays | None
) -> Diff:
    """``found`` with how far the outputs of both models lie apart, or why they cannot be compared.

    Args:
        found: what else changed.
        before: as for `diff`.
        after: as for `diff`.
        folders: where the data files of each lie.
        feeds: inputs by name; random ones are drawn where there are none.

    Raises:
        UserError: when the models do not run on the inputs given.
    """
    try:
        whole = [_in_memory(model, folder) for model, folder in zip((before, after), folders, strict=True)]
        return replace(found, outputs=difference(whole[0], whole[1], feeds=feeds))
    except UserError as error:
        if feeds is not None:
            raise
        return replace(found, not_run=str(error))


def _in_memory(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    tensors = external.external_tensors(model)
    if not tensors:
        return model
    size = sum(size_of(tensor) or 0 for tensor in tensors)
    if size > LARGEST:
        raise ModelError(f"The model has {size / 2**30:.1f} GB of weights, too much to run it here; nothing was run.")
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    external.load(whole, folder)
    return whole
