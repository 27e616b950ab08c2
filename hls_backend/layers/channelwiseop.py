"""ChannelwiseOp: an integer constant for each channel, added or multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from hls_backend.cpp import Memory, call, number, sliced
from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType, least
from hls_backend.instance import Instance, is_signed, signed_bits, words
from hls_backend.layers.common import by_pe, storage
from hls_backend.resources import Resources, counter, in_block, product, rom


@dataclass(frozen=True, eq=False)
class ChannelwiseOp(Layer):
    """``x + parameter`` or ``x * parameter``, for ``pe`` channels a cycle: the classifier's bias, a change of sign.

    FINN+ has no layer of this name any more: there it is an ElementwiseAdd or ElementwiseMul with a constant.

    Attributes:
        pixels: rows and columns.
        function: which of the two.
        parameters: int64, one a channel.
        input_type, output_type: of x and of the result.
    """

    pixels: tuple[int, int]
    function: Literal["add", "mul"]
    parameters: np.ndarray
    input_type: IntegerType
    output_type: IntegerType

    op: ClassVar[str] = "ChannelwiseOp"
    finn_rtl: ClassVar[bool] = False

    @property
    def channels(self) -> int:
        return len(self.parameters)

    @property
    def parameter_type(self) -> IntegerType:
        return least(int(self.parameters.min()), int(self.parameters.max()))

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.channels), self.input_type, self.folding.pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.channels), self.output_type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0].astype(np.int64)
        result = x + self.parameters if self.function == "add" else x * self.parameters
        return (result.astype(storage(self.output_type)),)

    @property
    def cycles(self) -> int:
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return by_pe(self.channels)

    def resources(self) -> Resources:
        """An adder or a multiplier for each PE, and the parameters' memory."""
        pe, bits = self.folding.pe, int(self.parameter_type.bitwidth())
        x = int(self.input_type.bitwidth())
        each = int(self.output_type.bitwidth()) if self.function == "add" else product(bits, x)
        folds = self.channels // pe
        return Resources(pe * each + counter(folds)) + rom(folds, pe * bits)

    def finn_op(self, flavour: Flavour) -> str:
        return self.op if flavour == "finn-main" else f"Elementwise{self.function.capitalize()}"

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        shape = [1, *self.pixels, self.channels]
        if flavour == "finn-plus":
            return {
                "lhs_shape": shape,
                "rhs_shape": [self.channels],
                "out_shape": shape,
                "lhs_dtype": self.input_type.name,
                "rhs_dtype": self.parameter_type.name,
                "out_dtype": self.output_type.name,
                "lhs_style": "input",
                "rhs_style": "const",
                "PE": self.folding.pe,
            }
        return {
            "Func": self.function,
            "PE": self.folding.pe,
            "NumChannels": self.channels,
            "inputDataType": self.input_type.name,
            "paramDataType": self.parameter_type.name,
            "outputDataType": self.output_type.name,
            "numInputVectors": shape[:-1],
        }

    def finn_parameters(self, flavour: Flavour) -> dict[str, tuple[np.ndarray, IntegerType]]:
        return {"parameters": (self.parameters.astype(np.float32), self.parameter_type)}

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_memories(self) -> list[Memory]:
        """Constants by PE and channel fold."""
        pe, folds = self.folding.pe, self.channels // self.folding.pe
        words = self.parameters.reshape(folds, pe).T.astype(object)
        x, parameter, result = map(number, (self.input_type, self.parameter_type, self.output_type))
        function = f"comp::{self.function}<{parameter}, {x}, {result}>"
        name = f"ChannelWiseOperation<{folds}, {pe}, {x}, {parameter}, {result}, {function}>"
        return [Memory("parameters", name, "parameters", words, int(self.parameter_type.bitwidth()), (1,))]

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        template = (
            self.pixels[0] * self.pixels[1], self.channels, self.folding.pe,
            sliced(self.input_type), sliced(self.output_type),
        )  # fmt: skip
        return call("Thresholding_Batch", template, *inputs, *outputs, *memories, "reps")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        pe, folds = self.folding.pe, self.channels // self.folding.pe
        bits = signed_bits(int(self.parameters.min()), int(self.parameters.max()))
        parameters = {
            "LANES": pe,
            "FOLDS": folds,
            "MULTIPLY": int(self.function == "mul"),
            "X_BITS": int(self.input_type.bitwidth()),
            "X_SIGNED": is_signed(self.input_type),
            "C_BITS": bits,
            "OUT_BITS": int(self.output_type.bitwidth()),
            "BLOCK": int(in_block(folds, pe * bits)),
        }
        memory = words(self.parameters.reshape(folds, pe), bits)
        return Instance("channelwise", parameters, "CONSTANTS", {".mem": memory})
