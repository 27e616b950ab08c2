"""Whether two models say the same: both run on the same inputs, random or given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, repeat

import numpy as np
import onnx

from graphops.sandbox import run
from passes.errors import ModelError, UserError
from passes.operators import DEFAULT_DOMAINS, RANDOM
from passes.protobufs import with_subgraphs

SAMPLES = 4
"""Samples in the random batch, where the model leaves the batch open."""

OPEN = (8, 32, 224)
"""Sizes tried, one after the other, for all other axes that the model leaves open."""

LARGEST = 2**26
"""Elements of a random input."""

ROUNDING = 1e-4
"""Differences up to this share of the outputs' largest value are float rounding."""

HALF_ROUNDING = 2e-2
"""The same in models that compute in 16-bit floats."""

TINY = 1e-6
"""Outputs that stay below this count as if they reached it, for what is left of a sum of zero is rounding too."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How far two models' outputs lie apart.

    Attributes:
        largest: the largest absolute difference over all outputs.
        scale: the largest absolute value among the first model's outputs.
        outputs: the largest absolute difference of each output, by its name in the first model.
        tolerance: the share of ``scale`` up to which a difference is float rounding.
    """

    largest: float
    scale: float
    outputs: dict[str, float] = field(default_factory=dict)
    tolerance: float = ROUNDING

    @property
    def is_rounding(self) -> bool:
        """Whether float rounding explains it."""
        return self.largest <= self.tolerance * max(self.scale, TINY)


def difference(
    before: onnx.ModelProto, after: onnx.ModelProto, seed: int = 0, feeds: Arrays | None = None
) -> Difference:
    """Run both models, weights in memory, on the same inputs, each in a process of its own.

    Args:
        before: what the outputs are measured against.
        after: has the same outputs, by name or, where the names differ, in order.
        seed: of inputs drawn from a normal distribution.
        feeds: inputs by name, to take instead.

    Raises:
        ModelError: when one of them cannot be run, or draws random numbers itself.
        UserError: when they do not take ``feeds``, they do not have the same outputs, none is a tensor of numbers, or
            outputs are not finite.
    """
    for model in (before, after):
        _refuse_chance(model)
    if feeds is None:
        feeds, expected = _tried(before, seed, after)
    else:
        _check_given(before, feeds)
        _check_given(after, _renamed(feeds, before, after))
        expected = run(before, feeds)
    tolerance = HALF_ROUNDING if any(map(_computes_in_halves, (before, after))) else ROUNDING
    return replace(_compared(expected, run(after, _renamed(feeds, before, after))), tolerance=tolerance)


def _check_given(model: onnx.ModelProto, feeds: Arrays) -> None:
    """Refuse inputs of other names, types or sizes than the model's."""
    values = {value.name: value for value in model.graph.input}
    wanted = [value.name for value in _inputs(model)]
    if not set(wanted) <= feeds.keys() <= values.keys():
        raise UserError(
            f"The inputs given are {', '.join(feeds) or 'none'}, and a model takes {', '.join(wanted) or 'none'}; "
            "give an array for each, by its name."
        )
    for name, array in feeds.items():
        tensor = values[name].type.tensor_type
        sizes = [dim.dim_value for dim in tensor.shape.dim]
        try:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        except KeyError:  # it says none
            dtype = array.dtype
        fits = len(sizes) == array.ndim and all(size in (0, n) for size, n in zip(sizes, array.shape, strict=True))
        if dtype not in (array.dtype, object) or not (fits or not tensor.HasField("shape")):
            shape = ", ".join(str(size or "?") for size in sizes)
            raise UserError(
                f"The input {name!r} is given as {array.dtype}{list(array.shape)}, and a model takes {dtype}[{shape}]; "
                "give one like that."
            )


def _computes_in_halves(model: onnx.ModelProto) -> bool:
    ends = {value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]}
    casts = {a.i for n in model.graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"}
    return bool((ends | casts) & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})


def _renamed(feeds: Arrays, before: onnx.ModelProto, after: onnx.ModelProto) -> Arrays:
    """The inputs by the names that the second model has for them: in order, where the names differ."""
    names, others = ([value.name for value in _inputs(model)] for model in (before, after))
    if set(names) == set(others) or len(names) != len(others) or not feeds.keys() >= set(names):
        return feeds
    return {other: feeds[name] for name, other in zip(names, others, strict=True)}


def _tried(model: onnx.ModelProto, seed: int, other: onnx.ModelProto) -> tuple[Arrays, Arrays]:
    """Random inputs of sizes that ``other`` takes as well, on which the model runs, and its outputs."""
    sizes = OPEN if _is_open(model) else OPEN[:1]
    for size in sizes:
        feeds = random_inputs(model, seed, size, other)
        try:
            return feeds, run(model, feeds)
        except ModelError as error:
            refusal = error
    raise refusal


def _compared(expected: Arrays, got: Arrays) -> Difference:
    numbers = [{name: a for name, a in arrays.items() if a.dtype.kind in "biuf"} for arrays in (expected, got)]
    first, second = numbers
    if not first:
        raise UserError("No output is a tensor of numbers; nothing can be compared, leave out what runs them.")
    if first.keys() != second.keys():
        second = dict(zip(first, second.values(), strict=False)) if len(first) == len(second) else {}
    if {name: a.shape for name, a in first.items()} != {name: a.shape for name, a in second.items()}:
        raise UserError("The two models' outputs differ in number or shape; nothing can be compared.")
    if not all(np.isfinite(values).all() for values in (*first.values(), *second.values())):
        raise UserError("Outputs on these inputs are not finite; nothing can be compared, leave out what runs them.")
    outputs = {name: _apart(values, second[name]) for name, values in first.items()}
    sizes = [_apart(values, np.zeros_like(values)) for values in first.values()]
    return Difference(max(outputs.values(), default=0.0), max(sizes, default=0.0), outputs)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.abs(a.astype(np.float64) - b), initial=0))


def random_inputs(
    model: onnx.ModelProto, seed: int = 0, size: int = OPEN[0], other: onnx.ModelProto | None = None
) -> dict[str, np.ndarray]:
    """One random array per graph input that has no initialiser, by name.

    Args:
        model: axes that it leaves open are ``SAMPLES`` long where they come first, else ``size``; one name, one length.
        seed: of the random numbers.
        size: see above.
        other: where its inputs, in their order, have sizes that the model leaves open, these are taken.

    Raises:
        ModelError: when an input is no tensor, is too large, or of a type that no random number has.
    """
    rng = np.random.default_rng(seed)
    lengths: dict[str, int] = {}
    others = _inputs(other) if other is not None else []
    fixed = chain(([d.dim_value for d in value.type.tensor_type.shape.dim] for value in others), repeat([]))
    return {value.name: _random(value, rng, size, lengths, f) for value, f in zip(_inputs(model), fixed, strict=False)}


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _is_open(model: onnx.ModelProto) -> bool:
    return any(dim.dim_value < 1 for value in _inputs(model) for dim in value.type.tensor_type.shape.dim[1:])


def _random(
    value: onnx.ValueInfoProto, rng: np.random.Generator, size: int, lengths: dict[str, int], fixed: list[int]
) -> np.ndarray:
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"Input {value.name!r} is no tensor; random inputs can be made for tensors alone.")
    tensor, shape = value.type.tensor_type, []
    for axis, dim in enumerate(tensor.shape.dim):
        length = SAMPLES if axis == 0 else size
        if axis < len(fixed) and fixed[axis] > 0:
            length = fixed[axis]
        if dim.dim_value > 0:
            length = dim.dim_value
        elif dim.dim_param:
            length = lengths.setdefault(dim.dim_param, length)
        shape.append(length)
    count = 1
    for length in shape:
        count *= length
    if count > LARGEST or len(shape) > 64:
        raise ModelError(
            f"Input {value.name!r} has {count:.3g} elements, too many for a trial; give inputs of a shape."
        )
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError as error:
        raise ModelError(f"Input {value.name!r} has no type of element; export the model again.") from error
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if dtype.kind in "biu":
        return rng.integers(0, 2, size=shape).astype(dtype)
    raise ModelError(f"Input {value.name!r} takes elements of {dtype}, of which none are made at random; give inputs.")


def _refuse_chance(model: onnx.ModelProto) -> None:
    for graph in with_subgraphs(model.graph):
        for node in graph.node:
            if node.op_type in RANDOM and node.domain in DEFAULT_DOMAINS:
                raise ModelError(f"The model draws random numbers ({node.op_type} {node.name!r}); nothing to compare.")
