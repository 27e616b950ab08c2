"""How many bits a skip connection makes a dataflow design hold.

While the main path waits for the rows its windows need, the skip path's data wait in a FIFO. An output pixel at
(r, c) of the main path needs the fork up to (r * s + a, c * s + b), where s is the path's stride and each window
adds ``(dilation * (kernel - 1) - pad) * stride so far`` to the lookahead (a, b) (the receptive-field arithmetic of
Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks"); of several branches the one
that needs the latest pixel counts. The skip path lets go of pixel (r * s, c * s) at that time, so ``a * W + b`` pixels
lie in between: for n same-padded k x k convolutions ``n * (k - 1) / 2 * (W + 1)``, below which the design deadlocks.
At least the pixel being worked on is held, at most all but the last.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from onnx import TensorProto

from passes.errors import ModelError
from passes.flow import between
from passes.geometry import SLIDING, padding_of, sliding_of
from passes.graph import QUANTISERS, Editor, Node, attributes

if TYPE_CHECKING:
    from passes.skips import Skip

_MOST_BITS = 1024
_MATRICES = frozenset({"MatMul", "Gemm", "QGemm", "QLinearMatMul", "MatMulInteger"})
_POINTWISE = (
    frozenset(
        "Abs Add And BatchNormalization Cast Ceil Celu Clip Cos Div Dropout Elu Equal Erf Exp Floor Gelu Greater "
        "GreaterOrEqual HardSigmoid HardSwish Identity LRN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mul Neg "
        "Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Swish Tanh "
        "ThresholdedRelu Where".split()
    )
    | QUANTISERS
    | {"QLinearAdd"}
)
"""Operators whose output at one position needs their inputs at that position alone. After any other, which may need
every position, the whole map is held."""


def streaming_elements(editor: Editor, skip: Skip) -> int | None:
    """Elements of the fork held while the main path fills; None when the fork's shape is unknown.

    The fork is [N, C, spatial...], or [N, positions..., C] where the main path multiplies matrices; one image's.
    """
    shape = editor.shape(editor.tensor(skip.fork))
    if shape is None or len(shape) < 2:
        return None
    dims = [d for d in shape[1:] if isinstance(d, int)]
    if len(dims) < len(shape) - 1:
        return None
    nodes = between(editor, editor.tensor(skip.main), skip.fork)
    last = any(n.op in _MATRICES for n in nodes)
    channels, spatial = (dims[-1], dims[:-1]) if last else (dims[0], dims[1:])
    raster = [math.prod(spatial[i + 1 :]) for i in range(len(spatial))]
    whole = math.prod(spatial)
    ahead = _lookahead(editor, skip, nodes, raster, last)
    if ahead is None:
        return channels * whole
    # Beyond the end of a row there is nothing to wait for.
    within = [min(a, size - 1) if i else a for i, (a, size) in enumerate(zip(ahead, spatial, strict=True))]
    return channels * max(min(_dot(within, raster), whole - 1), 1)


def _lookahead(editor: Editor, skip: Skip, nodes: list[Node], raster: list[int], last: bool) -> list[int] | None:
    """How far ahead of its own position in the fork the main path's output looks, per axis; None: everywhere.

    Args:
        editor: the graph.
        skip: the skip.
        nodes: its main path.
        raster: pixels from one position of each axis to the next.
        last: whether channels are the last axis.
    """
    rank = len(raster)
    seen = {skip.fork: ([0] * rank, [1] * rank)}  # lookahead and stride, in pixels of the fork
    for node in nodes:
        if editor.captured_by(node):
            return None
        known = [seen[t.name] for t in node.inputs if t.name in seen]
        ahead = max((a for a, _ in known), key=lambda a: _dot(a, raster))
        stride = [max(s) for s in zip(*(s for _, s in known), strict=True)]
        if node.op in SLIDING and not last:
            slide = sliding_of(editor, node)
            if slide is None or len(slide.kernel) != rank:
                return None
            ahead = [a + taps[-1] * s for a, taps, s in zip(ahead, slide.grid, stride, strict=True)]
            stride = [s * step for s, step in zip(stride, slide.stride, strict=True)]
        elif node.op == "Pad" and not last:
            sides = padding_of(editor, node, rank + 2)
            if sides is None:
                return None
            ahead = [a - before * s for a, (before, _), s in zip(ahead, sides[2:], stride, strict=True)]
        elif not _is_pointwise(editor, node, len(known), last):
            return None
        for output in node.outputs:
            seen[output.name] = (ahead, stride)
    return [max(a, 0) for a in seen[skip.main][0]]


def _dot(a: list[int], b: list[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _is_pointwise(editor: Editor, node: Node, known: int, last: bool) -> bool:
    """Whether each position of the output needs that position of the inputs alone."""
    if node.op in _MATRICES:
        return known == 1
    if node.op in ("Concat", "Split", "LayerNormalization"):
        shape = editor.shape(node.inputs[0])
        axis = attributes(node).get("axis", 0 if node.op == "Split" else -1)
        rank = len(shape) if shape is not None else 0
        return rank > 0 and isinstance(axis, int) and axis % rank == (rank - 1 if last else 1)
    return node.op in _POINTWISE


def width(editor: Editor, skip: Skip, default: int) -> int:
    """Bits of one element in the buffer: those of the quantiser at the fork or else on the skip path."""
    fork = editor.producer(editor.tensor(skip.fork))
    while fork is not None and fork.op == "Identity":
        fork = editor.producer(fork.inputs[0])
    path = between(editor, editor.tensor(skip.skip), skip.fork)
    for node in ([fork] if fork is not None else []) + path:
        bits = _quantiser_bits(editor, node) if node.op in QUANTISERS else None
        if bits is not None:
            return bits
    return _BITS.get(editor.element_type(editor.tensor(skip.fork)) or 0, default)


_BITS = {
    value: int(digits.group())
    for name, value in TensorProto.DataType.items()
    if name.startswith(("INT", "UINT", "FLOAT4", "FLOAT8")) and (digits := re.search(r"\d+", name))
}
"""Bits of the types that only quantised models have, by onnx.TensorProto.DataType."""


def _quantiser_bits(editor: Editor, node: Node) -> int | None:
    """The width that a quantiser rounds to; None where it is not known before the graph runs."""
    if node.op == "BipolarQuant":
        return 1
    slot = {"Quant": 3, "IntQuant": 3, "Trunc": len(node.inputs) - 1}.get(node.op)  # Trunc's version 2 has one more
    if slot is not None and slot < len(node.inputs):
        try:
            bits = float(editor.value(node.inputs[slot]).max())
        except (ModelError, ValueError, TypeError):
            return None
        return math.ceil(bits) if 0 < bits < _MOST_BITS else None
    if node.op in ("QuantizeLinear", "DequantizeLinear") and node.inputs:
        back = node.op == "DequantizeLinear"
        tensor = node.inputs[0] if back else node.outputs[0]
        beside = [editor.producer(tensor)] if back else editor.consumers(tensor)
        clips = [few for n in beside if n is not None and n.op == "Clip" and (few := _clipped_bits(editor, n))]
        return min(clips, default=_BITS.get(editor.element_type(tensor) or 0))
    return None


def _clipped_bits(editor: Editor, clip: Node) -> int | None:
    """The width of the integers that a Clip leaves, as Brevitas writes fewer bits than a type has."""
    try:
        low, high = (int(editor.value(bound)) for bound in clip.inputs[1:3])
    except (ModelError, ValueError, TypeError):
        return None
    return (high - low).bit_length() if high > low else None
