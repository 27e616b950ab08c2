"""Nodes of a graph evaluated in a precision of choice, by onnx's reference implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from passes.graph import Node, attributes

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})


def is_identity(node: Node) -> bool:
    """Whether ``node`` changes no number; the rounding of a Cast to another float is none of the network's doing."""
    return node.op in ("Dropout", "Identity") or (node.op == "Cast" and attributes(node).get("to") in _FLOATS)


def evaluator(
    nodes: Iterable[Node],
    constants: Mapping[str, np.ndarray],
    source: str,
    result: str,
    opset: int,
    number: Any,
) -> Callable[[np.ndarray], np.ndarray]:
    """What ``nodes`` make of the tensor ``source``, as a function.

    Args:
        nodes: in topological order.
        constants: what they read besides, by name; floats are cast to ``number``.
        source, result: the tensors' names.
        opset: of ONNX's own domain.
        number: the float type to compute in.
    """
    values = {n: v.astype(number) if v.dtype.kind == "f" else v for n, v in constants.items()}
    protos: list[onnx.NodeProto] = []
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(number))
    for node in nodes:
        protos.extend(_evaluable(node, values, kind))
    ends = [helper.make_tensor_value_info(name, kind, None) for name in (source, result)]
    stored = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(protos, "piece", ends[:1], ends[1:], stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ByChannel.op_domain, 1)]
    running = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets), new_ops=[ByChannel])

    def run(tensor: np.ndarray) -> np.ndarray:
        (made,) = running.run(None, {source: tensor.astype(number, copy=False)})
        return np.asarray(made, number)

    return run


class ByChannel(OpRun):
    """``factor * x + summand``, one of each a channel, which axis 1 is, whatever the rank."""

    op_domain = "graphops"

    def _run(self, x: np.ndarray, factor: np.ndarray, summand: np.ndarray) -> tuple[np.ndarray]:
        shape = (-1, *[1] * (x.ndim - 2))
        return (x * factor.reshape(shape) + summand.reshape(shape),)


def _evaluable(node: Node, values: dict[str, np.ndarray], kind: int) -> list[onnx.NodeProto]:
    """``node`` as it can be evaluated: a Cast to another float must not blunt the precision, which is ``kind``, and the
    reference's BatchNormalization before opset 14 normalises by the batch."""
    if is_identity(node):
        ends = [node.source.input[0]], [node.source.output[0]]
        return [helper.make_node("Cast", *ends, to=kind) if node.op == "Cast" else helper.make_node("Identity", *ends)]
    if node.op != "BatchNormalization":
        return [node.source]
    out = node.outputs[0].name
    names = f"{out}/factor", f"{out}/summand"
    values[names[0]], values[names[1]] = batchnorm(node, values)
    return [helper.make_node("ByChannel", [node.inputs[0].name, *names], [out], domain=ByChannel.op_domain)]


def batchnorm(node: Node, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Factor and summand of a BatchNormalization, one a channel, in the precision of ``values``."""
    gamma, beta, mean, variance = (values[t.name] for t in node.inputs[1:5])
    factor = gamma / np.sqrt(variance + gamma.dtype.type(attributes(node).get("epsilon", 1e-5)))
    return factor, beta - mean * factor
