"""AddStreams: a join."""

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
from hls_backend.resources import Resources


@dataclass(frozen=True, eq=False)
class AddStreams(Layer):
    """The sum of two streams, element by element; FINN+ calls it ElementwiseAdd.

    FINN's AddStreams wants both inputs of one type; where they differ, an emitter for it has to widen one of them.

    Attributes:
        shape: rows, columns, channels; ``pe`` channels pass at once.
        types: of the two inputs.
    """

    shape: Shape
    types: tuple[IntegerType, IntegerType]

    op: ClassVar[str] = "ElementwiseAdd"
    finn_rtl: ClassVar[bool] = False

    @property
    def output_type(self) -> IntegerType:
        """The least type that holds every sum."""
        a, b = self.types
        return least(int(a.min() + b.min()), int(a.max() + b.max()))

    @property
    def inputs(self) -> tuple[Port, ...]:
        return tuple(Port(self.shape, type, self.folding.pe) for type in self.types)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port(self.shape, self.output_type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        a, b = arrays
        return (np.add(a, b.reshape(a.shape), dtype=storage(self.output_type), casting="unsafe"),)

    @property
    def cycles(self) -> int:
        return self.outputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return by_pe(self.shape[2])

    def resources(self) -> Resources:
        """An adder for each PE, and the handshake."""
        return Resources(self.outputs[0].width + 4)

    def finn_op(self, flavour: Flavour) -> str:
        return "AddStreams" if flavour == "finn-main" else self.op

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        rows, columns, channels = self.shape
        if flavour == "finn-main":
            return {
                "NumChannels": channels,
                "PE": self.folding.pe,
                "inputDataType": self.types[0].name,
                "numInputVectors": [1, rows, columns],
                "inFIFODepths": [2, 2],
            }
        shape = [1, *self.shape]
        return {
            "lhs_shape": shape,
            "rhs_shape": shape,
            "out_shape": shape,
            "lhs_dtype": self.types[0].name,
            "rhs_dtype": self.types[1].name,
            "out_dtype": self.output_type.name,
            "lhs_style": "input",
            "rhs_style": "input",
            "PE": self.folding.pe,
            "inFIFODepths": [2, 2],
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        types = (*map(number, self.types), number(self.output_type))
        template = (self.folding.pe, *types, self.outputs[0].transfers)
        return call("AddStreams_Batch", template, *inputs, *outputs, "reps")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        a, b = self.types
        parameters = {
            "LANES": self.folding.pe,
            "A_BITS": int(a.bitwidth()),
            "A_SIGNED": is_signed(a),
            "B_BITS": int(b.bitwidth()),
            "B_SIGNED": is_signed(b),
            "OUT_BITS": int(self.output_type.bitwidth()),
        }
        return Instance("add_streams", parameters, inputs=("a", "b"))
