"""How many bits a skip connection makes a dataflow design hold.

While the main path waits for the rows its windows need, the skip path's data wait in a FIFO. An output pixel at
(r, c) of the main path needs the fork up to (r * s + a, c * s + b), where s is the path's stride and each window
adds ``(dilation * (kernel - 1) - pad) * stride so far`` to the lookahead (a, b) (the receptive-field arithmetic of
Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks"). The skip path lets go of
pixel (r * s, c * s) at that time, so ``a * W + b`` pixels lie in between: for n same-padded k x k convolutions
``n * (k - 1) / 2 * (W + 1)``, below which the design deadlocks. At least the pixel being worked on is held.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from passes.errors import ModelError
from passes.flow import between
from passes.graph import QUANTISERS, Editor, Node, attributes

if TYPE_CHECKING:
    from passes.skips import Skip

_WINDOWS = frozenset({"Conv", "QLinearConv", "ConvInteger", "AveragePool", "MaxPool", "LpPool"})
_CHANNELS_LAST = frozenset({"MatMul", "Gemm", "QLinearMatMul", "MatMulInteger", "LayerNormalization"})
_MIXES_POSITIONS = frozenset(
    "ConvTranspose GlobalAveragePool GlobalMaxPool GlobalLpPool Reshape Flatten Transpose Resize Upsample "
    "Einsum ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 InstanceNormalization GroupNormalization "
    "Gather Slice SpaceToDepth DepthToSpace If Loop Scan LSTM GRU RNN CumSum TopK Expand Tile".split()
)
"""Operators after which a position of the output may need any position of the fork: the whole map is held."""


def streaming_elements(editor: Editor, skip: Skip) -> int | None:
    """Elements of the fork held while the main path fills; None when the fork's shape is unknown.

    The fork is [N, C, spatial...], or [N, positions..., C] where the main path multiplies matrices; one image's.
    """
    shape = editor.shape(editor.tensor(skip.fork))
    if shape is None or len(shape) < 2 or not all(isinstance(d, int) for d in shape[1:]):
        return None
    nodes = between(editor, editor.tensor(skip.main), skip.fork)
    dims = [d for d in shape[1:] if isinstance(d, int)]
    if any(n.op in _CHANNELS_LAST for n in nodes):
        channels, spatial = dims[-1], dims[:-1]
    else:
        channels, spatial = dims[0], dims[1:]
    ahead = _lookahead(editor, skip, nodes, len(spatial))
    whole = math.prod(spatial)
    if ahead is None:
        return channels * whole
    pixels = sum(int(a) * math.prod(spatial[i + 1 :]) for i, a in enumerate(ahead))
    return channels * min(max(pixels, 1), whole)


def _lookahead(editor: Editor, skip: Skip, nodes: list[Node], rank: int) -> np.ndarray | None:
    """How far ahead of its own position in the fork the main path's output looks, per axis; None: everywhere."""
    none = np.zeros(rank, np.int64)
    seen = {skip.fork: (none, np.ones(rank, np.int64))}  # tensor -> (lookahead, stride), both in fork pixels
    for node in nodes:
        known = [seen[t.name] for t in node.inputs if t.name in seen]
        if node.op in _MIXES_POSITIONS or (node.op == "MatMul" and len(known) == 2):
            return None
        ahead = np.maximum.reduce([k[0] for k in known])
        stride = np.maximum.reduce([k[1] for k in known])
        if node.op in _WINDOWS:
            window = _window(editor, node, rank)
            if window is None:
                return None
            kernel, dilation, pad, step = window
            ahead = ahead + (dilation * (kernel - 1) - pad) * stride
            stride = stride * step
        elif node.op == "Pad":
            begins = _begins(editor, node, rank)
            if begins is None:
                return None
            ahead = ahead - begins * stride
        for output in node.outputs:
            seen[output.name] = (ahead, stride)
    end: np.ndarray = np.maximum(seen[skip.main][0], 0)
    return end


def _window(editor: Editor, node: Node, rank: int) -> tuple[np.ndarray, ...] | None:
    """Kernel, dilation, leading pad and stride of a sliding window, each per axis; None when unknown."""
    attrs = attributes(node)
    kernel = attrs.get("kernel_shape")
    if kernel is None:
        weights = editor.shape(node.inputs[3 if node.op == "QLinearConv" else 1])
        if weights is None or not all(isinstance(d, int) for d in weights[2:]):
            return None
        kernel = list(weights[2:])
    if len(kernel) != rank:
        return None
    size = np.array(kernel)
    dilation = np.array(attrs.get("dilations", [1] * rank))
    stride = np.array(attrs.get("strides", [1] * rank))
    auto = attrs.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        total = np.maximum(dilation * (size - 1) + 1 - stride, 0)
        pad = (total + (auto == b"SAME_LOWER")) // 2
    else:
        pad = np.array(attrs.get("pads", [0] * 2 * rank)[:rank])
    return size, dilation, pad, stride


def _begins(editor: Editor, node: Node, rank: int) -> np.ndarray | None:
    """The leading pads of a Pad node on the last ``rank`` axes."""
    pads = attributes(node).get("pads")
    if pads is None and len(node.inputs) > 1:
        try:
            pads = editor.value(node.inputs[1])
        except ModelError:
            return None
    if pads is None or len(pads) < 2 * rank or len(node.inputs) > 3:
        return None
    begins: np.ndarray = np.array(pads)[: len(pads) // 2][-rank:] if rank else np.zeros(0, np.int64)
    return begins


def width(editor: Editor, skip: Skip, default: int) -> int:
    """Bits of one element in the buffer: those of the quantiser at the fork or else on the skip path."""
    fork = editor.producer(editor.tensor(skip.fork))
    while fork is not None and fork.op == "Identity":
        fork = editor.producer(fork.inputs[0])
    path = between(editor, editor.tensor(skip.skip), skip.fork)
    for node in ([fork] if fork is not None else []) + path:
        if node.op in QUANTISERS:
            bits = _quantiser_bits(editor, node)
            if bits is not None:
                return bits
    return default


_BITS: dict[int, int] = {
    TensorProto.INT8: 8,
    TensorProto.UINT8: 8,
    TensorProto.INT16: 16,
    TensorProto.UINT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
}


def _quantiser_bits(editor: Editor, node: Node) -> int | None:
    if node.op == "BipolarQuant":
        return 1
    slot = {"Quant": 3, "IntQuant": 3, "Trunc": 4}.get(node.op)
    if slot is not None and slot < len(node.inputs):
        return math.ceil(float(editor.value(node.inputs[slot]).reshape(-1)[0]))
    if node.op in ("QuantizeLinear", "DequantizeLinear"):
        tensor = node.inputs[0] if node.op == "DequantizeLinear" else node.outputs[0]
        return _BITS.get(editor.element_type(tensor) or 0)
    return None
