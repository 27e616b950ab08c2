"""Thresholding: how many of its channel's thresholds a value reaches."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import Any, ClassVar

import numpy as np

from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType, least
from hls_backend.layers.common import by_pe, storage
from hls_backend.resources import Resources, counter, rom

_PARALLEL = 15
"""Up to so many thresholds are compared at once; more are searched by halving, a pipeline stage a bit."""


@dataclass(frozen=True, eq=False)
class Thresholding(Layer):
    """``base`` plus the number of thresholds t of the channel with ``t <= x``, for ``pe`` channels a cycle.

    Attributes:
        pixels: rows and columns.
        thresholds: int64 [channels, steps], rising along each row.
        base: the output below every threshold (FINN: ActVal).
        input_type, output_type: of x and of the result.
    """

    pixels: tuple[int, int]
    thresholds: np.ndarray
    base: int
    input_type: IntegerType
    output_type: IntegerType

    op: ClassVar[str] = "Thresholding"

    def __post_init__(self) -> None:
        if (np.diff(self.thresholds, axis=1) < 0).any():
            raise ValueError(f"{self.name}: thresholds must rise")

    @property
    def channels(self) -> int:
        return int(self.thresholds.shape[0])

    @property
    def steps(self) -> int:
        return int(self.thresholds.shape[1])

    @property
    def threshold_type(self) -> IntegerType:
        """The least type for thresholds and inputs, which are compared."""
        low = min(int(self.thresholds.min()), int(self.input_type.min()))
        return least(low, max(int(self.thresholds.max()), int(self.input_type.max())))

    @property
    def is_uniform(self) -> bool:
        """Whether all channels have the same thresholds."""
        return bool((self.thresholds == self.thresholds[:1]).all())

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.channels), self.input_type, self.folding.pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.channels), self.output_type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        reached = np.zeros(x.shape, storage(self.output_type))
        if self.steps <= _PARALLEL:
            reached += self.base
            for thresholds in self.thresholds.T:
                reached += x >= thresholds
        else:
            for channel, thresholds in enumerate(self.thresholds):
                count = np.searchsorted(thresholds, x[..., channel], side="right")
                reached[..., channel] = count + self.base
        return (reached,)

    @property
    def cycles(self) -> int:
        """Channels by PE, for each pixel."""
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return by_pe(self.channels)

    def resources(self) -> Resources:
        """For each PE a comparison of n bits (n / 2 LUTs on the carry chain) with each threshold and their sum, or
        one comparison and one memory for each stage of the search."""
        pe, bits = self.folding.pe, int(self.threshold_type.bitwidth())
        folds = 1 if self.is_uniform else self.channels // pe
        compare = ceil(bits / 2)
        if self.steps <= _PARALLEL:
            total = Resources(pe * self.steps * (compare + 1)) + rom(folds, pe * self.steps * bits)
        else:
            total = Resources()
            for stage in range(ceil(log2(self.steps + 1))):
                total += Resources(pe * (compare + 2)) + rom(folds * 2**stage, pe * bits)
        return total + Resources(counter(self.channels // pe))

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        vectors = [1] if self.pixels == (1, 1) else [1, *self.pixels]
        return {
            "PE": self.folding.pe,
            "NumChannels": self.channels,
            "numSteps": self.steps,
            "inputDataType": self.input_type.name,
            "weightDataType": self.threshold_type.name,
            "outputDataType": self.output_type.name,
            "numInputVectors": vectors,
            "ActVal": self.base,
        }

    def finn_parameters(self) -> dict[str, tuple[np.ndarray, IntegerType]]:
        return {"thresholds": (self.thresholds.astype(np.float32), self.threshold_type)}
