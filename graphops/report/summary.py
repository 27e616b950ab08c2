"""A model in figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from graphops import statistics
from graphops.external import hollow
from passes.errors import ModelError


@dataclass(frozen=True)
class Summary:
    """What a model holds; None where shapes that nobody knows stand in the way.

    Attributes:
        operators: how many nodes there are of each operator, by name.
        joins: Adds where two paths from the graph's inputs meet.
        parameters: trained values.
        macs: multiplications in a forward pass over one sample.
        buffer_bits: bits that a dataflow design holds back for the skip connections.
    """

    operators: dict[str, int]
    joins: int
    parameters: int
    macs: int | None
    buffer_bits: int | None


def summarise(model: onnx.ModelProto, bits: int = 32) -> Summary:
    """The figures of ``model``, its activations ``bits`` wide where no quantiser says otherwise."""
    model = hollow(model)  # counting copies the graph now and then
    return Summary(
        operators=dict(sorted(statistics.operators(model).items())),
        joins=statistics.joins_left(model),
        parameters=statistics.parameters(model),
        macs=_known(lambda: statistics.macs(model)),
        buffer_bits=_known(lambda: statistics.skip_buffer_bits(model, bits)),
    )


def _known(count: Callable[[], int]) -> int | None:
    try:
        return count()
    except ModelError:
        return None
