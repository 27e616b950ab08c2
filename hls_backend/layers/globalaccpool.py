"""GlobalAccPool: the sum of all pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import call, number
from hls_backend.dataflow import Flavour, Folding, Layer, Port, Shape
from hls_backend.datatypes import IntegerType, least
from hls_backend.instance import Instance, is_signed
from hls_backend.layers.common import by_pe, storage
from hls_backend.resources import Resources, buffer, counter


@dataclass(frozen=True, eq=False)
class GlobalAccPool(Layer):
    """The sum over all pixels of each channel: global average pooling, whose division goes into the scale.

    Attributes:
        shape: rows, columns, channels; ``pe`` channels pass at once.
        type: of the integers.
    """

    shape: Shape
    type: IntegerType

    op: ClassVar[str] = "GlobalAccPool"
    finn_rtl: ClassVar[bool] = False

    @property
    def output_type(self) -> IntegerType:
        """FINN's: of the sum of as many extremes as there are pixels."""
        pixels = self.shape[0] * self.shape[1]
        return least(pixels * int(self.type.min()), pixels * int(self.type.max()))

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port(self.shape, self.type, self.folding.pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port((1, 1, self.shape[2]), self.output_type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].sum(axis=(1, 2), keepdims=True, dtype=storage(self.output_type)),)

    @property
    def cycles(self) -> int:
        """Sums leave as the last pixel comes."""
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        """All pixels in, then one out."""
        return self.inputs[0].transfers + self.outputs[0].transfers

    def foldings(self) -> list[Folding]:
        return by_pe(self.shape[2])

    def resources(self) -> Resources:
        """An adder for each PE and the memory of sums."""
        folds, width = self.shape[2] // self.folding.pe, self.outputs[0].width
        return Resources(width + counter(folds) + counter(self.shape[0] * self.shape[1])) + buffer(folds, width)

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        rows, columns, channels = self.shape
        return {
            "NumChannels": channels,
            "PE": self.folding.pe,
            "inputDataType": self.type.name,
            "numInputVectors": [1, rows, columns],
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        """finn-hlslib's sums square images; for others there is one of ours."""
        rows, columns, channels = self.shape
        rest = (channels, number(self.type), self.folding.pe, number(self.output_type))
        if rows == columns:
            return call("AccPool_Batch", (rows, *rest), *inputs, *outputs, "reps")
        return call("SumPixels_Batch", (rows * columns, *rest), *inputs, *outputs, "reps")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        parameters = {
            "LANES": self.folding.pe,
            "FOLDS": self.shape[2] // self.folding.pe,
            "PIXELS": self.shape[0] * self.shape[1],
            "X_BITS": int(self.type.bitwidth()),
            "X_SIGNED": is_signed(self.type),
            "SUM_BITS": int(self.output_type.bitwidth()),
        }
        return Instance("sum_pool", parameters)
