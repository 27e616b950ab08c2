"""A dataflow while it is being built."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx

from hls_backend.dataflow import Dataflow, End, Layer, Shape, Stream
from hls_backend.datatypes import BIPOLAR, IntegerType, least
from hls_backend.errors import LoweringError
from hls_backend.layers import MVAU, VVAU, AddStreams, ChannelwiseOp, DuplicateStreams, GlobalAccPool
from hls_backend.layers.common import EXACT
from hls_backend.lowering.wire import Numbers, Wire

MOST = 2**28
"""Integers an image on one stream: sixteen times those of 64 channels at 512 x 512 pixels."""

_DERIVED = re.compile(r"_(fifo|dwc\d*|reshape|widened)(_in|_out)?$")
"""How the names end that FIFOs, width converters and what FINN wants besides get from their stream's."""

LONGEST = 100
"""Letters of a name: files are called after it, with more before and behind."""


class Builder:
    """Collects layers and the wires between them."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}
        self._reads: dict[str, list[Wire]] = {}
        self._makes: dict[str, Wire] = {}
        self._names: set[str] = set()

    def name(self, base: str) -> str:
        """A fresh name made of ``base`` that is an identifier in C++ and Verilog too."""
        clean = identifier(base) or "layer"
        clean += "_node" * bool(_DERIVED.search(clean))
        name, number = clean, 1
        while name in self._names:
            number += 1
            name = f"{clean}_{number}"
        self._names.add(name)
        return name

    def source(self, tensor: str, shape: Shape, numbers: Numbers) -> Wire:
        """What the host sends."""
        return Wire(self.name(tensor), shape, least(*numbers.span), numbers.over(shape[2]), tensor, None)

    def add(
        self, layer: Layer, inputs: Iterable[Wire], numbers: Numbers, tensor: str = "", shape: Shape | None = None
    ) -> Wire:
        """Add a layer of one output; returns the output.

        Args:
            layer: with a fresh name.
            inputs: what it reads, by its ports.
            numbers: of its output.
            tensor: of the graph that the output stands for, if there is one.
            shape: the output's, where the layer sees another.

        Raises:
            LoweringError: when the output is larger than any hardware streams.
        """
        port = layer.outputs[0]
        if port.size > MOST:
            reason = f"it makes {port.size:,} integers an image, and {MOST:,} is the most"
            raise LoweringError(f"{layer.name!r}", reason, "give the network's input the size that it was made for")
        shape = shape or port.shape
        name = self.name(tensor or f"{layer.name}_out")
        wire = Wire(name, shape, port.type, numbers.over(shape[2]), tensor, (layer.name, 0))
        self._layers[layer.name] = layer
        self._reads[layer.name] = [wire.root for wire in inputs]
        self._makes[layer.name] = wire
        return wire

    def is_sum(self, wire: Wire) -> bool:
        """Whether a layer that adds makes ``wire``, so that a quantiser is still to come."""
        layer = self._layers[wire.maker[0]] if wire.maker else None
        return isinstance(layer, MVAU | VVAU | AddStreams | GlobalAccPool | ChannelwiseOp)

    def flip(self, wire: Wire, signs: np.ndarray, private: bool) -> Wire:
        """A wire with the integers of some channels negated: by negated weights where nothing else reads them.

        Args:
            wire: the integers.
            signs: 1 or -1 a channel.
            private: whether nothing else reads ``wire``.
        """
        numbers = wire.numbers.flipped(signs)
        layer = self._layers[wire.maker[0]] if wire.maker else None
        if private and wire.origin is None and isinstance(layer, MVAU | VVAU):
            weights = layer.weights * signs.reshape([-1] + [1] * (layer.weights.ndim - 1))
            wire.numbers, wire.type = numbers, least(*partial_sums(weights, self._reads[layer.name][0]))
            self._layers[layer.name] = replace(
                layer, weights=weights, weight_type=weight_type(weights), output_type=wire.type
            )
            return wire
        rows, columns, _ = wire.shape
        name, type = self.name(f"{wire.name}_sign"), least(*numbers.span)
        return self.add(ChannelwiseOp(name, (rows, columns), "mul", signs, wire.type, type), [wire], numbers)

    def build(self, name: str, outputs: list[Wire], host: onnx.ModelProto, host_axes: tuple[str, ...]) -> Dataflow:
        """The dataflow of all layers that ``outputs`` need, with a DuplicateStreams at each fork."""
        needed: set[str] = set()
        pending = [wire.root for wire in outputs]
        while pending:
            wire = pending.pop()
            if wire.maker and wire.maker[0] not in needed:
                needed.add(wire.maker[0])
                pending.extend(self._reads[wire.maker[0]])
        targets: dict[int, list[tuple[End | None, Wire]]] = {}
        wires: dict[int, Wire] = {}
        reads: list[tuple[End | None, Wire]] = [
            (End(layer, port), wire)
            for layer in self._layers
            if layer in needed
            for port, wire in enumerate(self._reads[layer])
        ]
        reads += [(None, wire) for wire in outputs]
        for end, wire in reads:
            targets.setdefault(id(wire.root), []).append((end, wire))
            wires[id(wire.root)] = wire.root
        layers: list[Layer] = []
        streams: list[Stream] = []

        def join(wire: Wire) -> None:
            source = End(*wire.maker) if wire.maker else None
            ends = targets[id(wire)]
            if len(ends) > 1:
                fork = DuplicateStreams(self.name(f"{wire.name}_fork"), wire.shape, wire.type, len(ends))
                layers.append(fork)
                streams.append(_stream(wire, wire.name, source, End(fork.name)))
                for number, (end, read) in enumerate(ends):
                    streams.append(_stream(read, self.name(f"{wire.name}_{number}"), End(fork.name, number), end))
            else:
                ((end, read),) = ends
                streams.append(_stream(read, wire.name, source, end))

        for wire in wires.values():
            if wire.maker is None:
                join(wire)
        for layer in self._layers:
            if layer in needed:
                layers.append(self._layers[layer])
                join(self._makes[layer])
        return Dataflow(name, tuple(layers), tuple(streams), host, host_axes)


def identifier(text: str) -> str:
    """``text`` as a name in C++ and Verilog, of no more than `LONGEST` letters; empty where none of it can stay."""
    clean = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return (clean if not clean or clean[0].isalpha() else f"n{clean}")[:LONGEST].rstrip("_")


def _stream(wire: Wire, name: str, source: End | None, target: End | None) -> Stream:
    return Stream(name, wire.shape, wire.type, source, target, 2, wire.tensor, wire.numbers.scale, wire.numbers.bias)


def weight_type(weights: np.ndarray) -> IntegerType:
    """BIPOLAR where all weights are 1 or -1, else the least signed type that holds them (FINN's RTL wants signed)."""
    if (np.abs(weights) == 1).all() and (weights < 0).any():
        return BIPOLAR
    return least(min(-1, int(weights.min())), int(weights.max()))


def partial_sums(weights: np.ndarray, x: Wire) -> tuple[int, int]:
    """Bounds of every partial sum of ``weights`` [outputs, ...] times ``x``, added in any order.

    Raises:
        LoweringError: when they are beyond the arithmetic of the layers' execution.
    """
    low, high = x.numbers.span
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    most = max(abs(int(x.type.min())), abs(int(x.type.max()))) * int(np.abs(rows).sum(axis=1).max())
    if most >= EXACT:
        reason = f"products of it with weights sum up to {float(most):.2g}, and {float(EXACT):.2g} is the most"
        raise LoweringError(f"The stream {x.name!r}", reason, "use fewer bits")
    products = np.stack([rows * low, rows * high])
    least_sum = int(products.min(axis=0).clip(max=0).sum(axis=1).min())
    return least_sum, int(products.max(axis=0).clip(min=0).sum(axis=1).max())
