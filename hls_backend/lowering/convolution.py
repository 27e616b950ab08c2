"""Conv: padding, windows, and a matrix for each pixel; or, channel by channel, a kernel for each."""

from __future__ import annotations

import numpy as np

from hls_backend.datatypes import least
from hls_backend.errors import LoweringError
from hls_backend.layers import MVAU
from hls_backend.lowering.builder import partial_sums, weight_type
from hls_backend.lowering.geometry import window
from hls_backend.lowering.pooling import depthwise, padded, sums, windows
from hls_backend.lowering.state import State, scaled, uniform
from hls_backend.lowering.weights import Grid, read_summand, read_weights
from hls_backend.lowering.wire import Numbers, Value, Wire
from passes.graph import Node, attributes, label


def convolution(state: State, node: Node) -> Value:
    """Conv of one or two axes. Its bias goes into the bias of the accumulator's value."""
    wire, numbers = scaled(state, node, 0)
    scale, bias = numbers.scale, numbers.bias
    value = state.value(node, 0)
    grid = read_weights(state, node, 1)
    groups = int(attributes(node).get("group", 1))
    own = window(node, value, tuple(grid.integers.shape[2:]))
    weights = _dilated(grid.integers.reshape(*grid.integers.shape[:2], *own.kernel), own.dilations)
    outputs, inputs = len(weights), wire.channels
    if groups < 1 or outputs % groups or grid.integers.shape[1] * groups != inputs:
        reason = f"its weights {list(grid.integers.shape)} in {groups} groups do not fit an input of {inputs} channels"
        raise LoweringError(label(node), reason, "check the shapes")
    step = one_step(node, grid)
    name, tensor = node.name or node.outputs[0].name, node.outputs[0].name
    if any(own.pads) and (bias != 0).any():
        raise LoweringError(
            label(node),
            f"it pads with zeros, which the grid of {value.tensor!r} does not have at 0",
            "use unsigned activations of 1 bit (Quant) in place of BipolarQuant, and no bias between Quant and Conv",
        )
    summand = read_summand(state, node, 2, outputs)
    is_depthwise = groups == inputs == outputs and groups > 1
    if is_depthwise:
        whole = step * (weights[:, 0] * bias[:, None, None]).sum(axis=(1, 2)) + summand
        made = depthwise(state, name, tensor, wire, weights[:, 0], own, scale * step, whole)
        return Value(made, tensor, value.layout, made.shape)
    dense = _dense(weights, groups)
    if groups > 1:
        state.notes.append(f"{label(node)}: its {groups} groups are one matrix, with zeros, as FINN has no groups.")
    one = one_scale(node, value, scale)
    whole = step * np.einsum("oihw,i->o", dense, bias) + summand
    wire = padded(state, name, wire, own.pads)
    if dense.shape[2:] != (1, 1) or own.strides != (1, 1):
        wire = windows(state, name, wire, dense.shape[2:], own.strides, False)
    matrix = dense.transpose(0, 2, 3, 1).reshape(outputs, -1)
    made = matrix_vector(state, name, tensor, wire, matrix, one * step, whole)
    return Value(made, tensor, value.layout, made.shape)


def matrix_vector(
    state: State, name: str, tensor: str, wire: Wire, matrix: np.ndarray, scale: np.ndarray, bias: np.ndarray
) -> Wire:
    """An MVAU of ``matrix`` int [outputs, inputs] on the vector of each pixel."""
    type = least(*partial_sums(matrix, wire))
    low, high = sums(matrix, wire.numbers.low, wire.numbers.high)
    rows, columns, _ = wire.shape
    unit = MVAU(state.builder.name(f"{name}_mvau"), (rows, columns), matrix, weight_type(matrix), wire.type, type)
    return state.builder.add(unit, [wire], Numbers(low, high, scale, bias), tensor)


def one_step(node: Node, grid: Grid) -> np.ndarray:
    """The weights' scale, one for each output (axis 0).

    Raises:
        LoweringError: when it differs within an output.
    """
    rows = grid.step.reshape(len(grid.step), -1)
    if (rows != rows[:, :1]).any():
        raise LoweringError(
            label(node), "the scale of its weights differs between inputs", "give weights a scale an output, or one"
        )
    return rows[:, 0]


def one_scale(node: Node, value: Value, scale: np.ndarray) -> float:
    """The one scale of all channels of the input.

    Raises:
        LoweringError: when channels differ.
    """
    one = uniform(scale)
    if one is None:
        raise LoweringError(
            label(node),
            f"the scale of its input {value.tensor!r} differs between channels",
            "quantise activations with one scale a tensor, after any BatchNormalization",
        )
    return one


def _dilated(weights: np.ndarray, dilations: tuple[int, int]) -> np.ndarray:
    """The kernel with zeros between its positions: FINN's window is not dilated."""
    if dilations == (1, 1):
        return weights
    rows, columns = ((k - 1) * d + 1 for k, d in zip(weights.shape[2:], dilations, strict=True))
    spread = np.zeros((*weights.shape[:2], rows, columns), weights.dtype)
    spread[:, :, :: dilations[0], :: dilations[1]] = weights
    return spread


def _dense(weights: np.ndarray, groups: int) -> np.ndarray:
    """[outputs, inputs / groups, ...] as [outputs, inputs, ...], with zeros between groups."""
    if groups == 1:
        return weights
    outputs, inputs = len(weights) // groups, weights.shape[1]
    dense = np.zeros((len(weights), inputs * groups, *weights.shape[2:]), weights.dtype)
    for g in range(groups):
        rows, columns = slice(g * outputs, (g + 1) * outputs), slice(g * inputs, (g + 1) * inputs)
        dense[rows, columns] = weights[rows]
    return dense
