"""Whether two models say the same: both run on the same random inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from graphops.inference import reason, session
from passes.errors import ModelError, UserError

SAMPLES = 4
"""Samples in the random batch, where the model leaves the batch open."""

ROUNDING = 1e-4
"""Differences up to this share of the outputs' largest value are float rounding."""


@dataclass(frozen=True)
class Difference:
    """How far two models' outputs lie apart.

    Attributes:
        largest: the largest absolute difference over all outputs.
        scale: the largest absolute value among the first model's outputs.
    """

    largest: float
    scale: float

    @property
    def is_rounding(self) -> bool:
        """Whether float rounding explains it."""
        return self.largest <= ROUNDING * max(1.0, self.scale)


def difference(before: onnx.ModelProto, after: onnx.ModelProto, seed: int = 0) -> Difference:
    """Run both models, weights in memory, on the same normally distributed inputs.

    Raises:
        ModelError: when a runtime cannot run one of them, or an input's shape is open beyond the batch.
        UserError: when they do not have the same outputs, or outputs are not finite.
    """
    feeds = random_inputs(before, seed)
    expected, got = _run(before, feeds), _run(after, feeds)
    if [e.shape for e in expected] != [g.shape for g in got]:
        raise UserError("The two models' outputs differ in number or shape; nothing can be compared.")
    if not all(np.isfinite(values).all() for values in (*expected, *got)):
        raise UserError("Outputs on random inputs are not finite; nothing can be compared, leave out --verify.")
    apart = [float(np.max(np.abs(e.astype(np.float64) - g), initial=0)) for e, g in zip(expected, got, strict=True)]
    sizes = [float(np.max(np.abs(e.astype(np.float64)), initial=0)) for e in expected]
    return Difference(max(apart, default=0.0), max(sizes, default=0.0))


def random_inputs(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """One random array per graph input that has no initialiser, by name."""
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    return {value.name: _random(value, rng) for value in model.graph.input if value.name not in constants}


def _random(value: onnx.ValueInfoProto, rng: np.random.Generator) -> np.ndarray:
    tensor = value.type.tensor_type
    shape = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
        elif axis == 0:
            shape.append(SAMPLES)
        else:
            raise ModelError(f"Input {value.name!r} leaves axis {axis} open; give the model a fixed input shape.")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if np.issubdtype(dtype, np.floating):
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 2, size=shape).astype(dtype)


def _run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    running = session(model)
    try:
        outputs = [np.asarray(output) for output in running.run(None, feeds)]
    except Exception as error:  # onnxruntime's exceptions share no base but this one
        raise ModelError(f"onnxruntime cannot run the model on random inputs ({reason(error)}).") from error
    return [output for output in outputs if output.dtype.kind in "biuf"]
