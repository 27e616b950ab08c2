"""StreamingFIFO: room for a stream to wait in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.dataflow import Flavour, Folding, Layer, Port, Shape
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance
from hls_backend.resources import Resources, buffer, counter, in_block


@dataclass(frozen=True, eq=False)
class StreamingFIFO(Layer):
    """The same integers, up to ``depth`` transfers later.

    Attributes:
        shape: rows, columns, channels.
        type: of the integers.
        lanes: integers at once.
        depth: transfers that it can hold.
        interleave: of the stream (see `Port`).
    """

    shape: Shape
    type: IntegerType
    lanes: int
    depth: int
    interleave: int = 0

    op: ClassVar[str] = "StreamingFIFO"

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port(self.shape, self.type, self.lanes, self.interleave),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self.inputs

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return arrays

    @property
    def cycles(self) -> int:
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        """FINN estimates none."""
        return 0

    def foldings(self) -> list[Folding]:
        return [Folding()]

    def resources(self) -> Resources:
        """The memory, and read and write addresses."""
        return buffer(self.depth, self.inputs[0].width) + Resources(2 * counter(self.depth) + 4)

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        rows, columns, channels = self.shape
        return {
            "depth": self.depth,
            "folded_shape": [1, rows, columns, channels // self.lanes, self.lanes],
            "normal_shape": [1, *self.shape],
            "dataType": self.type.name,
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        """No call: the streams on both sides are one, and this is its depth."""
        return ""

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        width = self.inputs[0].width
        parameters = {"WIDTH": width, "DEPTH": self.depth, "BLOCK": int(in_block(self.depth, width))}
        return Instance("stream_fifo", parameters, registers_ready=True)
