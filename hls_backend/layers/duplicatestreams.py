"""DuplicateStreams: a fork."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import call
from hls_backend.dataflow import Flavour, Folding, Layer, Port, Shape
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance
from hls_backend.layers.common import by_pe
from hls_backend.resources import Resources


@dataclass(frozen=True, eq=False)
class DuplicateStreams(Layer):
    """``copies`` streams like the one that comes in.

    Attributes:
        shape: rows, columns, channels; ``pe`` channels pass at once.
        type: of the integers.
        copies: at least two.
    """

    shape: Shape
    type: IntegerType
    copies: int = 2

    op: ClassVar[str] = "DuplicateStreams"
    finn_rtl: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port(self.shape, self.type, self.folding.pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self.inputs * self.copies

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return arrays * self.copies

    @property
    def cycles(self) -> int:
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return by_pe(self.shape[2])

    def resources(self) -> Resources:
        """Handshakes: each output remembers whether it has taken the word."""
        return Resources(3 * self.copies)

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        rows, columns, channels = self.shape
        return {
            "NumChannels": channels,
            "PE": self.folding.pe,
            "NumOutputStreams": self.copies,
            "inputDataType": self.type.name,
            "numInputVectors": [1, rows, columns],
            "outFIFODepths": [2] * self.copies,
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        port = self.inputs[0]
        if self.copies == 2:
            return call("DuplicateStreams_Batch", (port.width, port.transfers), *inputs, *outputs, "reps")
        return call("DuplicateToAll_Batch", (port.width, port.transfers), *inputs, "reps", *outputs)

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        return Instance("fork_stream", {"WIDTH": self.inputs[0].width, "COPIES": self.copies})
