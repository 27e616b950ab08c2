"""Flattening the functions that exporters write."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx
from onnx import inliner

from passes.base import Pass, PassResult, register
from passes.errors import PassError
from passes.graph import Editor
from passes.inference import infer_types
from passes.operators import DEFAULT_DOMAINS
from passes.protobufs import copy_fields, with_subgraphs

_MOST_NODES = 2_000_000

Operator = tuple[str, str, str]
"""Domain, name and, of functions that share these, which one."""


@register
@dataclass(frozen=True)
class InlineFunctions(Pass):
    """Replaces calls of the model's own functions by their nodes (onnx's inliner does it). Exact.

    Nodes without a name are called after their function and operator.
    """

    name: ClassVar[str] = "inline-functions"
    exact: ClassVar[bool] = True

    def apply(self, model: onnx.ModelProto) -> PassResult:
        if not model.functions:
            return super().apply(model)
        self._check_size(model)
        flat = self._flatten(_light(model))
        _complete(flat, model)
        # What a function was given but did not use, nothing uses now.
        editor = Editor(flat)
        editor.prune(editor.tensor(name) for name in _calls_read(model))
        flat, _ = editor.finish()
        count = len(model.functions)
        return PassResult(flat, True, (f"{count} function{'s' if count > 1 else ''} inlined.",))

    def rewrite(self, editor: Editor) -> list[str]:
        return []

    def _check_size(self, model: onnx.ModelProto) -> None:
        """Refuse functions that multiply: thirty that call the next one twice are a billion nodes."""
        bodies = {_function(f): _operators(f.node) for f in model.functions}
        sizes: dict[Operator, int] = {}
        pending = list(bodies)
        opened: set[Operator] = set()
        while pending:
            function = pending[-1]
            inner = [call for call in bodies[function] if call in bodies]
            waiting = [call for call in inner if call not in sizes]
            if waiting and function not in opened:
                opened.add(function)
                pending += waiting
                continue
            if waiting:  # onnx's inliner would say so as well, but up to 1.17 it crashes
                raise PassError(
                    self.name,
                    f"function {function[1]!r}",
                    "it calls itself, by itself or through others",
                    "export the model without functions",
                )
            sizes[function] = sum(sizes.get(call, 1) for call in bodies[function])
            pending.pop()
        total = sum(sizes.get(call, 1) for call in _operators(model.graph.node))
        if total > _MOST_NODES:
            raise PassError(
                self.name,
                "the graph",
                f"its functions stand for more than {_MOST_NODES:,} nodes",
                "export the model without functions",
            )

    def _flatten(self, model: onnx.ModelProto) -> onnx.ModelProto:
        try:
            flat = inliner.inline_local_functions(model)
            if flat.functions:  # written for other versions of operators than the graph
                flat = _converted(model)
        except Exception as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise PassError(self.name, "the graph", reason, "export the model without functions") from error
        if flat.functions:
            function = flat.functions[0].name
            reason = "it is written for other versions of operators than the graph and cannot be converted"
            raise PassError(self.name, f"function {function!r}", reason, "export the model without functions")
        return flat


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The inliner's result with functions brought to the graph's operator sets, for which it needs all types."""
    said = {value.name for value in model.graph.value_info}
    typed, copy = onnx.ModelProto(), onnx.ModelProto()
    typed.CopyFrom(model)
    copy.CopyFrom(model)
    types = infer_types(copy)
    typed.graph.value_info.extend(value for name, value in types.items() if name not in said)
    flat = inliner.inline_local_functions(typed, convert_version=True)
    kept = [value for value in flat.graph.value_info if value.name in said]
    del flat.graph.value_info[:]
    flat.graph.value_info.extend(kept)
    _tell_apart(flat.graph, {name for node in model.graph.node for name in node.output})
    return flat


def _tell_apart(graph: onnx.GraphProto, given: set[str]) -> None:
    """Rename, in place, what a conversion calls alike in each call; it is read right behind what makes it."""
    made: set[str] = set()
    current: dict[str, str] = {}
    taken = {name for node in graph.node for name in node.output} | given
    for node in graph.node:
        node.input[:] = [current.get(name, name) for name in node.input]
        for place, name in enumerate(node.output):
            if name in made - given:
                new = next(n for i in itertools.count(2) if (n := f"{name}_{i}") not in taken)
                node.output[place] = current[name] = new
                taken.add(new)
            elif name:
                made.add(name)


def _calls_read(model: onnx.ModelProto) -> set[str]:
    """What calls of functions read, in the graph and in its subgraphs."""
    functions = {_function(f) for f in model.functions}
    nodes = (n for graph in with_subgraphs(model.graph) for n in graph.node)
    return {name for n in nodes if _operator(n) in functions for name in n.input} - {""}


def _function(function: onnx.FunctionProto) -> Operator:
    return function.domain, function.name, function.overload


def _operator(node: onnx.NodeProto) -> Operator:
    return node.domain, node.op_type, node.overload


def _operators(nodes: list[onnx.NodeProto]) -> list[Operator]:
    """Those of nodes, those in subgraphs as well."""
    graph = onnx.GraphProto()
    graph.node.extend(nodes)
    return [_operator(n) for each in with_subgraphs(graph) for n in each.node]


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without the values of weights, where nodes in functions have names and calls all attributes."""
    light = onnx.ModelProto()
    copy_fields(model, light, leave={"graph"})
    copy_fields(model.graph, light.graph, leave={"initializer"})
    for proto in model.graph.initializer:
        light.graph.initializer.add(name=proto.name, data_type=proto.data_type, dims=proto.dims)
    defaults = {_function(f): f.attribute_proto for f in model.functions}
    _give(light.graph, defaults)
    for function in light.functions:
        graph = onnx.GraphProto()
        graph.node.extend(function.node)
        for each in with_subgraphs(graph):
            for node in each.node:
                node.name = node.name or f"{function.name}/{node.op_type}"
        _give(graph, defaults)
        del function.node[:]
        function.node.extend(graph.node)
    return light


def _give(graph: onnx.GraphProto, defaults: Mapping[Operator, Iterable[onnx.AttributeProto]]) -> None:
    """Write the attributes that calls leave to their functions' defaults, of which onnx's inliner knows nothing."""
    for each in with_subgraphs(graph):
        for node in each.node:
            given = {a.name for a in node.attribute}
            node.attribute.extend(a for a in defaults.get(_operator(node), ()) if a.name not in given)


def _complete(flat: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Put weights back, name the nodes that a conversion added, and import what the functions imported."""
    del flat.graph.initializer[:]
    flat.graph.initializer.extend(model.graph.initializer)
    made = {name for node in model.graph.node for name in node.output}
    for node in flat.graph.node:
        if not node.name and not made.intersection(node.output):
            node.name = node.output[0]
    known = {_domain(o) for o in flat.opset_import}
    for function in model.functions:
        for imported in function.opset_import:
            if _domain(imported) not in known:
                known.add(_domain(imported))
                flat.opset_import.append(imported)


def _domain(imported: onnx.OperatorSetIdProto) -> str:
    return "" if imported.domain in DEFAULT_DOMAINS else imported.domain
