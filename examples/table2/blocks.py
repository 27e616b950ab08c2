"""The two blocks of Table II as quantised ONNX: the same two trained 3x3 convolutions, with a skip over both or none.

Weights are the signs of those of the first block of the NonResNet20 in ``examples/models``, 16 channels of 32x32.
Batch normalisation is set so that what a convolution gives for random inputs has mean 0 and variance 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphops.modelfile import load_model

TRAINED = Path(__file__).parents[1] / "models" / "cifar10-nonresnet20.onnx"
SIZE = 32
_QONNX = "qonnx.custom_op.general"


def trained_weights() -> tuple[np.ndarray, np.ndarray]:
    """Of the two convolutions, float32 [16, 16, 3, 3]."""
    stored = {i.name: numpy_helper.to_array(i) for i in load_model(TRAINED).graph.initializer}
    names = ("layer1.0.conv1.w", "layer1.0.conv2.w")
    first, second = ((stored[n] if n in stored else stored[f"{n}_half"]).astype(np.float32) for n in names)
    return first, second


def block(skip: bool, weight_bits: int = 1, act_bits: int = 2) -> onnx.ModelProto:
    """Convolution, normalisation, ReLU and quantiser twice; with a skip, a join before the second ReLU.

    Args:
        skip: whether there is one.
        weight_bits: 1 for signs, or 2 to 8.
        act_bits: of activations; what goes into the join has two more, for it is signed and not yet summed.
    """
    values: dict[str, np.ndarray] = {}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: object) -> str:
        values[name] = np.asarray(value, np.float32)
        return name

    def add(op: str, inputs: list[str], output: str, domain: str = "", **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def quant(x: str, output: str, bits: int, scale: float, signed: bool) -> str:
        given = [x, *(constant(f"{output}.{n}", v) for n, v in (("scale", scale), ("zero", 0), ("bits", bits)))]
        return add("Quant", given, output, _QONNX, signed=int(signed), narrow=0, rounding_mode="ROUND")

    def convolution(x: str, name: str, trained: np.ndarray) -> str:
        scale = np.abs(trained).mean(axis=(1, 2, 3), keepdims=True) * (
            1 if weight_bits == 1 else 2.0 ** (3 - weight_bits)
        )
        given = [constant(f"{name}.float", trained), constant(f"{name}.scale", scale)]
        if weight_bits == 1:
            weights = add("BipolarQuant", given, f"{name}.w", _QONNX)
        else:
            given += [constant(f"{name}.zero", 0), constant(f"{name}.bits", weight_bits)]
            weights = add("Quant", given, f"{name}.w", _QONNX, signed=1, narrow=1, rounding_mode="ROUND")
        y = add("Conv", [x, weights], f"{name}.o", kernel_shape=[3, 3], pads=[1] * 4, group=1, dilations=[1, 1])
        mean, variance = _statistics(trained, weight_bits, act_bits, scale)
        parts = (("gamma", np.ones(16)), ("beta", np.full(16, 0.3)), ("mean", mean), ("variance", variance))
        return add("BatchNormalization", [y, *(constant(f"{name}.{n}", v) for n, v in parts)], f"{name}.bn")

    first, second = trained_weights()
    step = 2.0 / (2**act_bits - 1)
    x = quant("input", "input.q", act_bits, step, False)
    y = add("Relu", [convolution(x, "conv1", first)], "relu1")
    y = convolution(quant(y, "relu1.q", act_bits, step, False), "conv2", second)
    if skip:
        y = add("Add", [quant(y, "conv2.q", act_bits + 2, step, True), x], "join")
    quant(add("Relu", [y], "relu2"), "output", act_bits, step, False)
    shape = ["N", 16, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "resblock" if skip else "nonresblock",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _statistics(
    trained: np.ndarray, weight_bits: int, act_bits: int, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel for inputs that are uniform over their steps, independent of each other."""
    if weight_bits == 1:
        weights = np.where(trained >= 0, scale, -scale)
    else:
        most = 2 ** (weight_bits - 1) - 1
        weights = np.clip(np.round(trained / scale), -most, most) * scale
    levels = np.arange(2**act_bits) * 2.0 / (2**act_bits - 1)
    return levels.mean() * weights.sum(axis=(1, 2, 3)), levels.var() * (weights**2).sum(axis=(1, 2, 3))
