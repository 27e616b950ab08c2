"""Which values a tensor can take, by interval arithmetic over the graph.

Only what holds for every input is said: a graph input of floats can be anything, what a Relu makes is not negative.
Intervals are of the whole tensor, not of channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from passes.batchnorm import scale_and_shift
from passes.errors import ModelError
from passes.graph import Editor, Node, is_standard
from passes.layers import constant
from passes.refusal import Refusal


@dataclass(frozen=True)
class Range:
    """All values lie in [low, high]."""

    low: float
    high: float

    def hull(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def __neg__(self) -> Range:
        return Range(-self.high, -self.low)

    def __mul__(self, other: Range) -> Range:
        products = [_times(a, b) for a in (self.low, self.high) for b in (other.low, other.high)]
        return Range(min(products), max(products))

    def clip(self, low: float, high: float) -> Range:
        return Range(min(max(self.low, low), high), max(min(self.high, high), low))

    def within(self, low: float, high: float) -> bool:
        return low <= self.low and self.high <= high

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


ALL = Range(-math.inf, math.inf)
POSITIVE = Range(0.0, math.inf)
ZERO = Range(0.0, 0.0)

_INTEGERS: dict[int, int] = {
    TensorProto.UINT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.UINT4: 4,
    TensorProto.INT8: -8,
    TensorProto.INT16: -16,
    TensorProto.INT32: -32,
    TensorProto.INT64: -64,
    TensorProto.INT4: -4,
    TensorProto.BOOL: 1,
}

_QONNX = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"})


def _times(a: float, b: float) -> float:
    """A product in which zero times anything is zero: infinity stands for arbitrarily large, not for a value."""
    return 0.0 if a == 0 or b == 0 else a * b


def of_type(kind: int | None) -> Range:
    """Every value that a type can hold."""
    bits = _INTEGERS.get(kind or 0)
    if bits is None:
        return ALL
    return Range(0.0, 2.0**bits - 1) if bits > 0 else Range(-(2.0 ** (-bits - 1)), 2.0 ** (-bits - 1) - 1)


class Ranges:
    """Ranges of the tensors of one graph, which must not be edited meanwhile."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self._known: dict[str, Range] = {}

    def of(self, tensor: gs.Variable) -> Range:
        """The interval that holds every value of ``tensor``."""
        pending = [(tensor, False)]
        while pending:
            current, ready = pending.pop()
            if current.name in self._known:
                continue
            node = self.editor.producer(current)
            if node is None:
                self._known[current.name] = self._given(current)
            elif _key(node) not in _RULES or (current is not node.outputs[0] and node.op != "Split"):
                self._known[current.name] = self._unknown(current)
            elif ready:
                self._known[current.name] = self._visit(node, current)
            else:
                pending.append((current, True))
                pending.extend((t, False) for t in node.inputs if t.name)
        return self._known[tensor.name]

    def _given(self, tensor: gs.Variable) -> Range:
        if not self.editor.is_initializer(tensor):
            return self._unknown(tensor)
        try:
            return values(self.editor.value(tensor))
        except ModelError:
            return self._unknown(tensor)

    def _unknown(self, tensor: gs.Variable) -> Range:
        return of_type(self.editor.element_type(tensor))

    def _visit(self, node: Node, made: gs.Variable) -> Range:
        inputs = [self._known[t.name] if t.name else ZERO for t in node.inputs]
        try:
            return _RULES[_key(node)](self.editor, node, inputs)
        except Refusal:
            return self._unknown(made)


def values(array: np.ndarray) -> Range:
    """The range of a constant."""
    if not array.size or array.dtype.kind not in "fiubV":
        return ALL
    numbers = array.astype(np.float64)
    return Range(float(numbers.min()), float(numbers.max())) if np.isfinite(numbers).all() else ALL


def _key(node: Node) -> str:
    """The operator's name in the table, with an asterisk for those of QONNX."""
    if is_standard(node):
        return node.op
    return f"{node.op}*" if node.domain in _QONNX else ""


# A rule takes the editor, the node and the ranges of its inputs; one that is left out stands for zero.
Rule = Callable[[Editor, Node, list[Range]], Range]


def _same(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    return inputs[0]


def _fixed(low: float, high: float) -> Rule:
    return lambda editor, node, inputs: Range(low, high)


def _monotone(function: Callable[[float], float]) -> Rule:
    """A rule for an operator that never falls."""
    return lambda editor, node, inputs: Range(function(inputs[0].low), function(inputs[0].high))


def _hull(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    result: Range = inputs[0]
    for other in inputs[1:]:
        result = result.hull(other)
    return result


def _sum(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    result: Range = inputs[0]
    for other in inputs[1:]:
        result = result + other
    return result


def _product(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    if node.inputs[0] is node.inputs[1]:
        return _square(inputs[0])
    return inputs[0] * inputs[1]


def _square(x: Range) -> Range:
    ends = (_times(x.low, x.low), _times(x.high, x.high))
    return Range(0.0 if x.low <= 0 <= x.high else min(ends), max(ends))


def _quotient(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    x, divisor = inputs
    if divisor.low <= 0 <= divisor.high:
        return ALL
    return x * Range(1 / divisor.high, 1 / divisor.low)


def _clip(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    low, high = clip_bounds(editor, node)
    return inputs[0].clip(low, high)


def clip_bounds(editor: Editor, node: Node) -> tuple[float, float]:
    """Between which two values a Clip holds its input.

    Raises:
        Refusal: when they are not constant.
    """
    bounds = [float(editor.attribute(node, "min", -math.inf)), float(editor.attribute(node, "max", math.inf))]
    if editor.opset >= 11:
        for i in (0, 1):
            if len(node.inputs) > i + 1 and node.inputs[i + 1].name:
                bounds[i] = float(constant(editor, node.inputs[i + 1]).reshape(-1)[0])
    return bounds[0], bounds[1]


def _leaky(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    slope = float(editor.attribute(node, "alpha", 0.01))
    return _bent(inputs[0], Range(slope, slope))


def _prelu(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    return _bent(inputs[0], inputs[1])


def _bent(x: Range, slope: Range) -> Range:
    """x where it is positive, slope * x where it is negative."""
    parts = []
    if x.high > 0:
        parts.append(Range(max(x.low, 0.0), x.high))
    if x.low <= 0:
        parts.append(Range(x.low, min(x.high, 0.0)) * slope)
    return parts[0] if len(parts) == 1 else parts[0].hull(parts[1])


def _dropout(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    """In training what stays is made larger."""
    if len(inputs) < 3 or inputs[2] == ZERO:
        return inputs[0]
    return _total(editor, node, inputs)


def _elu(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    alpha = float(editor.attribute(node, "alpha", 1.6732632 if node.op == "Selu" else 1.0))
    gain = float(editor.attribute(node, "gamma", 1.0507010)) if node.op == "Selu" else 1.0
    if alpha < 0 or gain < 0:
        return ALL
    return Range(-alpha * gain if inputs[0].low < 0 else 0.0, math.inf if inputs[0].high > 0 else 0.0)


def _batchnorm(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    scale, shift = scale_and_shift(editor, node)
    parts = [inputs[0] * Range(s, s) + Range(b, b) for s, b in zip(scale.tolist(), shift.tolist(), strict=True)]
    return Range(min(p.low for p in parts), max(p.high for p in parts))


def _average(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    counted = editor.attribute(node, "count_include_pad", 0)
    return inputs[0].hull(ZERO) if counted else inputs[0]


def _pad(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    if editor.opset < 11:
        fill = float(editor.attribute(node, "value", 0.0))
        return inputs[0].hull(Range(fill, fill))
    return inputs[0].hull(inputs[2] if len(inputs) > 2 else ZERO)


def _total(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    """A sum of any number of values."""
    x = inputs[0]
    return Range(0.0 if x.low >= 0 else -math.inf, 0.0 if x.high <= 0 else math.inf)


def _power(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    exponent = inputs[1]
    if exponent.low == exponent.high and exponent.low > 0 and exponent.low % 2 == 0:
        return POSITIVE
    return POSITIVE if inputs[0].low >= 0 else ALL


def _minimum(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    return Range(min(x.low for x in inputs), min(x.high for x in inputs))


def _maximum(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    return Range(max(x.low for x in inputs), max(x.high for x in inputs))


def _where(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    return inputs[1].hull(inputs[2])


def _constant(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    return values(constant(editor, node.outputs[0]))


def _cast(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    to = editor.attribute(node, "to")
    return inputs[0] if to not in _INTEGERS else of_type(to)


def _dequantize(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    zero = inputs[2] if len(inputs) > 2 else ZERO
    return (inputs[0] + -zero) * inputs[1]


def _quantize(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    """What the integer type can hold."""
    return of_type(editor.element_type(node.outputs[0]))


def _quant(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    """QONNX: ``(integer - zero) * scale``, the integer of so many bits, signed or not."""
    if len(inputs) != 4:
        return ALL
    _, scale, zero, bits = inputs
    if bits.low != bits.high or not 1 <= bits.low <= 64:
        return ALL
    signed, narrow = editor.attribute(node, "signed", 1), editor.attribute(node, "narrow", 0)
    half = 2.0 ** (bits.low - 1)
    steps = Range(-half + narrow, half - 1) if signed else Range(0.0, 2 * half - 1 - narrow)
    if signed and bits.low == 1:
        steps = Range(-1.0, 1.0)  # it takes the sign
    return (steps + -zero) * scale


def _bipolar(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    return inputs[1].hull(-inputs[1])


def _resize(editor: Editor, node: Node, inputs: list[Range]) -> Range:
    mode = editor.attribute(node, "mode", "nearest")
    frame = editor.attribute(node, "coordinate_transformation_mode", "half_pixel")
    if mode in (b"cubic", "cubic") or frame in (b"tf_crop_and_resize", "tf_crop_and_resize"):
        return ALL
    return inputs[0]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        "Identity Reshape Flatten Transpose Squeeze Unsqueeze Slice Gather Split MaxPool GlobalMaxPool "
        "GlobalAveragePool ReduceMean ReduceMax ReduceMin Expand Tile DepthToSpace SpaceToDepth".split(),
        _same,
    ),
    "Relu": _monotone(lambda x: max(x, 0.0)),
    "Sigmoid": _fixed(0, 1),
    "HardSigmoid": _fixed(0, 1),
    "Softmax": _fixed(0, 1),
    "Tanh": _fixed(-1, 1),
    "Softsign": _fixed(-1, 1),
    "Erf": _fixed(-1, 1),
    "Softplus": _fixed(0, math.inf),
    "Exp": _fixed(0, math.inf),
    "Sqrt": _fixed(0, math.inf),
    "HardSwish": _fixed(-0.375, math.inf),
    "Abs": lambda editor, node, inputs: Range(0.0, max(abs(inputs[0].low), abs(inputs[0].high))),
    "Neg": lambda editor, node, inputs: -inputs[0],
    "Sub": lambda editor, node, inputs: inputs[0] + -inputs[1],
    "ReduceSum": _total,
    "ReduceL1": _fixed(0, math.inf),
    "ReduceL2": _fixed(0, math.inf),
    "ReduceSumSquare": _fixed(0, math.inf),
    "Dropout": _dropout,
    "Clip": _clip,
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Elu": _elu,
    "Celu": _elu,
    "Selu": _elu,
    "Add": _sum,
    "Sum": _sum,
    "Mul": _product,
    "Div": _quotient,
    "Pow": _power,
    "Min": _minimum,
    "Max": _maximum,
    "Where": _where,
    "Concat": _hull,
    "Pad": _pad,
    "AveragePool": _average,
    "BatchNormalization": _batchnorm,
    "Constant": _constant,
    "Cast": _cast,
    "Resize": _resize,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Quant*": _quant,
    "IntQuant*": _quant,
    "BipolarQuant*": _bipolar,
}
