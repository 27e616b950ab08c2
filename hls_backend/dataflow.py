"""Layers joined by streams: the integer network that hardware runs.

A `Layer` is one FINN layer with its weights and its folding; a `Stream` joins one layer's output to one layer's input;
a `Dataflow` is both, in topological order. All three are immutable: folding gives a new dataflow.

Streams carry integers pixel by pixel, row by row, all channels of a pixel one after another. A stream is a sequence:
its producer and its consumer may see it in different shapes of the same size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import onnx
from onnx import helper

from hls_backend.cpp import Memory
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance
from hls_backend.resources import Resources

Shape = tuple[int, int, int]
"""Rows, columns, channels."""

Flavour = Literal["finn-plus", "finn-main"]
"""Which FINN a node is for; they call some layers differently."""

Style = Literal["hls", "rtl"]
"""What FINN generates for a node: C++ for Vitis HLS, or Verilog."""

FINN_DOMAIN = "finn.custom_op.fpgadataflow"


@dataclass(frozen=True)
class Folding:
    """How parallel a layer is: ``pe`` outputs and ``simd`` inputs (or products an output) a cycle."""

    pe: int = 1
    simd: int = 1


@dataclass(frozen=True)
class Port:
    """One end of a layer.

    Attributes:
        shape: as the layer sees one image.
        type: of the integers.
        lanes: how many integers pass at once; divides the channels, or all elements of a pixel and its window.
        interleave: 0, or for the windows of a depthwise layer: the stream brings so many channels for each kernel
            position in turn, then the next so many channels. Both ends of a stream must have the same.
    """

    shape: Shape
    type: IntegerType
    lanes: int
    interleave: int = 0

    @property
    def size(self) -> int:
        """Integers an image."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Bits that pass at once."""
        return self.lanes * int(self.type.bitwidth())

    @property
    def transfers(self) -> int:
        """Transfers an image."""
        return self.size // self.lanes


@dataclass(frozen=True, eq=False)
class Layer(ABC):
    """One FINN layer.

    Subclasses are frozen dataclasses, one a file; their fields are geometry, types, weights.

    Attributes:
        name: unique in its dataflow.
        folding: one of `foldings`; ``Folding()`` is always legal.
    """

    name: str
    folding: Folding = field(default=Folding(), kw_only=True)

    op: ClassVar[str]
    """What FINN+ calls this layer."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[Port, ...]:
        """The ports that data come in by."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Port, ...]:
        """The ports that data go out by."""

    @abstractmethod
    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The layer's function.

        Args:
            arrays: one an input, integers [N, rows, columns, channels] in the shape of the layer's port.

        Returns:
            One array an output, likewise.
        """

    @property
    @abstractmethod
    def cycles(self) -> int:
        """Cycles an image that the RTL needs at this folding, never stalled."""

    @property
    @abstractmethod
    def finn_cycles(self) -> int:
        """Cycles an image that FINN's own estimate gives at this folding."""

    @abstractmethod
    def foldings(self) -> list[Folding]:
        """The legal foldings."""

    @abstractmethod
    def resources(self) -> Resources:
        """The estimated cost at this folding."""

    def fold(self, folding: Folding) -> Self:
        """The same layer at another folding.

        Raises:
            ValueError: when the folding is not legal.
        """
        if folding not in self.foldings():
            raise ValueError(f"{self.name} cannot be folded by {folding}")
        return replace(self, folding=folding)

    def feeding(self, target: Port) -> Self:
        """The same layer, folded as its consumer's port needs it; only a depthwise window has to follow."""
        return self

    # -- FINN ------------------------------------------------------------------------------------------------

    def finn_op(self, flavour: Flavour) -> str:
        """The operator's name in FINN."""
        return self.op

    finn_rtl: ClassVar[bool] = True
    """Whether FINN has Verilog for this layer; it has C++ for those for which it has none."""

    def finn_style(self, device: str) -> Style:
        """What FINN generates for the node on ``device``, if left to itself."""
        return "rtl" if self.finn_rtl else "hls"

    @abstractmethod
    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        """The node's attributes in FINN."""

    def finn_parameters(self, flavour: Flavour) -> dict[str, tuple[np.ndarray, IntegerType]]:
        """The node's constant inputs in order, by what they are: values as FINN wants them, and their type."""
        return {}

    def finn_node(self, inputs: Iterable[str], outputs: Iterable[str], flavour: Flavour = "finn-plus") -> Any:
        """The hardware-layer node; ``inputs`` are the names of data inputs, then of `finn_parameters`."""
        return helper.make_node(
            self.finn_op(flavour),
            list(inputs),
            list(outputs),
            name=self.name,
            domain=FINN_DOMAIN,
            backend="fpgadataflow",
            **self.finn_attributes(flavour),
        )

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_memories(self) -> list[Memory]:
        """The constants that the layer's template needs, at this folding."""
        return []

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        """The call of the layer's template in C++; ``reps`` is the number of images.

        Args:
            inputs, outputs: the names of its streams, by its ports.
            memories: the names of its constants, as `hls_memories` has them.

        Raises:
            NotImplementedError: for a layer that another backend alone has.
        """
        raise NotImplementedError(f"there is no template for {self.op}")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        """The module that is this layer in hardware."""
        raise NotImplementedError(f"{self.op} is in no RTL of ours")


@dataclass(frozen=True)
class End:
    """A port of a layer, by the layer's name and the port's place."""

    layer: str
    port: int = 0


@dataclass(frozen=True, eq=False)
class Stream:
    """What joins an output of one layer to an input of one layer.

    Attributes:
        name: unique in its dataflow.
        shape: as the producer sees it.
        type: of its integers.
        source: where it comes from; None for the dataflow's input.
        target: where it goes; None for the dataflow's output.
        depth: transfers that it can hold.
        tensor: the tensor of the quantised graph whose values these integers stand for, if there is one.
        scale, bias: the tensor's values are ``scale * integer + bias``; float64, one a channel.
    """

    name: str
    shape: Shape
    type: IntegerType
    source: End | None
    target: End | None
    depth: int = 2
    tensor: str = ""
    scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(1))


@dataclass(frozen=True, eq=False)
class Dataflow:
    """Layers joined by streams.

    Attributes:
        name: of the network.
        layers: in topological order.
        streams: one for each port of each layer; those without a source are inputs, without a target outputs.
        host: what the host computes before the first layer, as an ONNX graph whose last node is the quantiser that
            makes the input stream's integers; None where images come as integers.
        host_axes: what the axes of that graph's result are, e.g. ``("N", "C", "H", "W")``.

    Raises:
        ValueError: when ports are left open or joined twice, types, sizes or interleaving of a stream's ends differ,
            names are not unique, or the layers are not in topological order.
    """

    name: str
    layers: tuple[Layer, ...]
    streams: tuple[Stream, ...]
    host: onnx.ModelProto | None = None
    host_axes: tuple[str, ...] = ("N", "C", "H", "W")

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _by_source(self) -> dict[End, Stream]:
        return {s.source: s for s in self.streams if s.source is not None}

    @cached_property
    def _by_target(self) -> dict[End, Stream]:
        return {s.target: s for s in self.streams if s.target is not None}

    @property
    def inputs(self) -> tuple[Stream, ...]:
        """The streams from the host."""
        return tuple(s for s in self.streams if s.source is None)

    @property
    def outputs(self) -> tuple[Stream, ...]:
        """The streams to the host."""
        return tuple(s for s in self.streams if s.target is None)

    def layer(self, name: str) -> Layer:
        return self._layers[name]

    def inputs_of(self, layer: Layer) -> tuple[Stream, ...]:
        """The streams into ``layer``, by its ports."""
        return tuple(self._by_target[End(layer.name, i)] for i in range(len(layer.inputs)))

    def outputs_of(self, layer: Layer) -> tuple[Stream, ...]:
        """The streams out of ``layer``, by its ports."""
        return tuple(self._by_source[End(layer.name, i)] for i in range(len(layer.outputs)))

    def source_port(self, stream: Stream) -> Port | None:
        """The port that ``stream`` comes from; None for the dataflow's input."""
        return self._layers[stream.source.layer].outputs[stream.source.port] if stream.source else None

    def target_port(self, stream: Stream) -> Port | None:
        """The port that ``stream`` goes to; None for the dataflow's output."""
        return self._layers[stream.target.layer].inputs[stream.target.port] if stream.target else None

    def width(self, stream: Stream) -> int:
        """Bits that ``stream`` passes at once (its producer's, where a width converter is still to come)."""
        port = self.source_port(stream) or self.target_port(stream)
        return port.width if port else math.prod(stream.shape) * int(stream.type.bitwidth())

    def fold(self, foldings: Mapping[str, Folding]) -> Dataflow:
        """The same dataflow with the layers named in ``foldings`` folded so; depthwise windows follow their readers.

        Raises:
            ValueError: when a folding is not legal.
        """
        folded = {n.name: n.fold(foldings[n.name]) if n.name in foldings else n for n in self.layers}
        for stream in self.streams:
            if stream.source and stream.target and stream.source.layer not in foldings:
                port = folded[stream.target.layer].inputs[stream.target.port]
                folded[stream.source.layer] = folded[stream.source.layer].feeding(port)
        return replace(self, layers=tuple(folded[n.name] for n in self.layers))

    @property
    def cycles(self) -> int:
        """Cycles from one image to the next: those of the slowest layer."""
        return max(layer.cycles for layer in self.layers)


def _check(dataflow: Dataflow) -> None:
    names = [n.name for n in dataflow.layers], [s.name for s in dataflow.streams]
    for kind, found in zip(("layers", "streams"), names, strict=True):
        twice = {n for n in found if found.count(n) > 1} if len(set(found)) < len(found) else set()
        if twice:
            raise ValueError(f"two {kind} are called {min(twice)!r}")
    position = {layer.name: i for i, layer in enumerate(dataflow.layers)}
    sources = [s.source for s in dataflow.streams if s.source]
    targets = [s.target for s in dataflow.streams if s.target]
    for ends, ports in ((sources, "outputs"), (targets, "inputs")):
        wanted = {End(n.name, i) for n in dataflow.layers for i in range(len(getattr(n, ports)))}
        if set(ends) != wanted or len(ends) != len(wanted):
            odd = sorted(map(str, set(ends) ^ wanted)) or sorted({str(e) for e in ends if ends.count(e) > 1})
            raise ValueError(f"{ports} that are not joined by exactly one stream: {odd}")
    for stream in dataflow.streams:
        if stream.source and stream.target and position[stream.source.layer] >= position[stream.target.layer]:
            raise ValueError(f"{stream.source.layer!r} comes after {stream.target.layer!r}, which reads it")
        ends_of = [p for p in (dataflow.source_port(stream), dataflow.target_port(stream)) if p is not None]
        for port in ends_of:
            if port.size != math.prod(stream.shape) or port.type != stream.type:
                raise ValueError(
                    f"stream {stream.name!r} is {stream.type.name} {stream.shape} and one of its ends "
                    f"{port.type.name} {port.shape}"
                )
        if len(ends_of) == 2 and ends_of[0].interleave != ends_of[1].interleave:
            raise ValueError(
                f"stream {stream.name!r} brings {ends_of[0].interleave} channels in turn and its consumer wants "
                f"{ends_of[1].interleave}"
            )
