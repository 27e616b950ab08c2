"""Gemm and MatMul with constant weights: one matrix for the whole image."""

from __future__ import annotations

import numpy as np

from hls_backend.errors import LoweringError
from hls_backend.layout import Layout
from hls_backend.lowering.convolution import matrix_vector, one_scale, one_step
from hls_backend.lowering.state import State, scaled
from hls_backend.lowering.weights import Grid, read_summand, read_weights
from hls_backend.lowering.wire import Value
from passes.graph import Node, attributes, label


def matrix(state: State, node: Node) -> Value:
    """A fully connected layer. Flattened images are read in the stream's order: the matrix's columns are reordered."""
    wire, numbers = scaled(state, node, 0)
    bias = numbers.bias
    value, found = state.value(node, 0), attributes(node)
    name, tensor = node.name or node.outputs[0].name, node.outputs[0].name
    if not state.is_constant(node.inputs[1]):
        raise LoweringError(label(node), "it multiplies two streams", "FINN multiplies by constants only")
    if len(value.layout.axes) != 2 or found.get("transA", 0):
        raise LoweringError(label(node), "its input is no vector an image", "flatten images before it")
    grid = read_weights(state, node, 1)
    if grid.integers.ndim != 2:
        raise LoweringError(label(node), f"its weights are {list(grid.integers.shape)}", "give it one matrix")
    if not (node.op == "Gemm" and found.get("transB", 0)):
        grid = Grid(grid.integers.T, grid.step.T)
    alpha, beta = (float(found.get(key, 1.0)) if node.op == "Gemm" else 1.0 for key in ("alpha", "beta"))
    weights, step = grid.integers, one_step(node, grid) * alpha
    order = value.layout.stream_order(value.shape)
    if len(order) != weights.shape[1]:
        raise LoweringError(
            label(node), f"it has {weights.shape[1]} inputs and is given {len(order)}", "check the shapes"
        )
    weights = weights[:, order]
    summand = beta * read_summand(state, node, 2, len(weights)) if node.op == "Gemm" else np.zeros(len(weights))
    whole = step * (weights @ np.tile(bias, len(order) // len(bias))) + summand
    one = one_scale(node, value, numbers.scale)
    made = matrix_vector(state, name, tensor, wire.flattened(), weights, one * step, whole)
    return Value(made, tensor, Layout.of_rank(2), made.shape)
