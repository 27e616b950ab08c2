"""Quantised graphs written node by node, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

QONNX = "qonnx.custom_op.general"


class Net:
    """Adds nodes one after another; each method returns the name of the tensor that it makes."""

    def __init__(self, image: tuple[int, ...], seed: int = 0) -> None:
        self.image = image
        self.random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._values: dict[str, np.ndarray] = {}

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(op, list(inputs), [output], name=f"n_{output}", domain=domain, **attributes)
        )
        return output

    def value(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self._values)}"
        self._values[name] = np.asarray(value, dtype)
        return name

    def quant(
        self,
        x: str,
        scale: Any,
        bits: int,
        signed: bool = False,
        narrow: bool = False,
        zero: float = 0,
        mode: str = "ROUND",
    ) -> str:
        parameters = [self.value(v) for v in (scale, zero, bits)]
        return self.node(
            "Quant", x, *parameters, domain=QONNX, signed=int(signed), narrow=int(narrow), rounding_mode=mode
        )

    def bipolar(self, x: str, scale: Any) -> str:
        return self.node("BipolarQuant", x, self.value(scale), domain=QONNX)

    def weights(self, shape: tuple[int, ...], bits: int, per_channel: bool = True, scale: float = 0.1) -> str:
        """Random weights on a grid of ``bits``, one bit bipolar."""
        spread = self.random.uniform(0.5, 1.5, (shape[0], *[1] * (len(shape) - 1)) if per_channel else ())
        steps = scale * spread
        reach = max(1, 2 ** (bits - 1) - 1)
        raw = self.value(self.random.uniform(-1.2, 1.2, shape) * reach * steps)
        return self.bipolar(raw, steps) if bits == 1 else self.quant(raw, steps, bits, signed=True, narrow=True)

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...] = (3, 3),
        bits: int = 2,
        bias: bool = False,
        groups: int = 1,
        per_channel: bool = True,
        **attributes: Any,
    ) -> str:
        extra = [self.value(self.random.normal(0, 0.5, outputs))] if bias else []
        weights = self.weights((outputs, inputs // groups, *kernel), bits, per_channel)
        attributes = {"kernel_shape": kernel, "group": groups, **attributes}
        return self.node("Conv", x, weights, *extra, **attributes)

    def batchnorm(self, x: str, channels: int, negative: bool = False) -> str:
        r = self.random
        gamma = r.uniform(0.5, 2, channels) * (r.choice([-1, 1], channels) if negative else 1)
        values = (gamma, r.normal(0, 0.5, channels), r.normal(0, 0.5, channels), r.uniform(0.3, 2, channels))
        return self.node("BatchNormalization", x, *(self.value(v) for v in values))

    def dense(self, x: str, inputs: int, outputs: int, bits: int = 4, bias: str = "", per_channel: bool = False) -> str:
        weights = self.weights((outputs, inputs), bits, per_channel)
        return self.node("Gemm", x, weights, *([bias] if bias else []), transB=1)

    def model(self, output: str, opset: int = 17, batch: int | str = "N") -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *self.image])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(v, n) for n, v in self._values.items()],
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def images(self, count: int, spread: float = 1.0) -> np.ndarray:
        return self.random.normal(0, spread, (count, *self.image)).astype(np.float32)
