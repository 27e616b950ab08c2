"""Pool: the largest value of each channel's window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import call, number, sliced
from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance, is_signed
from hls_backend.layers.common import by_pe
from hls_backend.resources import Resources, counter


@dataclass(frozen=True, eq=False)
class Pool(Layer):
    """Max pooling of windows that a depthwise ConvolutionInputGenerator makes; any kernel, any stride.

    (FINN's StreamingMaxPool, for kernels equal to their stride alone, is not in FINN+; this one is in both.)

    Attributes:
        pixels: rows and columns of the output.
        channels: ``pe`` of them are worked on at once, one kernel position a cycle.
        kernel: rows, columns.
        type: of the integers.
    """

    pixels: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    type: IntegerType

    op: ClassVar[str] = "Pool"
    finn_rtl: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[Port, ...]:
        size = self.kernel[0] * self.kernel[1] * self.channels
        return (Port((*self.pixels, size), self.type, self.folding.pe, interleave=self.folding.pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.channels), self.type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].reshape(-1, *self.pixels, self.kernel[0] * self.kernel[1], self.channels).max(axis=3),)

    @property
    def cycles(self) -> int:
        """Kernel positions times channels by PE, for each pixel."""
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return by_pe(self.channels)

    def resources(self) -> Resources:
        """A comparison and a multiplexer for each PE."""
        return Resources(self.outputs[0].width * 3 // 2 + counter(self.kernel[0] * self.kernel[1]) + 4)

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        return {
            "Channels": self.channels,
            "PE": self.folding.pe,
            "KernelSize": list(self.kernel),
            "Function": "MaxPool",
            "OutImgDims": list(self.pixels),
            "InputDataType": self.type.name,
            "OutputDataType": self.type.name,
            "BatchSize": 1,
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        size = self.kernel[0] * self.kernel[1]
        template = (self.channels, self.folding.pe, size, sliced(self.type), sliced(self.type))
        function = f"MaxPoolFunction<{number(self.type)}, {size}>()"
        return call("Pool_batch", template, *inputs, *outputs, function, f"reps * {self.pixels[0] * self.pixels[1]}")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        parameters = {
            "LANES": self.folding.pe,
            "WINDOW": self.kernel[0] * self.kernel[1],
            "X_BITS": int(self.type.bitwidth()),
            "X_SIGNED": is_signed(self.type),
        }
        return Instance("max_pool", parameters)
