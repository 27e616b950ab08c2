"""Thresholding: how many of its channel's thresholds a value reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any, ClassVar, Literal

import numpy as np

from hls_backend.cpp import Memory, call, number, sliced
from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType, least
from hls_backend.instance import Instance, is_signed, pack, signed_bits, words
from hls_backend.layers.common import by_pe, storage
from hls_backend.progression import Progression
from hls_backend.resources import Resources, counter, in_block, rom

Form = Literal["parallel", "search", "progression"]
"""How hardware compares: with all thresholds at once; by halving, a pipeline stage a bit, with a memory in each; or by
halving with thresholds that are added up (see `Progression`)."""

_FEW, _PARALLEL = 3, 15
"""Up to so many thresholds are compared at once, always, and where that is cheapest."""


@dataclass(frozen=True, eq=False)
class Thresholding(Layer):
    """``base`` plus the number of thresholds t of the channel with ``t <= x``, for ``pe`` channels a cycle.

    Attributes:
        pixels: rows and columns.
        thresholds: int64 [channels, steps], rising along each row.
        base: the output below every threshold (FINN: ActVal).
        input_type, output_type: of x and of the result.
        progression: the same thresholds as two integers a channel, where they can be.
    """

    pixels: tuple[int, int]
    thresholds: np.ndarray
    base: int
    input_type: IntegerType
    output_type: IntegerType
    progression: Progression | None = None

    op: ClassVar[str] = "Thresholding"

    def __post_init__(self) -> None:
        if (np.diff(self.thresholds, axis=1) < 0).any():
            raise ValueError(f"{self.name}: thresholds must rise")
        if self.progression and (self.progression.thresholds(self.steps) != self.thresholds).any():
            raise ValueError(f"{self.name}: the progression is not that of the thresholds")

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

    @property
    def form(self) -> Form:
        """The cheapest way to compare, at this folding."""
        costs = self._costs()
        return min(costs, key=lambda form: costs[form].worth)

    def resources(self) -> Resources:
        """Of the cheapest form, and a counter. A comparison of n bits is n / 2 LUTs on the carry chain."""
        return self._costs()[self.form] + Resources(counter(self.channels // self.folding.pe))

    def _costs(self) -> dict[Form, Resources]:
        if self.steps <= _FEW:
            return {"parallel": self._compared()}
        costs: dict[Form, Resources] = {"search": self._searched()}
        if self.steps <= _PARALLEL:
            costs["parallel"] = self._compared()
        if self.progression is not None:
            costs["progression"] = self._divided(self.progression)
        return costs

    def _compared(self) -> Resources:
        """For each PE a comparison with each threshold, and their sum; all thresholds of a channel in one word."""
        pe, bits = self.folding.pe, int(self.threshold_type.bitwidth())
        return Resources(pe * self.steps * (ceil(bits / 2) + 1)) + rom(self._words, pe * self.steps * bits)

    def _searched(self) -> Resources:
        """For each PE and stage a comparison, and a memory twice as deep as that of the stage before."""
        pe, bits = self.folding.pe, int(self.threshold_type.bitwidth())
        total = Resources()
        for stage in range(self._stages):
            total += Resources(pe * (ceil(bits / 2) + 2)) + rom(self._words * 2**stage, pe * bits)
        return total

    def _divided(self, progression: Progression) -> Resources:
        """For each PE and stage an addition and a comparison, both with the fraction; one memory."""
        pe = self.folding.pe
        bits = int(self.threshold_type.bitwidth()) + progression.shift
        word = sum(int(v.max()).bit_length() + 1 for v in (np.abs(progression.start), progression.step))
        return Resources(pe * self._stages * (bits + ceil(bits / 2))) + rom(self._words, pe * word)

    @property
    def _stages(self) -> int:
        return ceil(log2(self.steps + 1))

    @property
    def _words(self) -> int:
        """How many different words a memory of thresholds has: one a fold, unless all channels are alike."""
        return 1 if self.is_uniform else self.channels // self.folding.pe

    def _finn_thresholds(self, flavour: Flavour) -> tuple[np.ndarray, int]:
        """Thresholds within the input's range, with such around them as fill FINN's search tree, and the base below.

        FINN's RTL takes its tree's height from the number of thresholds and its memories' from the output's bits
        (``thresholding_rtl.py``): the two must agree. FINN's own counts up to the highest output as well; FINN+ leaves
        out what is beyond the last threshold.
        """
        low, high = int(self.input_type.min()), int(self.input_type.max())
        found, base = np.clip(self.thresholds, low, high + 1), self.base
        bits = int(self.output_type.bitwidth())
        if flavour == "finn-main" or self.steps.bit_length() != bits:
            always = base - int(self.output_type.min())
            found, base = np.pad(found, ((0, 0), (always, 0)), constant_values=low), base - always
        if flavour == "finn-main" or found.shape[1].bit_length() != bits:
            never = 2**bits - 1 - found.shape[1]
            found = np.pad(found, ((0, 0), (0, never)), constant_values=high + 1)
        return found, base

    def _finn_type(self, thresholds: np.ndarray, flavour: Flavour) -> IntegerType:
        """Of the thresholds; where it is narrower than the input's, inputs are clamped to it, also below the lowest."""
        low, high = int(thresholds.min()), int(thresholds.max())
        bits = int(self.input_type.bitwidth())
        if flavour == "finn-main":
            return least(min(low, int(self.input_type.min())), max(high, int(self.input_type.max()), 2))
        if not self.input_type.signed():
            return least(0, max(high, 2))
        narrow = least(min(low, -1), high)
        return least(min(low - 1, -1), high) if int(narrow.bitwidth()) < bits else narrow

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        thresholds, base = self._finn_thresholds(flavour)
        return {
            "PE": self.folding.pe,
            "NumChannels": self.channels,
            "numSteps": thresholds.shape[1],
            "inputDataType": self.input_type.name,
            "weightDataType": self._finn_type(thresholds, flavour).name,
            "outputDataType": self.output_type.name,
            "numInputVectors": [1, *self.pixels],
            "ActVal": base,
        }

    def finn_parameters(self, flavour: Flavour) -> dict[str, tuple[np.ndarray, IntegerType]]:
        thresholds, _ = self._finn_thresholds(flavour)
        return {"thresholds": (thresholds.astype(np.float32), self._finn_type(thresholds, flavour))}

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_memories(self) -> list[Memory]:
        """Thresholds by PE and channel fold."""
        pe, folds, compared = self.folding.pe, self.channels // self.folding.pe, number(self.threshold_type)
        words = self.thresholds.reshape(folds, pe, self.steps).transpose(1, 0, 2).astype(object)
        template = (folds, pe, self.steps, compared, number(self.output_type), self.base)
        name = f"ThresholdsActivation<{', '.join(map(str, template))}, comp::less_equal<{compared}, {compared}>>"
        return [Memory("thresholds", name, "m_thresholds", words, int(self.threshold_type.bitwidth()), (1, 3))]

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        template = (
            self.pixels[0] * self.pixels[1], self.channels, self.folding.pe,
            sliced(self.input_type), sliced(self.output_type),
        )  # fmt: skip
        return call("Thresholding_Batch", template, *inputs, *outputs, *memories, "reps")

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        pe = self.folding.pe
        parameters = {
            "LANES": pe,
            "FOLDS": self._words,
            "X_BITS": int(self.input_type.bitwidth()),
            "X_SIGNED": is_signed(self.input_type),
            "OUT_BITS": int(self.output_type.bitwidth()),
            "BASE": self.base,
        }
        # Beyond what x can be, thresholds are all alike.
        low, high = int(self.input_type.min()), int(self.input_type.max())
        thresholds = np.clip(self.thresholds, low, high + 1)[: self._words * pe].reshape(self._words, pe, self.steps)
        if self.form == "progression" and self.progression is not None:
            return self._division(self.progression, parameters)
        if self.form == "search":
            return self._halving(thresholds, parameters)
        bits = signed_bits(low, max(high, int(thresholds.max())))
        memory = words(thresholds.reshape(self._words, -1), bits)
        parameters |= {"STEPS": self.steps, "T_BITS": bits, "BLOCK": int(in_block(self._words, memory[0]))}
        return Instance("thresholds_parallel", parameters, "THRESHOLDS", {".mem": memory})

    def _halving(self, thresholds: np.ndarray, parameters: dict[str, int]) -> Instance:
        """A memory a stage and lane: for each fold and each way the bits before can be, the threshold in the middle."""
        low, high = int(self.input_type.min()), int(self.input_type.max())
        stages = self._stages
        never = np.full((*thresholds.shape[:2], 2**stages - 1 - self.steps), high + 1)
        full = np.concatenate([thresholds, never], axis=2)
        bits = signed_bits(low, max(high, int(full.max())))
        memories = {}
        for stage in range(stages):
            size = 2 ** (stages - stage)
            middle = full[:, :, size // 2 - 1 :: size]
            for lane in range(thresholds.shape[1]):
                memories[f"_{stage}_{lane:04}.mem"] = words(middle[:, lane].reshape(-1, 1), bits)
        return Instance("thresholds_search", parameters | {"BITS": stages, "T_BITS": bits}, "THRESHOLDS", memories)

    def _division(self, progression: Progression, parameters: dict[str, int]) -> Instance:
        """Steps and offsets of each channel; remainders as wide as the largest that any x leaves."""
        stages, shape = self._stages, (self._words, self.folding.pe)
        step = progression.step[: self._words * self.folding.pe]
        offset = progression.start[: len(step)] + (2 ** (stages - 1) - 1) * step
        low, high = (int(v) << progression.shift for v in (self.input_type.min(), self.input_type.max()))
        reach = 2 ** (stages - 1) * step
        bits = signed_bits(
            min(low, int((low - offset - reach).min())),
            max(high, int(np.abs(offset).max()), int((high - offset + reach).max())),
        )
        step_bits = max(1, int(step.max()).bit_length())
        width = self.folding.pe * (step_bits + bits)
        mask = (1 << bits) - 1
        both = [(int(o) & mask) << step_bits | int(s) for o, s in zip(offset, step, strict=True)]
        memory = [pack(row, step_bits + bits) for row in np.array(both, dtype=object).reshape(shape)]
        parameters |= {
            "STEPS": self.steps,
            "BITS": stages,
            "SHIFT": progression.shift,
            "STEP_BITS": step_bits,
            "R_BITS": bits,
            "BLOCK": int(in_block(self._words, width)),
        }
        return Instance("thresholds_progression", parameters, "THRESHOLDS", {".mem": (width, memory)})
