"""Small networks for the tests of exact passes, and the proof that two of them compute the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
IR = {9: 4, 13: 7, 17: 8, 21: 10}


class Net:
    """Adds nodes one after another; each method returns the name of the tensor it makes.

    Args:
        opset: operators whose parameters moved from attributes to inputs are written as it wants them.
        weights: how weights of two and more axes stand in the graph: ``initializer``, ``constant`` (a node),
            ``half`` (float16 and a Cast) or ``int8`` (and a DequantizeLinear).
    """

    def __init__(self, seed: int = 0, opset: int = 17, weights: str = "initializer", dtype: type = np.float32) -> None:
        self.random = np.random.default_rng(seed)
        self.opset, self.weights, self.dtype = opset, weights, np.dtype(dtype)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, shape: Sequence[int | str], name: str = "x", dtype: type | None = None) -> str:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, *names: str) -> None:
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        self.outputs += [helper.make_tensor_value_info(name, kind, None) for name in names]

    def op(self, kind: str, inputs: Iterable[str], name: str = "", outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its first output."""
        name = name or f"{kind.lower()}{self._next()}"
        made = [f"{name}.out"] + [f"{name}.out{i}" for i in range(1, outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=name, **attributes))
        return made[0]

    def constant(self, value: Any, name: str = "") -> str:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        name = name or f"c{self._next()}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, shape: Sequence[int], gain: float = 1.0) -> str:
        """Normally distributed with standard deviation gain / sqrt(fan-in)."""
        value = self.random.standard_normal(shape) * gain / np.sqrt(max(np.prod(shape[1:]), 1))
        if self.weights == "constant":
            proto = numpy_helper.from_array(value.astype(self.dtype), f"c{self._next()}")
            return self.op("Constant", [], value=proto)
        if self.weights == "half":
            return self.op("Cast", [self.constant_as(value, np.float16)], to=FLOAT)
        if self.weights == "int8":
            steps = np.clip(np.round(value * 40), -128, 127)
            parts = [self.constant_as(steps, np.int8), self.constant(0.025), self.constant_as(0, np.int8)]
            return self.op("DequantizeLinear", parts)
        return self.constant(value)

    def constant_as(self, value: Any, dtype: type) -> str:
        name = f"c{self._next()}"
        self.constants.append(numpy_helper.from_array(np.asarray(value).astype(dtype), name))
        return name

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        kernel: int | Sequence[int] = 3,
        *,
        rank: int = 2,
        bias: bool = True,
        weight: str = "",
        group: int = 1,
        **attributes: Any,
    ) -> str:
        """A convolution, padded to keep the size at stride 1 unless pads or auto_pad are given."""
        size = [kernel] * rank if isinstance(kernel, int) else list(kernel)
        weight = weight or self.weight([outputs, inputs // group, *size])
        spread = attributes.get("dilations", [1] * len(size))
        if "auto_pad" not in attributes:
            half = [d * (k - 1) // 2 for k, d in zip(size, spread, strict=True)]
            attributes.setdefault("pads", half + half)
        parts = [x, weight] + ([self.vector(outputs)] if bias else [])
        return self.op("Conv", parts, kernel_shape=size, group=group, **attributes)

    def vector(self, channels: int, low: float = -1, high: float = 1) -> str:
        return self.constant(self.random.uniform(low, high, channels))

    def bn(self, x: str, channels: int, **attributes: Any) -> str:
        parts = [
            self.vector(channels, -1.5, 1.5),
            self.vector(channels),
            self.vector(channels),
            self.vector(channels, 0.2, 2),
        ]
        return self.op("BatchNormalization", [x, *parts], **attributes)

    def relu(self, x: str) -> str:
        return self.op("Relu", [x])

    def prelu(self, x: str, channels: int, rank: int = 2) -> str:
        slopes = self.random.uniform(0.1, 0.9, [channels] + [1] * rank)
        return self.op("PRelu", [x, self.constant(slopes)])

    def add(self, x: str, y: str) -> str:
        return self.op("Add", [x, y])

    def slice(
        self, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
    ) -> str:
        if self.opset < 10:
            assert set(steps) <= {1}, "Slice had no steps before opset 10"
            return self.op("Slice", [x], starts=list(starts), ends=list(ends), axes=list(axes))
        return self.op("Slice", [x, *(self.constant(np.array(v, np.int64)) for v in (starts, ends, axes, steps))])

    def subsample(self, x: str, stride: int = 2, axes: Sequence[int] = (2, 3)) -> str:
        """Every second pixel: by Slice, or where that has no steps by a pool that looks at one pixel."""
        if self.opset < 10:
            return self.op("AveragePool", [x], kernel_shape=[1] * len(axes), strides=[stride] * len(axes))
        end = np.iinfo(np.int64).max
        return self.slice(x, [0] * len(axes), [end] * len(axes), axes, [stride] * len(axes))

    def pad(self, x: str, pads: Sequence[int], value: float | None = None) -> str:
        if self.opset < 11:
            return self.op("Pad", [x], pads=list(pads), value=value or 0.0)
        extra = [] if value is None else [self.constant(np.array(value))]
        return self.op("Pad", [x, self.constant(np.array(pads, np.int64)), *extra])

    def clip(self, x: str, low: float, high: float) -> str:
        if self.opset < 11:
            return self.op("Clip", [x], min=float(low), max=float(high))
        return self.op("Clip", [x, self.constant(float(low)), self.constant(float(high))])

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR.get(self.opset, 8))
        model.metadata_props.add(key="origin", value="a test")
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output
        for output, known in zip(graph.output, inferred, strict=True):
            output.CopyFrom(known)
        model.graph.CopyFrom(graph)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _next(self) -> int:
        self._count += 1
        return self._count


def feeds(model: onnx.ModelProto, seed: int = 7, batch: int = 2) -> dict[str, np.ndarray]:
    """Normally distributed inputs, integers over their whole range; symbolic axes become ``batch``, then 9."""
    random = np.random.default_rng(seed)
    constants = {i.name for i in model.graph.initializer}
    result = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type
        shape = [d.dim_value or (9 if i else batch) for i, d in enumerate(kind.shape.dim)]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        drawn = random.integers(0, 256, shape) if dtype.kind == "u" else random.standard_normal(shape) * 2
        result[value.name] = np.asarray(drawn).astype(dtype)
    return result


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def assert_same_function(
    before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float = 1e-5, batch: int = 2
) -> None:
    """Both give the same on random inputs, to ``tolerance`` of the largest value, and ``after`` is in order."""
    assert_in_order(after)
    for seed in (1, 2):
        inputs = feeds(before, seed, batch)
        for a, b in zip(run(before, inputs), run(after, inputs), strict=True):
            assert a.shape == b.shape
            assert np.isfinite(a).all(), "a test whose result is not finite proves nothing"
            largest = np.abs(a.astype(np.float64)).max(initial=1e-3)
            assert np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0) <= tolerance * largest


def assert_in_order(model: onnx.ModelProto) -> None:
    """Valid, no name given twice, and nothing there that no output needs."""
    onnx.checker.check_model(model, full_check=True)
    graph = model.graph
    made = [o for n in graph.node for o in n.output if o]
    assert len(made) == len(set(made))
    names = [n.name for n in graph.node if n.name]
    assert len(names) == len(set(names))
    read = {i for n in graph.node for i in n.input} | {o.name for o in graph.output}
    assert not [i.name for i in graph.initializer if i.name not in read]
    assert not [n.name for n in graph.node if not read & set(n.output)]


def count(model: onnx.ModelProto, kind: str) -> int:
    return sum(n.op_type == kind for n in model.graph.node)


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
