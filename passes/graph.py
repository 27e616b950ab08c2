"""Lossless editing of an ONNX graph.

onnx-graphsurgeon's nodes and tensors keep producers and consumers in step while a pass rewires them. Its importer
and exporter, though, drop what they do not know (metadata_props, quantization annotations, doc strings, value_info
of other types, node order around subgraphs). So the editor borrows the objects and writes the result itself: what
a pass did not touch is copied from the source's own protobufs, in the source's order, and no weight is ever read
unless a pass asks for its value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import helper, numpy_helper

from passes.errors import ModelError
from passes.inference import infer_types
from passes.objects import Node, Tensor
from passes.operators import DEFAULT_DOMAINS, QUANTISERS, RANDOM, required
from passes.order import Cycle, stable_topological_order
from passes.protobufs import (
    VALUE_FIELDS,
    copy_fields,
    graphs,
    in_memory,
    is_big,
    names_in,
    names_read,
    names_trained,
    read_value,
    typed,
)

__all__ = [
    "DEFAULT_DOMAINS",
    "QUANTISERS",
    "RANDOM",
    "Editor",
    "Node",
    "Shape",
    "attributes",
    "is_standard",
    "is_unknown",
    "label",
    "show",
]

T = TypeVar("T")

Shape = tuple[int | str | None, ...]

# From this version of ONNX's file format on, initialisers need not be listed among the graph's inputs.
_INITIALISERS_ALONE = 4


def attributes(node: Node) -> dict[str, Any]:
    """The node's attributes as Python values; those that refer to a function's parameter are left out."""
    return {a.name: helper.get_attribute_value(a) for a in node.source.attribute if not a.ref_attr_name}


def is_standard(node: Node) -> bool:
    """Whether the node is an operator of ONNX itself."""
    return (node.domain or "") in DEFAULT_DOMAINS


def show(shape: Shape | None) -> str:
    """A shape for a sentence, e.g. ``[N, 16, 32, 32]``."""
    return "an unknown shape" if shape is None else f"[{', '.join('?' if is_unknown(d) else str(d) for d in shape)}]"


def is_unknown(size: int | str | None) -> bool:
    """Whether nothing is known of a dimension; onnx's inference invents names for some of these."""
    return size is None or str(size).startswith("unk__")


def label(node: Node) -> str:
    """What to call a node in a sentence: its name, or its operator and output where it has none."""
    if node.name:
        return f"{node.op} {node.name!r}"
    made = [t.name for t in node.outputs if t.name]
    return f"{node.op} that makes {made[0]!r}" if made else f"{node.op} without a name"


class Editor:
    """One model being edited. The source model is read, never modified.

    Raises:
        ModelError: when two nodes make one tensor, a node lacks an input, or reads what nothing makes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.source = model
        self.opset = next((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), 0)
        graph = model.graph
        self._tensors: dict[str, gs.Variable] = {}
        self._initializers: dict[str, onnx.TensorProto] = {i.name: i for i in graph.initializer}
        self._sparse = {s.values.name for s in graph.sparse_initializer}
        self._new_initializers: dict[str, onnx.TensorProto] = {}
        self._dropped_initializers: set[str] = set()
        self._stale_shapes: set[str] = set()
        self._metadata: dict[str, str] = {}
        self._groups: dict[int, list[Node]] = {}  # a source node and what was put beside it, by the id of each
        self._dead: set[int] = set()
        self._attributes: dict[int, dict[str, Any]] = {}
        self._changed = False
        self._memory: dict[str, Any] = {}
        self._names: set[str] | None = None  # gathered when the first new one is wanted
        self._captures: dict[int, frozenset[str]] = {}  # by the id of a node with subgraphs: what they read
        self._bound = frozenset(names_trained(model))
        self.outputs: frozenset[str] = frozenset(o.name for o in graph.output)
        constant_names = self._initializers.keys() | self._sparse
        self.inputs: tuple[str, ...] = tuple(i.name for i in graph.input if i.name not in constant_names)
        self._parameters_of = {
            a.tensor_name: [p.value for p in a.quant_parameter_tensor_names] for a in graph.quantization_annotation
        }
        self._parameters = {name for names in self._parameters_of.values() for name in names}
        self.joins: dict[str, Node] = {}  # of the skips that `skips.analyse` found here, by number
        self._nodes: list[Node] = []
        self._made: set[str] = set()  # names of the tensors that nodes made before the first edit
        given = {*constant_names, *self.inputs}
        for proto in graph.node:
            node = Node(proto, [self.tensor(n) for n in proto.input], [self.tensor(n) for n in proto.output])
            self._nodes.append(node)
            subgraphs = [g for a in proto.attribute for g in graphs(a)]
            if subgraphs:
                self._captures[id(node)] = frozenset(n for g in subgraphs for n in names_read(g))
            for name in proto.output:
                if name and (name in self._made or name in given):
                    raise ModelError(
                        f"The tensor {name!r} is made twice; give each tensor one producer, as ONNX demands."
                    )
                self._made.add(name)
        self._captured = Counter(n for names in self._captures.values() for n in names)
        self._check_wiring(given)

    def _check_wiring(self, given: set[str]) -> None:
        for node in self._nodes:
            if is_standard(node):
                inputs, outputs = required(node.op, self.opset)
                for kind, slots, tensors in (("input", inputs, node.inputs), ("output", outputs, node.outputs)):
                    for slot in slots:
                        if slot >= len(tensors) or not tensors[slot].name:
                            raise ModelError(
                                f"{label(node)} lacks its {kind} {slot}; export the model again, as ONNX demands it."
                            )
            for tensor in node.inputs:
                if tensor.name and not tensor.inputs and tensor.name not in given:
                    raise ModelError(
                        f"{label(node)} reads {tensor.name!r}, which nothing makes; export the model again."
                    )
        for name in self.outputs:
            if name not in self._made and name not in given:
                raise ModelError(f"Nothing makes the graph output {name!r}; export the model again.")

    # -- looking ---------------------------------------------------------------------------------------------

    def tensor(self, name: str) -> gs.Variable:
        """The tensor called ``name``; an omitted optional input is a fresh empty one."""
        if not name:
            return Tensor("")
        if name not in self._tensors:
            self._tensors[name] = Tensor(name)
        return self._tensors[name]

    @property
    def nodes(self) -> list[Node]:
        """The live nodes in a topological order that keeps the source's order wherever it can.

        Raises:
            ModelError: when the nodes form a cycle.
        """

        def order() -> list[Node]:
            each = (node for source in self._nodes for node in self._groups.get(id(source), (source,)))
            return self._in_order([node for node in each if id(node) not in self._dead])

        return self.remember("nodes", order)

    def _in_order(self, nodes: list[Node]) -> list[Node]:
        try:
            return stable_topological_order(nodes, self._needs)
        except Cycle as error:
            raise ModelError(
                f"The graph has a cycle through {label(error.args[0])}; an ONNX graph must be acyclic."
            ) from None

    def _needs(self, node: Node) -> list[Node]:
        """The nodes that make what ``node`` or one of its subgraphs reads."""
        makers = [maker for tensor in node.inputs for maker in tensor.inputs]
        for name in self._captures.get(id(node), ()):
            if name in self._tensors:
                makers += self._tensors[name].inputs
        return makers

    def producer(self, tensor: gs.Variable) -> Node | None:
        """The node that makes ``tensor``, or None for graph inputs and initialisers."""
        return tensor.inputs[0] if tensor.inputs else None

    def consumers(self, tensor: gs.Variable) -> list[Node]:
        """The nodes of the top-level graph that read ``tensor``, each once."""
        return list(dict.fromkeys(tensor.outputs))

    def is_pinned(self, tensor: gs.Variable) -> bool:
        """Whether the name must live on: a graph output, or read inside a subgraph or by the training information."""
        return tensor.name in self.outputs or self._captured[tensor.name] > 0 or tensor.name in self._bound

    def is_read(self, tensor: gs.Variable) -> bool:
        """Whether anything needs ``tensor``: a node, or whoever its name must live on for."""
        return bool(tensor.name) and (bool(tensor.outputs) or self.is_pinned(tensor))

    def is_private(self, tensor: gs.Variable) -> bool:
        """Whether exactly one node input reads ``tensor`` and nothing else sees it."""
        return len(tensor.outputs) == 1 and not self.is_pinned(tensor)

    def captured_by(self, node: Node) -> frozenset[str]:
        """Names that the node's subgraphs read from outside themselves (or could)."""
        return self._captures.get(id(node), frozenset())

    def read_by(self, node: Node) -> list[gs.Variable]:
        """The tensors that the node reads, itself or in its subgraphs."""
        captured = [self._tensors[n] for n in self._captures.get(id(node), ()) if n in self._tensors]
        return [t for t in node.inputs if t.name] + captured

    def readers(self, tensor: gs.Variable) -> list[Node]:
        """The nodes that read ``tensor``, themselves or in their subgraphs, each once."""
        readers = self.consumers(tensor)
        if self._captured[tensor.name]:
            readers += [n for n in self.nodes if tensor.name in self.captured_by(n) and n not in readers]
        return readers

    def initializer(self, name: str) -> onnx.TensorProto | None:
        """The initialiser called ``name`` as it stands now."""
        if name in self._new_initializers:
            return self._new_initializers[name]
        if name in self._dropped_initializers:
            return None
        return self._initializers.get(name)

    def is_initializer(self, tensor: gs.Variable) -> bool:
        return self.initializer(tensor.name) is not None or tensor.name in self._sparse

    def size(self, tensor: gs.Variable) -> int | None:
        """The number of elements of a constant, without reading it; None when unknown."""
        proto = self.initializer(tensor.name)
        if proto is None:
            node = self.producer(tensor)
            if node is None or node.op != "Constant":
                shape = self.shape(tensor)
                known = shape is not None and all(isinstance(d, int) for d in shape)
                return math.prod(shape) if known else None  # type: ignore[arg-type]
            value = attributes(node)
            if "value" not in value:
                return int(np.size(next(iter(value.values()))))
            proto = value["value"]
        return math.prod(proto.dims)

    def value(self, tensor: gs.Variable, known: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """The value of a constant: an initialiser, a Constant node, or what is computed from those alone.

        Args:
            tensor: the constant.
            known: values by name that need not be computed; what is computed on the way is added.

        Raises:
            ModelError: when the tensor is no constant, its data are external, or an operator has no reference.
        """
        known = {} if known is None else known
        nodes: dict[int, Node] = {}
        pending = [tensor]
        while pending:
            current = pending.pop()
            proto = self.initializer(current.name)
            if proto is not None:
                known[current.name] = read_value(proto)
            if current.name in known:
                continue
            node = self.producer(current)
            if node is None:
                raise ModelError(f"The tensor {tensor.name!r} is no constant: it depends on {current.name!r}.")
            if not is_standard(node) or node.op in RANDOM or self.captured_by(node):
                raise ModelError(f"The tensor {tensor.name!r} cannot be computed: {label(node)} is in its way.")
            if id(node) not in nodes:
                nodes[id(node)] = node
                pending.extend(t for t in node.inputs if t.name)
        for node in self._in_order(list(nodes.values())):
            self._evaluate(node, known)
        return known[tensor.name]

    def _evaluate(self, node: Node, known: dict[str, np.ndarray]) -> None:
        """Compute what ``node`` makes of ``known`` values, and add it to them."""
        from passes.affordable import reason_against, sizes_made
        from passes.reference import evaluate

        proto = _proto(node, self._attributes.get(id(node), {}))
        proto.domain = ""  # the evaluator knows no other name for it
        for attribute in proto.attribute:
            in_memory(attribute.t)
        read = [np.size(known[t.name]) for t in node.inputs if t.name]
        reason = reason_against(node.op, read, sizes_made(proto, known, self.opset), self.room)
        if reason is not None:
            raise ModelError(f"{label(node)} cannot be computed: {reason}.")
        try:
            results = [np.asarray(r) for r in evaluate(proto, known, self.opset)]  # a sequence may be no array
        except Exception as error:
            raise ModelError(f"{label(node)} cannot be computed: {str(error).rstrip('.')}.") from error
        known |= {t.name: r for t, r in zip(node.outputs, results, strict=True) if t.name}

    @cached_property
    def room(self) -> int:
        """The elements that a constant computed in a pass may have."""
        from passes.affordable import room

        given = [a.t for n in self.source.graph.node if n.op_type == "Constant" for a in n.attribute]
        return room(sum(math.prod(tensor.dims) for tensor in [*self._initializers.values(), *given]))

    def shape(self, tensor: gs.Variable) -> Shape | None:
        """The inferred shape: ints, names of symbolic dimensions, None for unknown ones; None when unknown."""
        value = self._types().get(tensor.name)
        if value is None or not value.type.tensor_type.HasField("shape"):
            return None
        return tuple(
            d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in value.type.tensor_type.shape.dim
        )

    def element_type(self, tensor: gs.Variable) -> int | None:
        """The onnx.TensorProto.DataType, or None when unknown."""
        value = self._types().get(tensor.name)
        return value.type.tensor_type.elem_type or None if value is not None else None

    def _types(self) -> dict[str, onnx.ValueInfoProto]:
        def infer() -> dict[str, onnx.ValueInfoProto]:
            light = onnx.ModelProto(ir_version=self.source.ir_version)
            light.opset_import.extend(self.source.opset_import)
            light.functions.extend(self.source.functions)
            self._write(light, light=True)
            return infer_types(light)

        return self.remember("types", infer)

    def remember(self, key: str, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, computed once between two edits."""
        if key not in self._memory:
            self._memory[key] = compute()
        value: T = self._memory[key]
        return value

    # -- editing ---------------------------------------------------------------------------------------------

    def fresh(self, base: str) -> str:
        """``base``, or ``base`` with the first number that makes it a name nobody has."""
        if self._names is None:
            self._names = self._all_names()
        name, n = base, 1
        while name in self._names:
            n += 1
            name = f"{base}_{n}"
        self._names.add(name)
        return name

    def _all_names(self) -> set[str]:
        graph = self.source.graph
        names = {n.name for n in self._nodes} | self._tensors.keys() | self._initializers.keys() | self._sparse
        names |= {*self.inputs, *self.outputs} | {v.name for v in graph.value_info}
        names |= self._parameters | self._parameters_of.keys()
        return names | {n for p in graph.node for a in p.attribute for g in graphs(a) for n in names_in(g)}

    def add_constant(self, name: str, value: np.ndarray, kind: int | None = None) -> gs.Variable:
        """A new initialiser, named ``name`` or, where that is taken, after it.

        ``kind`` is its onnx.TensorProto.DataType where the type of ``value`` does not say it: onnx before 1.19 knows
        no type of numpy for bfloat16.
        """
        name = self.fresh(name)
        proto = numpy_helper.from_array(np.asarray(value), name)
        if kind not in (None, proto.data_type):
            proto = helper.make_tensor(name, kind, np.shape(value), np.ravel(value))
        self._new_initializers[name] = proto
        self._touch()
        return self.tensor(name)

    def become_constant(self, tensor: gs.Variable, value: np.ndarray) -> None:
        """Make ``tensor``, under its name, an initialiser of ``value``; what only computed it goes."""
        maker = self.producer(tensor)
        assert maker is not None, "only what a node makes can become a constant"
        place = [t.name for t in maker.outputs].index(tensor.name)
        maker.outputs[place] = Tensor("")
        self._new_initializers[tensor.name] = numpy_helper.from_array(np.asarray(value), tensor.name)
        if any(map(self.is_read, maker.outputs)):
            maker.outputs[place] = self.tensor(self.fresh(f"{tensor.name}_computed"))  # the node may not lack one
        else:
            self.remove(maker)
        self._touch()

    def store_as(self, tensor: gs.Variable, stored: Iterable[gs.Variable], op: str, **attrs: Any) -> None:
        """Replace the initialiser ``tensor`` by a node that makes it, under its name, from ``stored``."""
        self._dropped_initializers.add(tensor.name)
        self._new_initializers.pop(tensor.name, None)
        first = tensor.outputs[0]
        self.add_node(op, stored, f"{tensor.name}_{op.lower()}", before=first, output=tensor, **attrs)

    def add_node(
        self,
        op: str,
        inputs: Iterable[gs.Variable],
        name: str,
        *,
        before: Node | None = None,
        after: Node | None = None,
        output: gs.Variable | None = None,
        domain: str | None = None,
        **attrs: Any,
    ) -> gs.Variable:
        """A new node beside another one, standard unless ``domain`` says otherwise; returns the tensor it makes.

        ``name`` names node and output (made unique). With ``output`` the node makes that tensor instead, which
        must have lost its producer.
        """
        made = self.tensor(self.fresh(f"{name}_out")) if output is None else output
        name = self.fresh(name)
        node = Node(helper.make_node(op, [], [], name=name, domain=domain, **attrs), list(inputs), [made])
        if not self._nodes:
            self._nodes.append(node)
        else:
            anchor = before or after or self._nodes[-1]
            group = self._groups.setdefault(id(anchor), [anchor])
            group.insert(group.index(anchor) + (before is None), node)
            self._groups[id(node)] = group
        self._touch()
        return made

    def set_attribute(self, node: Node, name: str, value: Any) -> None:
        """Set one attribute; the others keep their protobufs."""
        self._attributes.setdefault(id(node), {})[name] = value
        self._touch()

    def attribute(self, node: Node, name: str, default: Any = None) -> Any:
        """One attribute's value as it stands now."""
        changed = self._attributes.get(id(node), {})
        if name in changed:
            return changed[name]
        found = (a for a in node.source.attribute if a.name == name and not a.ref_attr_name)
        return next((helper.get_attribute_value(a) for a in found), default)

    def set_input(self, node: Node, slot: int, tensor: gs.Variable) -> None:
        """Make input ``slot`` of ``node`` read ``tensor``, adding omitted inputs before it where needed."""
        while len(node.inputs) <= slot:
            node.inputs.append(Tensor(""))
        node.inputs[slot] = tensor
        self._touch()

    def set_output(self, node: Node, tensor: gs.Variable) -> None:
        """Make ``tensor`` the first output of ``node``; the node that made it so far makes it no longer."""
        self.release(tensor)
        node.outputs[0] = tensor
        self._touch()

    def release(self, tensor: gs.Variable) -> None:
        """Let the node that makes ``tensor``, if any, make it no longer."""
        maker = self.producer(tensor)
        if maker is not None:
            maker.outputs[[t.name for t in maker.outputs].index(tensor.name)] = Tensor("")
            self._touch()

    def set_weight(self, node: Node, slot: int, value: np.ndarray, name: str) -> None:
        """Give ``node`` its own constant at input ``slot``.

        An initialiser that only this node reads keeps its name and takes the value; a shared, computed or missing
        one is left to its other readers, and a new initialiser called ``name`` takes its place.
        """
        old = node.inputs[slot] if slot < len(node.inputs) and node.inputs[slot].name else None
        if old is not None:
            proto = self.initializer(old.name)
            if proto is not None and self.is_private(old) and not self._is_annotated(old):
                replaced = numpy_helper.from_array(np.asarray(value), old.name)
                copy_fields(proto, replaced, leave=VALUE_FIELDS)
                self._new_initializers[old.name] = replaced
                self._stale_shapes.add(old.name)
                self._touch()
                return
        self.set_input(node, slot, self.add_constant(name, value))
        if old is not None:
            self.prune([old])

    def redirect(self, old: gs.Variable, new: gs.Variable) -> None:
        """Everything that read ``old`` reads ``new``, and ``old`` loses its producer.

        Where the name ``old`` must live on, the node that makes ``new`` makes ``old`` instead; an Identity is put
        between them where that cannot be (``new`` must live on too, or has no producer).
        """
        anchor = self.producer(old)
        if anchor is not None:
            anchor.outputs[anchor.outputs.index(old)] = Tensor("")
        for node in self.consumers(old):
            for slot, tensor in enumerate(node.inputs):
                if tensor.name == old.name:
                    node.inputs[slot] = new
        if self.is_pinned(old):
            maker = self.producer(new)
            if maker is None or self.is_pinned(new):
                self.add_node("Identity", [new], f"{old.name}_identity", after=anchor, output=old)
            else:
                maker.outputs[[t.name for t in maker.outputs].index(new.name)] = old
                for node in self.consumers(new):
                    for slot, tensor in enumerate(node.inputs):
                        if tensor.name == new.name:
                            node.inputs[slot] = old
        self._touch()

    def splice(
        self, tensor: gs.Variable, op: str, others: Iterable[gs.Variable], name: str, **attrs: Any
    ) -> gs.Variable:
        """Everything that read ``tensor`` reads ``op(tensor, *others)``, which is returned.

        Where the name must live on, the new node makes it, and the node that made it makes a new tensor instead.
        """
        maker, readers = self.producer(tensor), self.consumers(tensor)
        assert maker is not None, "only what a node makes can be spliced"
        if self.is_pinned(tensor):
            moved = self.tensor(self.fresh(f"{tensor.name}_before_{name}"))
            maker.outputs[[t.name for t in maker.outputs].index(tensor.name)] = moved
            result = self.add_node(op, [moved, *others], name, after=maker, output=tensor, **attrs)
        else:
            result = self.add_node(op, [tensor, *others], name, after=maker, **attrs)
            for node in readers:
                for slot, read in enumerate(node.inputs):
                    if read.name == tensor.name:
                        node.inputs[slot] = result
        return result

    def remove(self, node: Node) -> None:
        """Take out ``node`` and whatever only it used."""
        self.prune(self._take_out(node))

    def _take_out(self, node: Node) -> list[gs.Variable]:
        """Take out ``node``; returns what it and its subgraphs read."""
        read = list(node.inputs)
        for name in self._captures.pop(id(node), ()):
            self._captured[name] -= 1
            read.append(self.tensor(name))
        node.inputs.clear()
        node.outputs.clear()
        self._dead.add(id(node))
        self._touch()
        return read

    def prune(self, tensors: Iterable[gs.Variable]) -> None:
        """Take out those of ``tensors`` that nobody reads, and in turn what only they used."""
        pending = list(tensors)
        while pending:
            tensor = pending.pop()
            if not tensor.name or self.is_read(tensor):
                continue
            node = self.producer(tensor)
            if node is None:
                if tensor.name not in self._parameters:
                    self._drop_initializer(tensor.name)
            elif not any(map(self.is_read, node.outputs)):
                pending.extend(self._take_out(node))

    def _drop_initializer(self, name: str) -> None:
        if self.initializer(name) is not None or name in self._sparse:
            self._dropped_initializers.add(name)
            self._new_initializers.pop(name, None)
            self._touch()

    def _is_annotated(self, tensor: gs.Variable) -> bool:
        return tensor.name in self._parameters or tensor.name in self._parameters_of

    def forget_shape(self, tensor: gs.Variable) -> None:
        """Drop the source's value_info of a tensor whose shape a pass has changed."""
        self._stale_shapes.add(tensor.name)
        self._touch()

    def metadata(self, key: str) -> str | None:
        """One entry of the model's metadata_props, as it stands now."""
        if key in self._metadata:
            return self._metadata[key]
        return next((p.value for p in self.source.metadata_props if p.key == key), None)

    def set_metadata(self, key: str, value: str) -> None:
        if self.metadata(key) != value:
            self._metadata[key] = value
            self._touch()

    def _touch(self) -> None:
        self._changed = True
        self._memory.clear()

    # -- writing ---------------------------------------------------------------------------------------------

    def finish(self) -> tuple[onnx.ModelProto, bool]:
        """The edited model, and whether it differs from the source."""
        result = onnx.ModelProto()
        if not self._changed:
            result.CopyFrom(self.source)
            return result, False
        self._drop_parameters()
        copy_fields(self.source, result, leave={"graph"})
        for key, text in self._metadata.items():
            entry = next((p for p in result.metadata_props if p.key == key), None) or result.metadata_props.add(key=key)
            entry.value = text
        known = {o.domain for o in result.opset_import} | DEFAULT_DOMAINS
        for domain in sorted({n.domain for n in self.nodes if n.domain} - known):
            result.opset_import.add(domain=domain, version=1)
        self._write(result, light=False)
        return result, True

    def _gone(self, live: list[Node]) -> set[str]:
        """The tensors of the source that are no more."""
        gone = self._made | self._dropped_initializers
        return gone - {t.name for n in live for t in n.outputs} - self._new_initializers.keys()

    def _drop_parameters(self) -> None:
        """Take out the scales and zero points that only annotations of tensors that are no more used."""
        gone = self._gone(self.nodes)
        kept = {p for name, names in self._parameters_of.items() if name not in gone for p in names}
        orphans = self._parameters - kept
        self._parameters = kept
        self.prune(self.tensor(name) for name in sorted(orphans))

    def _write(self, model: onnx.ModelProto, light: bool) -> None:
        """Write the graph as it stands into ``model``; ``light``: for shape inference, big weights only as types."""
        source, graph = self.source.graph, model.graph
        live = self.nodes
        gone = self._gone(live)
        rewritten = {"node", "input", "initializer", "sparse_initializer", "value_info", "quantization_annotation"}
        copy_fields(source, graph, leave=rewritten)
        for value in source.input:  # old models list their initialisers here too
            if value.name in self._new_initializers:
                graph.input.append(typed(self._new_initializers[value.name]))
            elif value.name not in self._dropped_initializers:
                graph.input.append(value)
        for node in live:
            value = _big_constant(node) if light else None
            if value is not None:
                graph.input.append(typed(value, node.outputs[0].name))
            else:
                graph.node.append(_proto(node, self._attributes.get(id(node), {})))
        listed = {i.name for i in source.input}
        kept = [i for i in source.initializer if i.name not in self._dropped_initializers]
        new = [t for name, t in self._new_initializers.items() if name not in self._initializers]
        if self.source.ir_version < _INITIALISERS_ALONE:
            graph.input.extend(typed(t) for t in new if t.name not in listed)
            listed |= {t.name for t in new}
        for proto in [self._new_initializers.get(i.name, i) for i in kept] + new:
            if not (light and is_big(proto)):
                graph.initializer.append(proto)
            elif proto.name not in listed:
                graph.input.append(typed(proto))
        graph.sparse_initializer.extend(
            s for s in source.sparse_initializer if s.values.name not in self._dropped_initializers
        )
        graph.value_info.extend(v for v in source.value_info if v.name not in gone and v.name not in self._stale_shapes)
        graph.quantization_annotation.extend(a for a in source.quantization_annotation if a.tensor_name not in gone)


def _big_constant(node: Node) -> onnx.TensorProto | None:
    """The value of a Constant node that holds a big one."""
    if node.op != "Constant" or not is_standard(node):
        return None
    return next((a.t for a in node.source.attribute if a.name == "value" and is_big(a.t)), None)


def _proto(node: Node, changed: dict[str, Any]) -> onnx.NodeProto:
    """The node as a protobuf: the source's, with today's inputs, outputs and changed attributes."""
    proto = onnx.NodeProto()
    proto.CopyFrom(node.source)
    outputs = [t.name for t in node.outputs]
    if list(proto.input) != [t.name for t in node.inputs]:
        del proto.input[:]
        proto.input.extend(t.name for t in node.inputs)
    if list(proto.output) != outputs:
        del proto.output[:]
        proto.output.extend(outputs)
    for name, value in changed.items():
        new = helper.make_attribute(name, value)
        old = next((a for a in proto.attribute if a.name == name), None)
        if old is None:
            proto.attribute.append(new)
        else:
            old.CopyFrom(new)
    return proto
