"""Convolutions and their gradients on the runtime's blocked layout, which it uses by itself for constant weights only.

In that layout the channels of a tensor lie in blocks, the channels of a block side by side.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphops.quantisers import import_domain

DOMAIN = "com.microsoft.nchwc"
_PREFIX = "graphops_blocked/"
_STRIP = 64  # pixels that are transposed at once: longer rows meet in the same lines of the cache

Shape = tuple[int, ...]


def blocked_convolutions(model: onnx.ModelProto, block: int) -> onnx.ModelProto:
    """Conv, and the input's gradient of those of stride 1, where channels are multiples of ``block``.

    The input's gradient is the same operator on the result's gradient, with flipped weights: dX = dY * flip(W), padded
    by dilation (kernel - 1) - pad. The runtime has no such way for strides.
    """
    writer = _Writer(model, block)
    for node in model.graph.node:
        if node.op_type == "Conv" and writer.fits(node, node.input[1]):
            writer.forward(node)
        elif node.op_type == "ConvGrad" and node.output[0] and writer.fits(node, node.input[2], stride=1):
            writer.input_gradient(node)
        else:
            writer.nodes.append(node)
    return writer.written()


def blocked_weight_gradients(model: onnx.ModelProto, block: int) -> onnx.ModelProto:
    """The weights' gradient of convolutions of stride 1 whose results have multiples of ``block`` channels.

    It is a convolution as well, in which images take the place of channels: with X as C images of N channels and dY as
    O kernels of N channels, dW = X * dY, whose "pixels" are the taps of W. N must be a multiple of ``block``.
    A kernel of one tap is left to the runtime, which then needs no im2col, and so is one whose bias has a gradient.
    """
    writer = _Writer(model, block)
    for node in model.graph.node:
        if node.op_type == "ConvGrad" and writer.has_blocked_weights(node):
            writer.weight_gradient(node)
        else:
            writer.nodes.append(node)
    return writer.written()


class _Writer:
    """Collects the nodes of the rewritten graph; each tensor is brought into blocks once."""

    def __init__(self, model: onnx.ModelProto, block: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._model, self._block = model, block
        self._constants: dict[str, onnx.TensorProto] = {}
        self._made = {o for node in model.graph.node for o in node.output if o.startswith(_PREFIX)}
        # Constant weights are left out: the runtime brings these into blocks by itself. Quantised ones are computed.
        self._shapes = {value.name: _shape(value) for value in [*model.graph.value_info, *model.graph.input]}

    def written(self) -> onnx.ModelProto:
        """The model with the collected nodes."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.node[:]
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(self._constants.values())
        if any(node.domain == DOMAIN for node in self.nodes):
            import_domain(model, DOMAIN)
        return model

    def fits(self, node: onnx.NodeProto, weight: str, stride: int | None = None) -> bool:
        """Whether the node is a two-dimensional convolution of whole blocks (and of this stride)."""
        shape = self._shapes.get(weight, ())
        if not _is_plain(node, shape) or shape[0] % self._block or shape[1] % self._block:
            return False
        if stride is None:
            return True
        pads, reach = _pads(node), _reach(node, shape)
        return _strides(node) == {stride} and all(p <= r for p, r in zip(pads, [*reach, *reach], strict=True))

    def has_blocked_weights(self, node: onnx.NodeProto) -> bool:
        """Whether `weight_gradient` can compute the node's gradient of the weights, and gains by it."""
        gradient, x, weight = node.input[:3]
        shape, sizes = self._shapes.get(weight, ()), (*self._spatial(gradient), *self._spatial(x))
        return (
            _is_plain(node, shape)
            and len(sizes) == 4
            and 0 not in sizes
            and shape[0] % self._block == 0
            and math.prod(shape[2:]) > 1
            and _strides(node) == {1}
            and node.output[1] != ""
            and list(node.output[2:]) in ([], [""])
        )

    def forward(self, node: onnx.NodeProto) -> None:
        """Y = X * W."""
        values, (x, weight, *bias) = _attributes(node), node.input
        shape = self._shapes[weight]
        self._convolve(
            [self._reorder(x), self._blocks(weight, flipped=False), *bias],
            node.output[0],
            node.name,
            channels=shape[0],
            kernel_shape=list(shape[2:]),
            pads=_pads(node),
            strides=values.get("strides", [1, 1]),
            dilations=_dilations(node),
        )

    def input_gradient(self, node: onnx.NodeProto) -> None:
        """dX = dY * flip(W); the node keeps the gradients of weight and bias."""
        gradient, _, weight = node.input[:3]
        shape = self._shapes[weight]
        reach = _reach(node, shape)
        self._convolve(
            [self._reorder(gradient), self._blocks(weight, flipped=True)],
            node.output[0],
            f"{node.name}/input",
            channels=shape[1],
            kernel_shape=list(shape[2:]),
            pads=[r - p for r, p in zip([*reach, *reach], _pads(node), strict=True)],
            strides=[1, 1],
            dilations=_dilations(node),
        )
        rest = onnx.NodeProto.FromString(node.SerializeToString())
        rest.output[0] = ""
        self.nodes.append(rest)

    def weight_gradient(self, node: onnx.NodeProto) -> None:
        """dW = X * dY with images as channels; the node keeps the gradient of its input."""
        gradient, x, weight = node.input[:3]
        shape = self._shapes[weight]
        taps = f"{_PREFIX}{node.output[1]}/taps"
        self._convolve(
            [self._images_as_channels(x, _pads(node)), self._images_as_taps(gradient)],
            taps,
            f"{node.name}/weight",
            channels=shape[0],
            kernel_shape=list(self._spatial(gradient)),
            pads=[0] * 4,
            strides=_dilations(node),
            dilations=[1, 1],
        )
        self._add("Transpose", [taps], node.output[1], f"{node.name}/weight/order", perm=[1, 0, 2, 3])
        if node.output[0]:
            rest = onnx.NodeProto.FromString(node.SerializeToString())
            rest.output[1] = ""
            self.nodes.append(rest)

    def _convolve(self, inputs: list[str], result: str, name: str, channels: int, **attributes: list[int]) -> None:
        blocked = f"{_PREFIX}{result}/blocked"
        self._add("Conv", inputs, blocked, f"{name}/blocked", DOMAIN, group=1, **attributes)
        self._add("ReorderOutput", [blocked], result, name, DOMAIN, channels=channels)

    def _reorder(self, tensor: str) -> str:
        return self._once("ReorderInput", [tensor], f"{_PREFIX}{tensor}/in", DOMAIN)

    def _blocks(self, weight: str, flipped: bool) -> str:
        """Weights [O, I, H, W] in blocks, the inner sizes being those of an input and of an output block.

        Flipped, the two change places and the taps run backwards. Picking values by number is ten times as fast as
        Transpose, which copies one at a time here.
        """
        b, shape = self._block, self._shapes[weight]
        o, i, h, w = shape
        numbers = np.arange(math.prod(shape), dtype=np.int32).reshape(o // b, b, i // b, b, h, w)
        ordered = (
            numbers[..., ::-1, ::-1].transpose(2, 0, 4, 5, 1, 3) if flipped else numbers.transpose(0, 2, 4, 5, 3, 1)
        )
        which = "flipped" if flipped else "blocks"
        order = self._keep(f"{shape}/{which}", ordered.reshape(-1))
        flat = self._reshape(weight, [-1], f"{_PREFIX}{weight}/flat")
        picked = self._once("GatherElements", [flat, order], f"{_PREFIX}{weight}/{which}/picked", axis=0)
        return self._reshape(picked, [i, o, h, w] if flipped else [o, i, h, w], f"{_PREFIX}{weight}/{which}")

    def _images_as_channels(self, tensor: str, pads: list[int]) -> str:
        """[N, C, H, W] as C padded images of N channels, in blocks."""
        b, c, (h, w) = self._block, self._shapes[tensor][1], self._spatial(tensor)
        top, left, bottom, right = pads
        name = f"{_PREFIX}{tensor}/images"
        parts = self._reshape(tensor, [-1, b, c * h * w], f"{name}/parts")
        inner = self._once("Transpose", [parts], f"{name}/inner", perm=[0, 2, 1])
        rows = self._reshape(inner, [-1, c, h * w * b], f"{name}/rows")
        outer = self._once("Transpose", [rows], f"{name}/outer", perm=[1, 0, 2])
        whole = self._reshape(outer, [c, -1, h, w * b], f"{name}/whole")
        if any(pads):
            around = self._ints([0, 0, top, left * b, 0, 0, bottom, right * b])
            whole = self._once("Pad", [whole, around], f"{name}/padded/{pads}")
        return self._reshape(whole, [c, -1, top + h + bottom, left + w + right], f"{name}/blocks/{pads}")

    def _images_as_taps(self, tensor: str) -> str:
        """[N, O, H, W] as weights of O kernels of H x W taps over N channels, in blocks."""
        b, o, (h, w) = self._block, self._shapes[tensor][1], self._spatial(tensor)
        strip = math.gcd(h * w, _STRIP)
        name = f"{_PREFIX}{tensor}/kernels"
        parts = self._reshape(tensor, [-1, b, o // b, b, h * w // strip, strip], f"{name}/parts")
        outer = self._once("Transpose", [parts], f"{name}/outer", perm=[2, 0, 4, 1, 3, 5])
        strips = self._reshape(outer, [-1, b * b, strip], f"{name}/strips")
        inner = self._once("Transpose", [strips], f"{name}/inner", perm=[0, 2, 1])
        return self._reshape(inner, [o, -1, h, w], f"{name}/blocks")

    def _reshape(self, tensor: str, sizes: list[int], result: str) -> str:
        return self._once("Reshape", [tensor, self._ints(sizes)], result)

    def _ints(self, values: list[int]) -> str:
        return self._keep(str(values), np.array(values, np.int64))

    def _keep(self, name: str, value: np.ndarray) -> str:
        known = {i.name for i in self._model.graph.initializer}
        if _PREFIX + name not in known:
            self._constants[_PREFIX + name] = numpy_helper.from_array(value, _PREFIX + name)
        return _PREFIX + name

    def _once(self, kind: str, inputs: list[str], result: str, domain: str = "", **attributes: Any) -> str:
        if result not in self._made:
            self._made.add(result)
            self._add(kind, inputs, result, result, domain, **attributes)
        return result

    def _add(self, kind: str, inputs: list[str], result: str, name: str, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [result], name=name, domain=domain, **attributes))

    def _spatial(self, tensor: str) -> Shape:
        return self._shapes.get(tensor, ())[2:]


def _is_plain(node: onnx.NodeProto, shape: Shape) -> bool:
    values = _attributes(node)
    explicit = values.get("auto_pad", b"NOTSET") in (b"NOTSET", b"")
    return len(shape) == 4 and 0 not in shape and values.get("group", 1) == 1 and explicit


def _reach(node: onnx.NodeProto, shape: Shape) -> list[int]:
    """How far a kernel reaches beyond its first pixel, by axis."""
    return [d * (k - 1) for d, k in zip(_dilations(node), shape[2:], strict=True)]


def _pads(node: onnx.NodeProto) -> list[int]:
    return list(_attributes(node).get("pads", [0] * 4))


def _strides(node: onnx.NodeProto) -> set[int]:
    return set(_attributes(node).get("strides", [1]))


def _dilations(node: onnx.NodeProto) -> list[int]:
    return list(_attributes(node).get("dilations", [1, 1]))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _shape(value: onnx.ValueInfoProto) -> Shape:
    """The sizes of a tensor; 0 where a size is free."""
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
