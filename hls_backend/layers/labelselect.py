"""LabelSelect: the class with the largest value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import call, number
from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType, least, named
from hls_backend.instance import Instance, is_signed
from hls_backend.layers.common import by_pe, storage
from hls_backend.resources import Resources, counter


@dataclass(frozen=True, eq=False)
class LabelSelect(Layer):
    """The place of the largest of ``labels`` values, the first of equals.

    Attributes:
        labels: how many values; ``pe`` of them pass at once.
        type: of the values.
    """

    labels: int
    type: IntegerType

    op: ClassVar[str] = "LabelSelect"
    finn_rtl: ClassVar[bool] = False

    @property
    def output_type(self) -> IntegerType:
        """FINN's: whole bytes, since the host reads it."""
        bits = int(least(0, self.labels - 1).bitwidth())
        return named(f"UINT{-(-bits // 8) * 8}")

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port((1, 1, self.labels), self.type, self.folding.pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port((1, 1, 1), self.output_type, 1),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].argmax(axis=3).astype(storage(self.output_type))[..., None],)

    @property
    def cycles(self) -> int:
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return by_pe(self.labels)

    def resources(self) -> Resources:
        """For each PE a comparison and multiplexers for value and label."""
        bits = int(self.type.bitwidth()) * 3 // 2 + int(self.output_type.bitwidth())
        return Resources(self.folding.pe * bits + counter(self.labels))

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        return {
            "Labels": self.labels,
            "PE": self.folding.pe,
            "K": 1,
            "inputDataType": self.type.name,
            "outputDataType": self.output_type.name,
            "numInputVectors": [1, 1, 1],
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        template = (self.labels, self.folding.pe, 1, number(self.type), number(self.output_type))
        return call("LabelSelect_Batch", template, *inputs, *outputs, "reps")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        parameters = {
            "LANES": self.folding.pe,
            "FOLDS": self.labels // self.folding.pe,
            "X_BITS": int(self.type.bitwidth()),
            "X_SIGNED": is_signed(self.type),
            "OUT_BITS": int(self.output_type.bitwidth()),
        }
        return Instance("label_select", parameters)
