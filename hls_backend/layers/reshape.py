"""Reshape: the same stream, seen in another shape; wires and nothing else. FINN+ alone has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.dataflow import Flavour, Folding, Layer, Port, Shape
from hls_backend.datatypes import IntegerType
from hls_backend.layers.common import divisors
from hls_backend.resources import Resources


@dataclass(frozen=True, eq=False)
class Reshape(Layer):
    """The same integers as another image, for FINN+, whose tensors have one shape at both ends.

    A stream of ours needs none: its ends may see it in different shapes.

    Attributes:
        shape, out_shape: rows, columns, channels, of one size; ``pe`` channels pass at once.
        type: of the integers.
    """

    shape: Shape
    out_shape: Shape
    type: IntegerType

    op: ClassVar[str] = "Reshape"

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port(self.shape, self.type, self.folding.pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port(self.out_shape, self.type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].reshape(-1, *self.out_shape),)

    @property
    def cycles(self) -> int:
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return [Folding(pe=d) for d in divisors(self.shape[2]) if self.out_shape[2] % d == 0]

    def resources(self) -> Resources:
        return Resources()

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        return {
            "inp_shape": [1, *self.shape],
            "out_shape": [1, *self.out_shape],
            "dtype": self.type.name,
            "PE": self.folding.pe,
        }
