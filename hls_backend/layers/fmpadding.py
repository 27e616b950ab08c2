"""FMPadding: zeros around an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import call, number
from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance
from hls_backend.layers.common import by_simd
from hls_backend.resources import Resources, counter


@dataclass(frozen=True, eq=False)
class FMPadding(Layer):
    """Puts ``pads`` rows and columns of zeros around each image.

    Attributes:
        image: rows and columns before padding.
        channels: of the image; ``simd`` of them pass at once.
        type: must hold 0.
        pads: top, left, bottom, right.
    """

    image: tuple[int, int]
    channels: int
    type: IntegerType
    pads: tuple[int, int, int, int]

    op: ClassVar[str] = "FMPadding"

    def __post_init__(self) -> None:
        if not self.type.allowed(0):
            raise ValueError(f"{self.name}: {self.type.name} cannot be padded with zeros")

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port((*self.image, self.channels), self.type, self.folding.simd),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        top, left, bottom, right = self.pads
        rows, columns = self.image
        shape = (top + rows + bottom, left + columns + right, self.channels)
        return (Port(shape, self.type, self.folding.simd),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        top, left, bottom, right = self.pads
        return (np.pad(arrays[0], ((0, 0), (top, bottom), (left, right), (0, 0))),)

    @property
    def cycles(self) -> int:
        """Padded pixels times channels by SIMD."""
        return self.outputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return by_simd(self.channels)

    def resources(self) -> Resources:
        """Two counters for the place in the image and one for channels, and a multiplexer a bit."""
        rows, columns, _ = self.outputs[0].shape
        folds = self.channels // self.folding.simd
        return Resources(counter(rows) + counter(columns) + counter(folds) + self.outputs[0].width // 2 + 4)

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        return {
            "ImgDim": list(self.image),
            "Padding": list(self.pads),
            "NumChannels": self.channels,
            "SIMD": self.folding.simd,
            "inputDataType": self.type.name,
            "numInputVectors": 1,
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        top, left, bottom, right = self.pads
        rows, columns, _ = self.outputs[0].shape
        rest = (self.channels, self.folding.simd, number(self.type))
        streams = (*inputs, *outputs, "reps")
        if rows == columns and (top, bottom) == (left, right):
            return call("FMPadding_Batch", (self.image[0], rows, top, bottom, *rest), *streams)
        return call("FMPadding_nonsquare_Batch", (columns, rows, left, right, top, bottom, *rest), *streams)

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        top, left, bottom, right = self.pads
        parameters = {
            "WIDTH": self.inputs[0].width,
            "FOLDS": self.channels // self.folding.simd,
            "ROWS": self.image[0],
            "COLUMNS": self.image[1],
            "TOP": top,
            "LEFT": left,
            "BOTTOM": bottom,
            "RIGHT": right,
        }
        return Instance("padding", parameters)
