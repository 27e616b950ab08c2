"""The first quantiser: where the host ends and the dataflow begins."""

from __future__ import annotations

import numpy as np

from hls_backend.elementwise import ELEMENTWISE
from hls_backend.errors import LoweringError
from hls_backend.layout import Layout, stream_shape
from hls_backend.lowering.state import State, grid
from hls_backend.lowering.wire import Numbers, Value
from hls_backend.quantisers import Quantiser
from hls_backend.reader import QUANTISERS
from passes.graph import Node, attributes, label

_BY_CHANNEL = frozenset(
    "Conv MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization ConvTranspose".split()
)
_KEEPING = frozenset({"Pad", "Slice"})
"""Operators that leave each axis where it is."""


def begin(state: State, node: Node, quantiser: Quantiser) -> Value:
    """The quantiser that makes the dataflow's input, computed by the host."""
    if state.host_quantiser is not None:
        raise LoweringError(
            label(node),
            f"the graph's input has another quantiser, {label(state.host_quantiser.node)}",
            "quantise the input once, before it forks",
        )
    tensor = node.outputs[0]
    shape = state.editor.shape(tensor)
    if shape is None or len(shape) not in (2, 3, 4) or not all(isinstance(d, int) and d > 0 for d in shape[1:]):
        raise LoweringError(label(node), f"the shape of {tensor.name!r} is not known", "fix the sizes of the input")
    if quantiser.bounds is None:
        raise LoweringError(label(node), "it sets no bounds to the input's integers", "put a Quant before it")
    layout = _layout(state, tensor.name, len(shape))
    image = stream_shape(layout, tuple(int(d) for d in shape[1:] if isinstance(d, int)))
    low, high = (np.full(image[2], bound, np.int64) for bound in quantiser.bounds)
    wire = state.builder.source(tensor.name, image, Numbers(low, high, *grid(quantiser, layout, image)))
    state.host_quantiser = quantiser
    return Value(wire, tensor.name, layout, image)


def _layout(state: State, tensor: str, rank: int) -> Layout:
    """The layout of the input: ONNX's own where the first operator by channels finds it after any Transposes."""
    standard = Layout.of_rank(rank)
    order = {tensor: tuple(range(rank))}  # by tensor: the input's axis that each of its axes is
    for node in state.editor.nodes:
        source = next((order[t.name] for t in node.inputs if t.name in order), None)
        if source is None or len(source) != rank:
            continue
        if node.op in _BY_CHANNEL:
            axes = [""] * rank
            for axis, name in zip(source, standard.axes, strict=True):
                axes[axis] = name
            return Layout(tuple(axes))
        if node.op == "Transpose":
            perm = attributes(node).get("perm", range(rank - 1, -1, -1))
            order[node.outputs[0].name] = tuple(source[i] for i in perm)
        elif node.op in _KEEPING or node.op in ELEMENTWISE or node.op in QUANTISERS:
            order[node.outputs[0].name] = source
    return standard
