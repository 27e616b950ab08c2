"""Rewrites of the gradient graph that make it faster.

``relu_gradients`` changes no bit. ``blocked_convolutions`` changes the order of sums, and with it the last bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphops.training import runtime

BLOCKED = "com.microsoft.nchwc"
HUGE = 3.4e38  # just below the largest float32
_PREFIX = "graphops_blocked/"


def faster(model: onnx.ModelProto) -> onnx.ModelProto:
    """All rewrites that this processor gains from."""
    model = relu_gradients(model)
    return blocked_convolutions(model, block_size()) if block_size() else model


def relu_gradients(model: onnx.ModelProto) -> onnx.ModelProto:
    """ReluGrad(dY, Y) as dY * min(1, HUGE * Y): Y is never negative, and these are vectorised where ReluGrad is not.

    HardSigmoid is max(0, min(1, alpha x + beta)) in one pass. Results are the same to the bit unless a value of Y lies
    between 0 and 3e-39.
    """
    nodes = []
    for node in model.graph.node:
        if node.op_type == "ReluGrad" and node.domain == "com.microsoft":
            gradient, result = node.input
            open_, name = f"{node.output[0]}/open", f"{node.name}/open"
            nodes.append(helper.make_node("HardSigmoid", [result], [open_], name=name, alpha=HUGE, beta=0.0))
            nodes.append(helper.make_node("Mul", [gradient, open_], node.output, name=node.name))
        else:
            nodes.append(node)
    return _with_nodes(model, nodes)


def blocked_convolutions(model: onnx.ModelProto, block: int) -> onnx.ModelProto:
    """Convolutions on the runtime's blocked layout, which it uses by itself for constant weights only.

    A Conv whose channels are multiples of ``block`` runs on reordered input and weights; the input's gradient of one of
    stride 1 is the same operator on the result's gradient, with flipped weights: dX = dY * flip(W), padded by
    dilation (kernel - 1) - pad. The runtime has no such way for the gradient of the weights, nor for strides.
    """
    writer = _Writer(model, block)
    for node in model.graph.node:
        if node.op_type == "Conv" and writer.fits(node, node.input[1]):
            writer.forward(node)
        elif node.op_type == "ConvGrad" and node.output[0] and writer.fits(node, node.input[2], stride=1):
            writer.backward(node)
        else:
            writer.nodes.append(node)
    rewritten = _with_nodes(model, writer.nodes)
    rewritten.graph.initializer.extend(writer.constants.values())
    if writer.used and not any(o.domain == BLOCKED for o in rewritten.opset_import):
        rewritten.opset_import.append(helper.make_opsetid(BLOCKED, 1))
    return rewritten


@cache
def block_size() -> int:
    """Channels in a block on this processor, found by comparing with a plain Conv; 0 where there is no such layout."""
    import onnxruntime

    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((1, 16, 4, 4)).astype(np.float32),
        "w": rng.standard_normal((16, 16, 3, 3)).astype(np.float32),
    }
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, a.shape) for n, a in feeds.items()]
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", kernel_shape=[3, 3])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 16, 2, 2])
    graph = helper.make_graph([conv], "probe", values, [result])
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def run(model: onnx.ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), runtime.session_options())
        return session.run(None, feeds)[0]

    for block in (16, 8):
        try:
            if np.allclose(run(blocked_convolutions(plain, block)), run(plain), atol=1e-4):
                return block
        except Exception:  # this build or processor has no blocked layout
            return 0
    return 0


class _Writer:
    """Collects the nodes of the rewritten graph; each tensor is reordered once."""

    def __init__(self, model: onnx.ModelProto, block: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.used = False
        self._block = block
        self._made: set[str] = set()
        # Constant weights are left out: the runtime brings these into blocks by itself.
        # Quantised weights are among the values.
        values = [*model.graph.value_info, *model.graph.input]
        self._weights = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}

    def fits(self, node: onnx.NodeProto, weight: str, stride: int | None = None) -> bool:
        """Whether the node is a two-dimensional convolution of whole blocks (and of this stride)."""
        shape = self._weights.get(weight, ())
        values = _attributes(node)
        padded = values.get("auto_pad", b"NOTSET") in (b"NOTSET", b"")
        if len(shape) != 4 or 0 in shape or values.get("group", 1) != 1 or not padded:
            return False
        if shape[0] % self._block or shape[1] % self._block:
            return False
        if stride is None:
            return True
        pads, reach = values.get("pads", [0] * 4), self._reach(node, shape)
        return set(values.get("strides", [1])) == {stride} and all(
            p <= r for p, r in zip(pads, [*reach, *reach], strict=True)
        )

    def forward(self, node: onnx.NodeProto) -> None:
        """Y = X * W."""
        values, (x, weight, *bias) = _attributes(node), node.input
        shape = self._weights[weight]
        self._convolve(
            [self._reorder(x), self._blocks(weight, weight, shape, (0, 2, 4, 5, 3, 1)), *bias],
            node.output[0],
            node.name,
            channels=shape[0],
            kernel_shape=list(shape[2:]),
            pads=values.get("pads", [0] * 4),
            strides=values.get("strides", [1, 1]),
            dilations=values.get("dilations", [1, 1]),
        )

    def backward(self, node: onnx.NodeProto) -> None:
        """dX = dY * flip(W); the node keeps the gradients of weight and bias."""
        values, (gradient, _, weight) = _attributes(node), node.input[:3]
        shape, reach = self._weights[weight], self._reach(node, self._weights[node.input[2]])
        pads = [r - p for r, p in zip([*reach, *reach], values.get("pads", [0] * 4), strict=True)]
        self._convolve(
            [
                self._reorder(gradient),
                self._blocks(self._flipped(weight), weight + "/flipped", shape, (2, 0, 4, 5, 1, 3)),
            ],
            node.output[0],
            f"{node.name}/input",
            channels=shape[1],
            kernel_shape=list(shape[2:]),
            pads=pads,
            strides=[1, 1],
            dilations=values.get("dilations", [1, 1]),
        )
        rest = onnx.NodeProto.FromString(node.SerializeToString())
        rest.output[0] = ""
        self.nodes.append(rest)

    def _convolve(self, inputs: list[str], result: str, name: str, channels: int, **attributes: list[int]) -> None:
        self.used = True
        blocked = f"{_PREFIX}{result}"
        self._add("Conv", inputs, blocked, f"{name}/blocked", BLOCKED, group=1, **attributes)
        self._add("ReorderOutput", [blocked], result, name, BLOCKED, channels=channels)

    def _reorder(self, tensor: str) -> str:
        return self._once("ReorderInput", [tensor], f"{_PREFIX}{tensor}/in", BLOCKED)

    def _flipped(self, weight: str) -> str:
        bounds = [self._constant(v) for v in ([-1, -1], [np.iinfo(np.int64).min + 1] * 2, [2, 3], [-1, -1])]
        return self._once("Slice", [weight, *bounds], f"{_PREFIX}{weight}/flipped")

    def _blocks(self, tensor: str, name: str, shape: tuple[int, ...], order: tuple[int, ...]) -> str:
        """Weights [O, I, H, W] in blocks, the inner sizes being those of an input and of an output block."""
        b, (o, i, h, w) = self._block, shape
        split = self._constant([o // b, b, i // b, b, h, w])
        whole = self._constant([i, o, h, w] if order[0] else [o, i, h, w])
        parts = self._once("Reshape", [tensor, split], f"{_PREFIX}{name}/parts")
        ordered = self._once("Transpose", [parts], f"{_PREFIX}{name}/ordered", perm=list(order))
        return self._once("Reshape", [ordered, whole], f"{_PREFIX}{name}/blocks")

    def _constant(self, value: list[int]) -> str:
        name = f"{_PREFIX}{value}"
        self.constants[name] = numpy_helper.from_array(np.array(value, np.int64), name)
        return name

    def _once(self, kind: str, inputs: list[str], result: str, domain: str = "", **attributes: list[int]) -> str:
        if result not in self._made:
            self._made.add(result)
            self._add(kind, inputs, result, result, domain, **attributes)
        return result

    def _add(self, kind: str, inputs: list[str], result: str, name: str, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [result], name=name, domain=domain, **attributes))

    def _reach(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> list[int]:
        """How far a kernel reaches beyond its first pixel, by axis."""
        dilations = _attributes(node).get("dilations", [1, 1])
        return [d * (k - 1) for d, k in zip(dilations, shape[2:], strict=True)]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _with_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    del rewritten.graph.node[:]
    rewritten.graph.node.extend(copies)
    return rewritten
