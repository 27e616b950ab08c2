"""MVAU: a matrix times each pixel's vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any, ClassVar

import numpy as np

from hls_backend.cpp import Memory, call, number, sliced
from hls_backend.dataflow import Flavour, Folding, Layer, Port, Style
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance, product_parameters, words
from hls_backend.layers.common import divisors, exact_float, storage, weight_memory, weight_reader
from hls_backend.resources import Resources, adder_tree, counter, in_block, product, rom


@dataclass(frozen=True, eq=False)
class MVAU(Layer):
    """``weights @ x`` for the vector x of each pixel, accumulated over ``simd`` products a cycle in ``pe`` rows.

    FINN's unit can apply thresholds as well; here they are a layer of their own, as in FINN's RTL.

    Attributes:
        pixels: rows and columns.
        weights: int [outputs MH, inputs MW]; inputs in the order kernel rows, kernel columns, channels.
        weight_type: of the weights.
        input_type: of x.
        output_type: of the accumulators: none of them, nor a partial sum, can leave it.
    """

    pixels: tuple[int, int]
    weights: np.ndarray
    weight_type: IntegerType
    input_type: IntegerType
    output_type: IntegerType

    op: ClassVar[str] = "MVAU"

    @property
    def mh(self) -> int:
        """Rows of the matrix: outputs."""
        return int(self.weights.shape[0])

    @property
    def mw(self) -> int:
        """Columns of the matrix: inputs."""
        return int(self.weights.shape[1])

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.mw), self.input_type, self.folding.simd),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return (Port((*self.pixels, self.mh), self.output_type, self.folding.pe),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        largest = max(abs(int(self.input_type.min())), abs(int(self.input_type.max())))
        number = exact_float(largest * int(np.abs(self.weights).sum(axis=1, dtype=np.int64).max()))
        x = arrays[0].reshape(-1, self.mw).astype(number)
        sums = x @ self.weights.T.astype(number)
        return (sums.astype(storage(self.output_type)).reshape(-1, *self.outputs[0].shape),)

    @property
    def cycles(self) -> int:
        """Multiplications by those done at once."""
        return self.inputs[0].transfers * (self.mh // self.folding.pe)

    @property
    def finn_cycles(self) -> int:
        return self.cycles

    def foldings(self) -> list[Folding]:
        return [Folding(pe, simd) for pe in divisors(self.mh) for simd in divisors(self.mw)]

    def resources(self) -> Resources:
        """For each PE the products, their adder tree and an accumulator; the weights' memory; the input's buffer."""
        pe, simd = self.folding.pe, self.folding.simd
        weight, x = int(self.weight_type.bitwidth()), int(self.input_type.bitwidth())
        each = x + 1 if weight == 1 else weight + x
        rows, columns = self.mh // pe, self.mw // simd
        accumulator = int(self.output_type.bitwidth())
        logic = pe * (simd * product(weight, x) + adder_tree(simd, each) + accumulator)
        held = Resources(simd * x * ceil(columns / 64)) if rows > 1 else Resources()
        control = Resources(counter(rows) + counter(columns) + 2 * ceil(log2(rows * columns + 1)))
        return Resources(logic) + rom(rows * columns, pe * simd * weight) + held + control

    def finn_style(self, device: str) -> Style:
        """Verilog, on multipliers, from 4 bits on; 7-series ones want no weight to be the least of its type.

        As ``specialize_layers.py`` of FINN chooses.
        """
        wide = min(int(self.weight_type.bitwidth()), int(self.input_type.bitwidth())) >= 4
        narrow = self.weights.min() > self.weight_type.min()
        is_7_series = device.startswith("xc7")
        return "rtl" if wide and self.weight_type.signed() and (narrow or not is_7_series) else "hls"

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        return {
            "PE": self.folding.pe,
            "SIMD": self.folding.simd,
            "MW": self.mw,
            "MH": self.mh,
            "inputDataType": self.input_type.name,
            "weightDataType": self.weight_type.name,
            "outputDataType": self.output_type.name,
            "accDataType": self.output_type.name,
            "noActivation": 1,
            "ActVal": 0,
            "binaryXnorMode": 0,
            "numInputVectors": [1, *self.pixels],
        }

    def finn_parameters(self, flavour: Flavour) -> dict[str, tuple[np.ndarray, IntegerType]]:
        return {"weights": (self.weights.T.astype(np.float32), self.weight_type)}

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_memories(self) -> list[Memory]:
        """PE and SIMD of `weights` that are needed at once: [PE, row fold * column folds + column fold]."""
        pe, simd = self.folding.pe, self.folding.simd
        tiles = self.weights.reshape(self.mh // pe, pe, self.mw // simd, simd).transpose(1, 0, 2, 3)
        return [weight_memory(tiles.reshape(pe, -1, simd), self.weight_type)]

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        template = (
            self.mw, self.mh, self.folding.simd, self.folding.pe, 1,
            sliced(self.input_type), sliced(self.output_type), weight_reader(self.weight_type),
        )  # fmt: skip
        activation = f"PassThroughActivation<{number(self.output_type)}>()"
        vectors = f"reps * {self.pixels[0] * self.pixels[1]}"
        arguments = (*inputs, *outputs, *memories, activation, vectors, "ap_resource_dflt()")
        return call("Matrix_Vector_Activate_Batch", template, *arguments)

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        pe, simd = self.folding.pe, self.folding.simd
        rows, steps = self.mh // pe, self.mw // simd
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
        # A word for each row of PEs and each step of SIMD inputs; bipolar weights as 0 and 1.
        weights = (self.weights > 0) if parameters["W_BIPOLAR"] else self.weights
        stored = weights.astype(np.int64).reshape(rows, pe, steps, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd)
        return Instance("matrix_vector", parameters, "WEIGHTS", {".mem": words(stored, bits)}, registers_ready=True)
