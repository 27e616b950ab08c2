"""What the rules share while a graph is lowered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from hls_backend.dataflow import Shape
from hls_backend.errors import LoweringError
from hls_backend.layout import Layout
from hls_backend.lowering.builder import Builder
from hls_backend.lowering.wire import Numbers, Value, Wire
from hls_backend.quantisers import Quantiser, Steps
from passes.graph import Editor, Node, label


@dataclass(frozen=True, eq=False)
class Judge:
    """What a Thresholding's thresholds were taken from: the graph itself, in float64.

    Attributes:
        value: what the quantiser reads.
        quantiser: the quantiser.
        layer: the Thresholding's name.
    """

    value: Value
    quantiser: Quantiser
    layer: str

    def levels(self, integers: np.ndarray, shift: float | np.ndarray = 0.0) -> np.ndarray:
        """The levels of ``integers`` [n, channels] on the wire, their values shifted first."""
        values = self.value.evaluate(integers) + shift
        found = self.value.layout.gather(self.quantiser.levels(self.value.layout.spread(values)))
        assert found is not None, "the grid was checked to be one a channel"
        return found

    def magnitude(self) -> np.ndarray:
        """A bound, a channel, of the numbers that the value is computed from."""
        numbers = self.value.wire.numbers
        ends = np.stack([numbers.low, numbers.high, np.zeros_like(numbers.low)])
        return np.asarray(np.abs(self.value.evaluate(ends)).sum(axis=0))


@dataclass
class State:
    """A graph half lowered.

    Attributes:
        editor: the graph.
        builder: the dataflow.
        values: the tensors that are integers on a wire, by name.
        host: the tensors that the host computes, by name.
        host_quantiser: the quantiser that makes the dataflow's input, once it is found.
        terminal: by the graph output's name, the operator (Softmax, ArgMax, ...) that was taken off it.
        judges: by the name of a quantised tensor, what its thresholds were taken from.
        logits: by the name of a LabelSelect, the tensor whose largest value it finds.
        notes: what a person should know.
    """

    editor: Editor
    builder: Builder = field(default_factory=Builder)
    values: dict[str, Value] = field(default_factory=dict)
    host: set[str] = field(default_factory=set)
    host_quantiser: Quantiser | None = None
    terminal: dict[str, str] = field(default_factory=dict)
    judges: dict[str, Judge] = field(default_factory=dict)
    logits: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def value(self, node: Node, slot: int) -> Value:
        """The value that ``node`` reads at ``slot``; private where nothing else reads the tensor either.

        Raises:
            LoweringError: when that is a float tensor.
        """
        tensor = node.inputs[slot]
        name = tensor.name
        if self.is_constant(tensor):
            raise LoweringError(label(node), f"its input {name!r} is a constant", "put what comes from the image first")
        if name not in self.values:
            raise LoweringError(
                label(node),
                f"its input {name!r} is not quantised",
                "put a Quant on the graph's input, or quantise the network with `graphops quantize`",
            )
        value = self.values[name]
        return replace(value, private=value.private and self.editor.is_private(tensor))

    def is_constant(self, tensor: gs.Variable) -> bool:
        """Whether ``tensor`` depends on no input of the graph."""
        return bool(tensor.name) and tensor.name not in self.values and tensor.name not in self.host

    def opset(self) -> int:
        return self.editor.opset or onnx.defs.onnx_opset_version()


def scaled(state: State, node: Node, slot: int) -> tuple[Wire, Numbers]:
    """The value that ``node`` reads at ``slot`` as integers, and what they stand for.

    Raises:
        LoweringError: when a function that is not affine lies between the integers and the value.
    """
    from hls_backend.lowering.pooling import pool_now

    value = pool_now(state, state.value(node, slot))
    affine = value.affine()
    if affine is None:
        last = value.pieces[-1].nodes[-1]
        raise LoweringError(
            label(node),
            f"its input {value.tensor!r} is a float, made by {label(last)} after the last quantiser",
            f"put a Quant after {label(last)}",
        )
    return value.wire, replace(value.wire.numbers, scale=affine[0], bias=affine[1])


def uniform(values: np.ndarray) -> float | None:
    """The one number that all of ``values`` are, to float32 rounding; None when they differ."""
    first = float(values.reshape(-1)[0])
    return first if np.allclose(values, first, rtol=2**-22, atol=0) else None


def grid(quantiser: Quantiser, layout: Layout, image: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Step and offset a channel of a quantiser whose tensor has ``layout``.

    Raises:
        LoweringError: when they differ within a channel.
    """
    found, node, rows = [], quantiser.node, 1
    if isinstance(quantiser, Steps):
        rows = len(quantiser.thresholds)
        if rows > 1 and quantiser.axis != layout.channel_axis:
            axes = ", ".join(layout.axes)
            raise LoweringError(label(node), f"its data layout is not that of its input, {axes}", "make them agree")
    for part in (quantiser.step, quantiser.offset):
        each = layout.per_channel(part, image[2])
        many = max(part.size, rows) > 1
        if each is None or rows not in (1, image[2]) or (layout.is_flat and image[:2] != (1, 1) and many):
            raise LoweringError(label(node), "its scale is not one a channel", "give it one scale a channel or tensor")
        found.append(each)
    return found[0], found[1]
