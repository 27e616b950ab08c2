"""How fast a folded dataflow is, stalls that no FIFO mends included.

A matrix unit goes over each window so often as it has rows of PEs, and takes it from the stream in the first time only:
it has room for one. So a window that comes more slowly than that first time costs it the difference.
"""

from __future__ import annotations

from collections.abc import Callable

from hls_backend.dataflow import Dataflow, Layer
from hls_backend.layers import MVAU, ConvolutionInputGenerator

Count = Callable[[Layer], int]
"""A layer's cycles an image, never stalled."""


def rtl(layer: Layer) -> int:
    """Those of our RTL."""
    return layer.cycles


def both(layer: Layer) -> int:
    """The more of our RTL's and of FINN's."""
    return max(layer.cycles, layer.finn_cycles)


def taken(source: Layer, target: Layer, count: Count = both) -> int:
    """The cycles an image that ``target`` takes where ``source`` gives it its input."""
    if not (isinstance(source, ConvolutionInputGenerator) and isinstance(target, MVAU)):
        return count(target)
    once = target.inputs[0].transfers
    return count(target) - once + max(once, source.outputs[0].transfers)


def paces(dataflow: Dataflow, count: Count = both) -> dict[str, int]:
    """The cycles an image of each layer, with what it waits for its input.

    Args:
        dataflow: folded, without width converters (they pass on at least as fast as one of their ends).
        count: whose cycles.
    """
    found = {layer.name: count(layer) for layer in dataflow.layers}
    for stream in dataflow.streams:
        if stream.source and stream.target:
            source, target = dataflow.layer(stream.source.layer), dataflow.layer(stream.target.layer)
            found[target.name] = max(found[target.name], taken(source, target, count))
    return found


def pace(dataflow: Dataflow, count: Count = both) -> int:
    """The cycles from one image to the next: those of the slowest layer."""
    return max(paces(dataflow, count).values())
