"""StreamingDataWidthConverter: more, or fewer, integers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import call
from hls_backend.dataflow import Flavour, Folding, Layer, Port, Shape
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance
from hls_backend.resources import Resources, counter


@dataclass(frozen=True, eq=False)
class StreamingDataWidthConverter(Layer):
    """The same integers, ``lanes_in`` at once coming and ``lanes_out`` going; one is a multiple of the other.

    Attributes:
        shape, out_shape: rows, columns, channels of what comes and of what goes, of one size; as a converter may join
            a layer that makes an image to one that reads it flattened.
        type: of the integers.
        lanes_in, lanes_out: integers at once; each divides its side's channels.
        interleave: of the stream (see `Port`).
    """

    shape: Shape
    out_shape: Shape
    type: IntegerType
    lanes_in: int
    lanes_out: int
    interleave: int = 0

    op: ClassVar[str] = "StreamingDataWidthConverter"

    def __post_init__(self) -> None:
        if max(self.lanes_in, self.lanes_out) % min(self.lanes_in, self.lanes_out):
            raise ValueError(f"{self.name}: {self.lanes_in} and {self.lanes_out} lanes are no multiples")

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port(self.shape, self.type, self.lanes_in, self.interleave),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port(self.out_shape, self.type, self.lanes_out, self.interleave),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].reshape(-1, *self.out_shape),)

    @property
    def cycles(self) -> int:
        return max(self.inputs[0].transfers, self.outputs[0].transfers)

    @property
    def finn_cycles(self) -> int:
        """FINN estimates none."""
        return 0

    def foldings(self) -> list[Folding]:
        return [Folding()]

    def resources(self) -> Resources:
        """A counter and, from wide to narrow, a multiplexer: four to one in a LUT6. A shift register is flip-flops."""
        pieces = max(self.lanes_in, self.lanes_out) // min(self.lanes_in, self.lanes_out)
        chosen = self.outputs[0].width * ceil((pieces - 1) / 3) if self.lanes_in > self.lanes_out else 0
        return Resources(chosen + counter(pieces) + 2)

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        shape, out_shape = [1, *self.shape], [1, *self.out_shape]
        return {
            **({"shape": shape} if flavour == "finn-main" else {"inShape": shape, "outShape": out_shape}),
            "inWidth": self.inputs[0].width,
            "outWidth": self.outputs[0].width,
            "dataType": self.type.name,
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        come, go = self.inputs[0], self.outputs[0]
        template = (come.width, go.width, come.transfers)
        return call("StreamingDataWidthConverter_Batch", template, *inputs, *outputs, "reps")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        return Instance("width_converter", {"IN_WIDTH": self.inputs[0].width, "OUT_WIDTH": self.outputs[0].width})
