"""Large graphs with next to no weights in them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def residual(nodes: int) -> onnx.ModelProto:
    """Basic blocks of five nodes, one skip each, in a row; two channels, weights of their own for each layer."""
    graph_nodes, weights, x = [], [], "image"
    for block in range(nodes // 5):
        name, y = f"block{block}", x
        for layer in (1, 2):
            made = f"{name}.{layer}"
            weight = numpy_helper.from_array(np.zeros((2, 2, 3, 3), np.float32), f"{made}.weight")
            bias = numpy_helper.from_array(np.zeros(2, np.float32), f"{made}.bias")
            weights += [weight, bias]
            more = {"kernel_shape": [3, 3], "pads": [1] * 4}
            graph_nodes.append(helper.make_node("Conv", [y, weight.name, bias.name], [made], name=made, **more))
            y = made
            if layer == 1:
                y = f"{made}.relu"
                graph_nodes.append(helper.make_node("Relu", [made], [y], name=y))
        graph_nodes.append(helper.make_node("Add", [y, x], [f"{name}.join"], name=f"{name}.join"))
        graph_nodes.append(helper.make_node("Relu", [f"{name}.join"], [name], name=name))
        x = name
    return _model(graph_nodes, [_value("image", ["N", 2, 8, 8])], [_value(x, ["N", 2, 8, 8])], weights)


def transformer(layers: int = 32, width: int = 4096, inner: int = 11008, heads: int = 32) -> onnx.ModelProto:
    """A language model's structure, LLaMA 7B's by default; weights are said to lie in ``weights.bin``."""
    build = _Transformer(width, heads)
    x = build.node("Gather", [build.weight("embedding", 32000, width), "ids"], "embed")
    for layer in range(layers):
        name = f"layer{layer}"
        x = build.node("Add", [build.attention(build.norm(x, f"{name}.norm1"), name), x], f"{name}.join1")
        main = build.norm(x, f"{name}.norm2")
        gate = build.dense(main, f"{name}.gate", width, inner)
        gate = build.node("Mul", [gate, build.node("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.silu")
        main = build.node("Mul", [gate, build.dense(main, f"{name}.up", width, inner)], f"{name}.gated")
        x = build.node("Add", [build.dense(main, f"{name}.down", inner, width), x], f"{name}.join2")
    logits = build.dense(build.norm(x, "norm"), "head", width, 32000)
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "T"]),
        helper.make_tensor_value_info("mask", FLOAT, ["N", 1, "T", "T"]),
    ]
    return _model(build.nodes, inputs, [_value(logits, ["N", "T", 32000])], build.weights)


class _Transformer:
    def __init__(self, width: int, heads: int) -> None:
        self.width, self.heads = width, heads
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.offset = 0

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: object) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """A float16 weight in the data file."""
        proto = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=shape)
        proto.data_location = TensorProto.EXTERNAL
        size = 2 * int(np.prod(shape))
        for key, text in (("location", "weights.bin"), ("offset", str(self.offset)), ("length", str(size))):
            proto.external_data.add(key=key, value=text)
        self.offset += size
        self.weights.append(proto)
        return self.node("Cast", [name], f"{name}.float", to=FLOAT)

    def dense(self, x: str, name: str, inputs: int, outputs: int) -> str:
        return self.node("MatMul", [x, self.weight(f"{name}.weight", inputs, outputs)], name)

    def norm(self, x: str, name: str) -> str:
        """Root mean square normalisation."""
        square = self.node("Mul", [x, x], f"{name}.square")
        mean = self.node("ReduceMean", [square], f"{name}.mean", axes=[-1])
        shifted = self.node("Add", [mean, self.constant(f"{name}.epsilon", np.float32(1e-6))], f"{name}.shifted")
        scaled = self.node("Div", [x, self.node("Sqrt", [shifted], f"{name}.root")], f"{name}.scaled")
        return self.node("Mul", [scaled, self.weight(f"{name}.weight", self.width)], name)

    def attention(self, x: str, name: str) -> str:
        parts = {}
        for part in "qkv":
            split = self.constant(f"{name}.{part}.shape", np.array([0, 0, self.heads, self.width // self.heads]))
            dense = self.dense(x, f"{name}.{part}", self.width, self.width)
            heads = self.node("Reshape", [dense, split], f"{name}.{part}.split")
            order = [0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]
            parts[part] = self.node("Transpose", [heads], f"{name}.{part}.heads", perm=order)
        scores = self.node("MatMul", [parts["q"], parts["k"]], f"{name}.scores")
        masked = self.node("Add", [scores, "mask"], f"{name}.masked")
        mixed = self.node("MatMul", [self.node("Softmax", [masked], f"{name}.softmax"), parts["v"]], f"{name}.mixed")
        turned = self.node("Transpose", [mixed], f"{name}.turned", perm=[0, 2, 1, 3])
        shape = self.constant(f"{name}.shape", np.array([0, 0, self.width]))
        merged = self.node("Reshape", [turned, shape], f"{name}.merged")
        return self.dense(merged, f"{name}.o", self.width, self.width)


def _value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "benchmark", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
