"""How fast a folded dataflow is on finn-hlslib, stalls that no FIFO mends included.

finn-hlslib's matrix unit goes over each window so often as it has rows of PEs, and takes it from the stream in the
first time only (mvau.hpp: ``if(nf == 0)``): it has room for one. So a window that comes more slowly than that first
time costs it the difference. Our RTL has room for two windows and does not wait.
"""

from __future__ import annotations

from hls_backend.dataflow import Dataflow, Layer
from hls_backend.layers import MVAU, ConvolutionInputGenerator


def unstalled(layer: Layer) -> int:
    """A layer's cycles an image, never stalled: the more of our RTL's and of FINN's."""
    return max(layer.cycles, layer.finn_cycles)


def taken(source: Layer, target: Layer) -> int:
    """The cycles an image that ``target`` takes where ``source`` gives it its input."""
    if not (isinstance(source, ConvolutionInputGenerator) and isinstance(target, MVAU)):
        return unstalled(target)
    once = target.inputs[0].transfers
    return unstalled(target) - once + max(once, source.outputs[0].transfers)


def pace(dataflow: Dataflow) -> int:
    """The cycles from one image to the next: those of the slowest layer.

    Args:
        dataflow: folded, without width converters (they pass on at least as fast as one of their ends).
    """
    slowest = max(map(unstalled, dataflow.layers))
    for stream in dataflow.streams:
        if stream.source and stream.target:
            slowest = max(slowest, taken(dataflow.layer(stream.source.layer), dataflow.layer(stream.target.layer)))
    return slowest
