"""Weights as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper
from onnx.reference import ReferenceEvaluator

from hls_backend.errors import LoweringError
from hls_backend.lowering.state import State
from hls_backend.quantisers import Sign, read_quantiser
from hls_backend.reader import QUANTISERS
from passes.graph import Node, is_standard, label

_RESHAPING = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})


@dataclass(frozen=True, eq=False)
class Grid:
    """A constant on a grid: ``step * integers``.

    Attributes:
        integers: int64.
        step: float64 of the same shape.
    """

    integers: np.ndarray
    step: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """In float64."""
        return self.step * self.integers


def read_weights(state: State, node: Node, slot: int) -> Grid:
    """The weights that ``node`` reads at ``slot``.

    Raises:
        LoweringError: when they are floats, or their grid has no zero.
    """
    found = _read(state, node.inputs[slot])
    if found is None:
        raise LoweringError(
            label(node),
            f"its weights {node.inputs[slot].name!r} are floats",
            "put a Quant on them, or quantise the network with `graphops quantize`",
        )
    return found


def read_summand(state: State, node: Node, slot: int, channels: int) -> np.ndarray:
    """The bias that ``node`` reads at ``slot`` in float64 [channels]; zeros where there is none."""
    if slot >= len(node.inputs) or not node.inputs[slot].name:
        return np.zeros(channels)
    value = constant(state, node.inputs[slot]).astype(np.float64)
    try:
        return np.broadcast_to(value.reshape(-1), (channels,))
    except ValueError as error:
        raise LoweringError(label(node), "its bias is not one a channel", "make it a vector") from error


def constant(state: State, tensor: gs.Variable) -> np.ndarray:
    """The value of a constant, quantised or not."""
    grid = _read(state, tensor)
    return state.editor.value(tensor) if grid is None else grid.values


def _read(state: State, tensor: gs.Variable) -> Grid | None:
    """A quantised constant, reshaped as it may be after its quantiser; None for floats."""
    editor = state.editor
    node = editor.producer(tensor)
    if node is not None and node.op in QUANTISERS:
        return _quantised(state, node)
    if node is not None and node.op in _RESHAPING and is_standard(node):
        inner = _read(state, node.inputs[0])
        if inner is None:
            return None
        return Grid(*(_apply(state, node, part) for part in (inner.integers, inner.step)))
    value = _finite(state, tensor)
    if value.dtype.kind == "f" and np.abs(value).max(initial=0) <= 2**15 and (value == np.round(value)).all():
        return Grid(value.astype(np.int64), np.ones(value.shape))  # integers already, as qonnx's own tools leave them
    return None


def _finite(state: State, tensor: gs.Variable) -> np.ndarray:
    """The value of a constant of floats.

    Raises:
        LoweringError: when a training that diverged left it; a single infinity is a bound, as of Clip.
    """
    value = state.editor.value(tensor)
    if np.isnan(value).any() or (value.size > 1 and np.isinf(value).any()):
        remedy = "train the network again, at a lower learning rate"
        raise LoweringError(f"The constant {tensor.name!r}", "it holds numbers that are not finite", remedy)
    return value


def _quantised(state: State, node: Node) -> Grid:
    quantiser = read_quantiser(state.editor, node)
    source = state.editor.producer(node.inputs[0])
    if source is not None and source.op in QUANTISERS:
        raise LoweringError(label(node), "it quantises what is quantised", "keep one of the two quantisers")
    levels = quantiser.levels(_finite(state, node.inputs[0]))
    step = np.broadcast_to(quantiser.step, levels.shape)
    if isinstance(quantiser, Sign) and not (quantiser.offset * 2 + quantiser.step).any():
        return Grid(2 * levels - 1, step / 2)
    if quantiser.offset.any():
        raise LoweringError(label(node), "zero is not on its grid", "give weights an integral zero point")
    return Grid(levels, step)


def _apply(state: State, node: Node, array: np.ndarray) -> np.ndarray:
    """``node``, which only reshapes, applied to ``array`` in place of its first input."""
    feeds = {node.inputs[0].name: array}
    feeds |= {t.name: state.editor.value(t) for t in node.inputs[1:] if t.name}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feeds.items()
    ]
    output = helper.make_empty_tensor_value_info(node.outputs[0].name)
    model = helper.make_model(
        helper.make_graph([node.source], "reshape", infos, [output]),
        opset_imports=[helper.make_opsetid("", state.opset())],
    )
    (result,) = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(result)
