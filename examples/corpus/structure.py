"""Models without the numbers of their weights, and the numbers drawn when a model is to run.

An export of a ResNet is megabytes of weights around kilobytes of graph. `strip` leaves each weight its name, type and
shape and says that its data lie in a file, which is not there: passes that only rewire never miss it. `fill` draws
the numbers from the weights' names, so that a model and what a pass made of it get the same.
"""

from __future__ import annotations

import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_SMALL = 8  # elements; scales, epsilons and shapes stay


def strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` without weights, and without what an exporter tells about its own source code."""
    stripped = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in stripped.graph.initializer:
        if tensor.data_type in _FLOATS and np.prod(tensor.dims, dtype=np.int64) > _SMALL:
            bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            bare.data_location = TensorProto.EXTERNAL
            bare.external_data.add(key="location", value="weights.bin")
            tensor.CopyFrom(bare)
    return without_story(stripped)


def without_story(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` without what an exporter tells about its own source code, which is most of a file; in place."""
    graph = model.graph
    inside = [node for function in model.functions for node in function.node]
    for item in [*graph.node, *inside, *graph.initializer, *graph.value_info, *graph.input, *graph.output]:
        item.ClearField("doc_string")
        del item.metadata_props[:]
    del graph.metadata_props[:], model.metadata_props[:]
    return model


def fill(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with weights: those that `strip` took, and those that nodes make by ConstantOfShape."""
    filled = onnx.ModelProto.FromString(model.SerializeToString())
    graph = filled.graph
    roles = {name: (node.op_type, slot) for node in graph.node for slot, name in enumerate(node.input)}
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            value = _draw(tensor.name, tuple(tensor.dims), *roles.get(tensor.name, ("", 0))).astype(dtype)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    _fill_constants_of_shape(graph, roles)
    return filled


def _fill_constants_of_shape(graph: onnx.GraphProto, roles: dict[str, tuple[str, int]]) -> None:
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer if i.data_type == TensorProto.INT64}
    made = [n for n in graph.node if n.op_type == "ConstantOfShape" and n.input[0] in shapes]
    for node in made:
        name, shape = node.output[0], tuple(int(d) for d in shapes[node.input[0]])
        value = _draw(name, shape, *roles.get(name, ("", 0))).astype(np.float32)
        constant = helper.make_node("Constant", [], [name], name=node.name, value=numpy_helper.from_array(value))
        node.CopyFrom(constant)
    read = {name for node in graph.node for name in node.input}
    for field in (graph.initializer, graph.input):
        for item in [i for i in field if i.name in shapes and i.name not in read]:
            field.remove(item)


def _draw(name: str, shape: tuple[int, ...], op: str, slot: int) -> np.ndarray:
    """Normally distributed with standard deviation 1 / sqrt(fan-in); scales and variances about 1."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if op == "BatchNormalization" and slot in (1, 4):
        return random.uniform(0.5, 1.5, shape)
    drawn = random.standard_normal(shape, np.float32)
    if len(shape) < 2:
        return 0.1 * drawn + (slot == 1 and op == "LayerNormalization")
    fan = shape[0] if op == "MatMul" else int(np.prod(shape[1:]))
    return drawn / np.float32(np.sqrt(max(fan, 1)))
