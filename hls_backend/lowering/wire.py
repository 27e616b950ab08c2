"""What a tensor of the graph is in hardware: integers on a stream, and what is still to be done to them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hls_backend.dataflow import Shape
from hls_backend.datatypes import IntegerType
from hls_backend.layout import Layout
from hls_backend.piece import Piece


@dataclass(frozen=True, eq=False)
class Numbers:
    """Which integers occur and what they stand for, channel by channel.

    Attributes:
        low, high: int64, what occurs.
        scale, bias: float64: the value of an integer q is ``scale * q + bias``.
    """

    low: np.ndarray
    high: np.ndarray
    scale: np.ndarray
    bias: np.ndarray

    def over(self, channels: int) -> Numbers:
        """As so many channels, where one stands for all."""
        low, high, scale, bias = (np.broadcast_to(v, channels) for v in (self.low, self.high, self.scale, self.bias))
        return Numbers(low, high, scale, bias)

    def tiled(self, times: int) -> Numbers:
        """All channels so many times in turn."""
        return Numbers(*(np.tile(v, times) for v in (self.low, self.high, self.scale, self.bias)))

    def with_zero(self) -> Numbers:
        """Where 0 occurs as well."""
        return replace(self, low=np.minimum(self.low, 0), high=np.maximum(self.high, 0))

    def flipped(self, signs: np.ndarray) -> Numbers:
        """The negated integers where ``signs`` is -1, standing for the same values."""
        low, high = (np.where(signs < 0, -b, a) for a, b in ((self.low, self.high), (self.high, self.low)))
        return Numbers(low, high, self.scale * signs, self.bias)

    @property
    def span(self) -> tuple[int, int]:
        """The least and the greatest integer on any channel."""
        return int(self.low.min()), int(self.high.max())


@dataclass(eq=False)
class Wire:
    """Integers that one layer makes, or that the host sends.

    Attributes:
        name: of the stream.
        shape: of the image that it carries.
        type: of the integers.
        numbers: which integers occur and what they stand for.
        tensor: of the graph that has these values; empty where none has.
        maker: the layer's name and the place of its output; None for the host.
        origin: the wire whose integers these are, read with another scale; None for a wire of its own.
    """

    name: str
    shape: Shape
    type: IntegerType
    numbers: Numbers
    tensor: str
    maker: tuple[str, int] | None
    origin: Wire | None = None

    @property
    def root(self) -> Wire:
        """The wire that there is in hardware."""
        return self.origin.root if self.origin else self

    @property
    def channels(self) -> int:
        return self.shape[2]

    def read_as(self, tensor: str, scale: np.ndarray, bias: np.ndarray) -> Wire:
        """The same integers standing for the values of another tensor."""
        return replace(self, tensor=tensor, numbers=replace(self.numbers, scale=scale, bias=bias), origin=self)

    def flattened(self) -> Wire:
        """The same stream as one pixel of many channels."""
        pixels = self.shape[0] * self.shape[1]
        return replace(self, shape=(1, 1, pixels * self.channels), numbers=self.numbers.tiled(pixels), origin=self)


@dataclass(frozen=True)
class MaxPooling:
    """A max pooling that can as well be done after the next quantiser, on fewer bits.

    Attributes:
        label: the node, in a sentence.
        name: for layers.
        kernel, strides: rows, columns.
        pads: top, left, bottom, right.
    """

    label: str
    name: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


Step = Piece | MaxPooling


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph: a wire, and the steps from the wire to the tensor that no layer does yet.

    Attributes:
        wire: the integers.
        tensor: the tensor's name.
        layout: of the tensor's axes.
        shape: rows, columns, channels after the steps.
        steps: pieces of the graph and max poolings, in order.
        private: whether nothing else reads the wire.
    """

    wire: Wire
    tensor: str
    layout: Layout
    shape: Shape
    steps: tuple[Step, ...] = ()
    private: bool = True

    @property
    def channels(self) -> int:
        return self.wire.channels

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(step for step in self.steps if isinstance(step, Piece))

    @property
    def poolings(self) -> tuple[MaxPooling, ...]:
        return tuple(step for step in self.steps if isinstance(step, MaxPooling))

    def evaluate(self, integers: np.ndarray) -> np.ndarray:
        """The values of ``integers`` [n, channels] on the wire after all pieces, in float64."""
        values = self.wire.numbers.scale * integers + self.wire.numbers.bias
        for piece in self.pieces:
            values = piece.evaluate(values)
        return values

    def direction(self, after_poolings: bool = False) -> np.ndarray | None:
        """1, -1 or 0 a channel where the value rises, falls or stays with the integer; None where not known.

        Args:
            after_poolings: only the pieces after the last pooling.
        """
        steps: tuple[Step, ...] = self.steps
        if after_poolings:
            last = max((i for i, step in enumerate(steps) if isinstance(step, MaxPooling)), default=-1)
            total, steps = np.ones(self.channels, int), steps[last + 1 :]
        else:
            total = np.sign(self.wire.numbers.scale).astype(int)
        for step in steps:
            if isinstance(step, Piece):
                own = step.direction(self.channels)
                if own is None:
                    return None
                total = total * own
        return total

    def affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale and bias a channel of the value by the integer, leaving poolings aside; None where it is not affine."""
        scale, bias = self.wire.numbers.scale, self.wire.numbers.bias
        for piece in self.pieces:
            own = piece.affine(self.channels)
            if own is None:
                return None
            scale, bias = scale * own[0], bias * own[0] + own[1]
        return scale, bias

    def renamed(self, tensor: str, layout: Layout | None = None) -> Value:
        """The same value as another tensor."""
        return replace(self, tensor=tensor, layout=layout or self.layout)
