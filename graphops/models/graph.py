"""A small builder of image classifiers in ONNX: layers in, a checked ModelProto out."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8


class Builder:
    """Adds layers one after another; each method returns the name of the tensor that the layer gives.

    A layer ``name`` is the node ``name``, its output ``name.out``, its weights ``name.weight`` and so on.
    Weights are drawn by He's rule for ReLU networks, a normal distribution of variance 2 / fan-in (He et al.
    2015, arXiv:1502.01852), from a generator seeded by ``seed`` and the layer's name: a layer has the same
    weights in every network that gives it the same name and shape.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def conv(self, x: str, name: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        """A square convolution without bias, padded so that stride 1 keeps the size."""
        weight = self._normal(f"{name}.weight", (outputs, inputs, kernel, kernel), gain=2)
        return self._node(
            "Conv",
            [x, weight],
            name,
            dilations=[1, 1],
            group=1,
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
        )

    def batchnorm(self, x: str, name: str, channels: int) -> str:
        """Batch normalisation at its start: scale and variance 1, bias and mean 0."""
        start = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        values = [self._weight(f"{name}.{key}", np.full(channels, v, np.float32)) for key, v in start.items()]
        return self._node("BatchNormalization", [x, *values], name, epsilon=1e-5, momentum=0.9)

    def relu(self, x: str, name: str, output: str | None = None) -> str:
        """ReLU; ``output`` names the result where ``name.out`` will not do."""
        return self._node("Relu", [x], name, output)

    def add(self, x: str, y: str, name: str) -> str:
        """The join of main path ``x`` and skip path ``y``."""
        return self._node("Add", [x, y], name)

    def subsample(self, x: str, name: str, stride: int) -> str:
        """Every ``stride``-th pixel of both image axes, from the first on."""
        corners = {
            "starts": [0, 0],
            "ends": [np.iinfo(np.int64).max] * 2,
            "axes": [2, 3],
            "steps": [stride] * 2,
        }
        values = [self._weight(f"{name}.{key}", np.array(v, np.int64)) for key, v in corners.items()]
        return self._node("Slice", [x, *values], name)

    def pad_channels(self, x: str, name: str, before: int, after: int) -> str:
        """Channels of zeros before and after those of ``x``."""
        pads = self._weight(f"{name}.pads", np.array([0, before, 0, 0, 0, after, 0, 0], np.int64))
        return self._node("Pad", [x, pads], name, mode="constant")

    def classify(self, x: str, channels: int, classes: int) -> str:
        """Global average pooling and a fully connected layer: ``logits`` [N, classes]."""
        pooled = self._node("GlobalAveragePool", [x], "pool")
        features = self._node("Flatten", [pooled], "flatten", axis=1)
        weight = self._normal("fc.weight", (classes, channels), gain=1)
        bias = self._weight("fc.bias", np.zeros(classes, np.float32))
        return self._node("Gemm", [features, weight, bias], "fc", "logits", alpha=1.0, beta=1.0, transB=1)

    def model(self, name: str, image: tuple[int, int, int], classes: int) -> onnx.ModelProto:
        """The checked model: ``input`` float32 [N, C, H, W] to ``logits`` float32 [N, classes]."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *image])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
            self._weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="graphops")
        onnx.checker.check_model(model, full_check=True)
        return model

    def _node(self, kind: str, inputs: list[str], name: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"{name}.out"
        self._nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def _weight(self, name: str, value: np.ndarray) -> str:
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def _normal(self, name: str, shape: tuple[int, ...], gain: float) -> str:
        generator = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        fan_in = np.prod(shape[1:])
        return self._weight(name, (generator.standard_normal(shape) * np.sqrt(gain / fan_in)).astype(np.float32))
