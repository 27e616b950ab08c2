"""VVAU: a kernel of its own for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import Memory, call, number, sliced
from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance, product_parameters, words
from hls_backend.layers.common import divisors, exact_float, storage, weight_memory, weight_reader
from hls_backend.resources import Resources, adder_tree, counter, in_block, product, rom


@dataclass(frozen=True, eq=False)
class VVAU(Layer):
    """The depthwise convolution of each pixel's window: channel c of the output is ``weights[c] . window[:, :, c]``.

    ``pe`` channels times ``simd`` kernel positions a cycle.

    Attributes:
        pixels: rows and columns of the output.
        weights: int [channels, kernel rows, kernel columns].
        weight_type: of the weights.
        input_type: of the window.
        output_type: of the accumulators: none of them, nor a partial sum, can leave it.
    """

    pixels: tuple[int, int]
    weights: np.ndarray
    weight_type: IntegerType
    input_type: IntegerType
    output_type: IntegerType

    op: ClassVar[str] = "VVAU"
    finn_rtl: ClassVar[bool] = False  # but on Versal

    @property
    def channels(self) -> int:
        return int(self.weights.shape[0])

    @property
    def kernel_size(self) -> int:
        return int(self.weights[0].size)

    @property
    def inputs(self) -> tuple[Port, ...]:
        pe, simd = self.folding.pe, self.folding.simd
        return (Port((*self.pixels, self.kernel_size * self.channels), self.input_type, pe * simd, interleave=pe),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.channels), self.output_type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        kernels = self.weights.reshape(self.channels, -1)
        largest = max(abs(int(self.input_type.min())), abs(int(self.input_type.max())))
        number = exact_float(largest * int(np.abs(kernels).sum(axis=1, dtype=np.int64).max()))
        windows = arrays[0].reshape(-1, *self.pixels, self.kernel_size, self.channels).astype(number)
        sums = np.einsum("nhwkc,ck->nhwc", windows, kernels.astype(number))
        return (sums.astype(storage(self.output_type)),)

    @property
    def cycles(self) -> int:
        """Multiplications by those done at once."""
        return self.inputs[0].transfers

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return [Folding(pe, simd) for pe in divisors(self.channels) for simd in divisors(self.kernel_size)]

    def resources(self) -> Resources:
        """For each PE the products, their adder tree and an accumulator; the weights' memory."""
        pe, simd = self.folding.pe, self.folding.simd
        weight, x = int(self.weight_type.bitwidth()), int(self.input_type.bitwidth())
        each = x + 1 if weight == 1 else weight + x
        folds, columns = self.channels // pe, self.kernel_size // simd
        logic = pe * (simd * product(weight, x) + adder_tree(simd, each) + int(self.output_type.bitwidth()))
        return Resources(logic + counter(folds) + counter(columns)) + rom(folds * columns, pe * simd * weight)

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        return {
            "PE": self.folding.pe,
            "SIMD": self.folding.simd,
            "Dim": list(self.pixels),
            "Channels": self.channels,
            "Kernel": list(self.weights.shape[1:]),
            "inputDataType": self.input_type.name,
            "weightDataType": self.weight_type.name,
            "outputDataType": self.output_type.name,
            "accDataType": self.output_type.name,
            "noActivation": 1,
            "ActVal": 0,
        }

    def finn_parameters(self, flavour: Flavour) -> dict[str, tuple[np.ndarray, IntegerType]]:
        return {"weights": (self.weights[:, None].astype(np.float32), self.weight_type)}

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_memories(self) -> list[Memory]:
        """PE channels and SIMD kernel positions that are needed at once: [PE, channel fold * steps + step]."""
        pe, simd = self.folding.pe, self.folding.simd
        tiles = self.weights.reshape(self.channels // pe, pe, self.kernel_size // simd, simd).transpose(1, 0, 2, 3)
        return [weight_memory(tiles.reshape(pe, -1, simd), self.weight_type)]

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        """finn-hlslib's unit works on one kernel position a cycle; for more there is one of ours."""
        pe, simd = self.folding.pe, self.folding.simd
        types = (sliced(self.input_type), sliced(self.output_type), weight_reader(self.weight_type))
        activation = f"PassThroughActivation<{number(self.output_type)}>()"
        vectors = f"reps * {self.pixels[0] * self.pixels[1]}"
        arguments = (*inputs, *outputs, *memories, activation, vectors, "ap_resource_dflt()")
        if simd > 1:
            return call("Depthwise_Parallel_Batch", (self.channels, self.kernel_size, simd, pe, *types), *arguments)
        template = (self.channels, self.kernel_size, 1, pe, 1, *types)
        return call("Vector_Vector_Activate_Batch", template, *arguments)

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        pe, simd = self.folding.pe, self.folding.simd
        rows, steps = self.channels // pe, self.kernel_size // simd
        bits = int(self.weight_type.bitwidth())
        parameters = {
            "PE": pe,
            "SIMD": simd,
            "STEPS": steps,
            "ROWS": rows,
            **product_parameters(self.weights, self.weight_type, self.input_type),
            "SUM_BITS": int(self.output_type.bitwidth()),
            "BLOCK": int(in_block(rows * steps, pe * simd * bits)),
        }
        weights = (self.weights > 0) if parameters["W_BIPOLAR"] else self.weights
        stored = weights.astype(np.int64).reshape(rows, pe, steps, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd)
        return Instance("vector_vector", parameters, "WEIGHTS", {".mem": words(stored, bits)}, registers_ready=True)
