"""A small residual network to try the adapters on, in plain ONNX or in QONNX; needs onnx and numpy only."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

QONNX = "qonnx.custom_op.general"
IMAGE = (1, 3, 12, 12)
CLASSES = 10


def residual(
    bits: int = 0, blocks: tuple[tuple[int, int], ...] = ((4, 1), (4, 1), (8, 2)), head: bool = True, seed: int = 0
):
    """A network of basic blocks with one skip each; a block that halves the map has a 1x1 projection on its skip.

    Args:
        bits: width of QONNX's quantisers on weights and activations; 0 for plain float ONNX.
        blocks: channels and stride of each block.
        head: whether a classifier follows the last block.
        seed: of the weights.

    Returns:
        A ModelProto: input ``image`` [1, 3, 12, 12], output ``logits`` [1, 10] or the last block's map.
    """
    build = _Builder(bits, np.random.default_rng(seed))
    x = build.quantised("image", "image_q", signed=True)
    x = build.activated(build.conv(x, 3, blocks[0][0], 3, 1, "stem"), "stem")
    channels = blocks[0][0]
    for number, (width, stride) in enumerate(blocks, 1):
        name = f"block{number}"
        main = build.activated(build.conv(x, channels, width, 3, stride, f"{name}_a"), f"{name}_a")
        main = build.quantised(build.conv(main, width, width, 3, 1, f"{name}_b"), f"{name}_b_q", signed=True)
        skip = x
        if stride > 1 or width != channels:
            skip = build.conv(x, channels, width, 1, stride, f"{name}_projection")
            skip = build.quantised(skip, f"{name}_projection_q", signed=True)
        x = build.activated(build.node("Add", [main, skip], f"{name}_join"), name)
        channels = width
    if not head:
        return build.model(x, [1, channels, *(IMAGE[2] // math.prod(stride for _, stride in blocks),) * 2])
    x = build.node("GlobalAveragePool", [x], "pool")
    x = build.node("Flatten", [x], "flatten", axis=1)
    weight = build.weight(build.normal(channels, CLASSES), "classifier_w")
    return build.model(build.node("MatMul", [x, weight], "classifier", output="logits"), [1, CLASSES])


class _Builder:
    def __init__(self, bits: int, random: np.random.Generator) -> None:
        self.bits, self.random = bits, random
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, op: str, inputs: list[str], name: str, output: str = "", domain: str = "", **attributes) -> str:
        output = output or f"{name}_out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, domain=domain, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, np.float32), name)
        return name

    def normal(self, *shape: int) -> np.ndarray:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        return self.random.normal(0, np.sqrt(2 / fan_in), shape)

    def quant(self, x: str, name: str, scale: float, signed: bool, narrow: bool) -> str:
        inputs = [x]
        for part, value in (("scale", scale), ("zero", 0), ("bits", self.bits)):
            inputs.append(self.constant(f"{name}_{part}", value))
        return self.node("Quant", inputs, name, domain=QONNX, signed=signed, narrow=narrow, rounding_mode="ROUND")

    def quantised(self, x: str, name: str, signed: bool) -> str:
        """``x`` on one grid for all activations, so that both paths of a join have the same scale."""
        return self.quant(x, name, 2.0 ** (2 - self.bits), signed, narrow=False) if self.bits else x

    def weight(self, value: np.ndarray, name: str) -> str:
        name = self.constant(name, value)
        if not self.bits:
            return name
        scale = 2.0 ** np.ceil(np.log2(np.abs(value).max() / (2 ** (self.bits - 1) - 1)))
        return self.quant(name, f"{name}_q", scale, signed=True, narrow=True)

    def conv(self, x: str, channels: int, width: int, kernel: int, stride: int, name: str) -> str:
        """Convolution and batch norm."""
        weight = self.weight(self.normal(width, channels, kernel, kernel), f"{name}_w")
        pad, pair = kernel // 2, [kernel, kernel]
        shape = {"kernel_shape": pair, "strides": [stride] * 2, "pads": [pad] * 4, "group": 1, "dilations": [1, 1]}
        x = self.node("Conv", [x, weight], f"{name}_conv", **shape)
        statistics = {
            "scale": self.random.uniform(0.5, 1, width),
            "bias": self.random.normal(0, 0.1, width),
            "mean": self.random.normal(0, 0.1, width),
            "var": self.random.uniform(0.5, 1, width),
        }
        return self.node(
            "BatchNormalization", [x, *(self.constant(f"{name}_{k}", v) for k, v in statistics.items())], f"{name}_bn"
        )

    def activated(self, x: str, name: str) -> str:
        return self.quantised(self.node("Relu", [x], f"{name}_relu"), f"{name}_q", signed=False)

    def model(self, output: str, shape: list[int]) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE)
        made = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "residual", [image], [made], list(self.constants.values()))
        opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(QONNX, 1)] * bool(self.bits)
        return helper.make_model(graph, ir_version=8, opset_imports=opsets, producer_name="residual")


class Quant(OpRun):
    """QONNX's Quant for onnx's reference evaluator, with rounding mode ROUND."""

    op_domain = QONNX

    def _run(self, x, scale, zero, bits, signed=1, narrow=0, rounding_mode="ROUND"):
        low = -(2 ** (bits - 1)) + narrow if signed else 0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        return (((np.clip(np.round(x / scale + zero), low, high) - zero) * scale).astype(np.float32),)


def run(model: onnx.ModelProto, *images: np.ndarray) -> np.ndarray:
    """The network's outputs, by onnx's reference evaluator: no host's kernels, and QONNX as well."""
    evaluator = ReferenceEvaluator(model, new_ops=[Quant])
    name = model.graph.input[0].name
    return np.concatenate([evaluator.run(None, {name: each})[0] for each in images or (image(),)])


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, IMAGE).astype(np.float32)


def joins(model: onnx.ModelProto) -> int:
    """How many nodes add two tensors."""
    return sum(node.op_type in ("Add", "Sum") for node in model.graph.node)
