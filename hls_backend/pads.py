"""FIFOs in front of paddings: while a padding gives pads it takes nothing, and what comes at an even pace has to wait.

The longest such time lies between two images. A layer in front that has no cycles to spare would lose it in each image.
"""

from __future__ import annotations

from math import ceil

from hls_backend.dataflow import Dataflow, Layer
from hls_backend.layers import FMPadding, StreamingFIFO
from hls_backend.resources import Resources

_HELD = 2
"""Transfers that the registers of the layers in front hold."""


def waiting(dataflow: Dataflow) -> dict[str, int]:
    """Transfers that wait in front of each padding at most, by the stream's name; only where that costs time otherwise.

    Args:
        dataflow: folded; images come every `Dataflow.cycles` cycles.
    """
    before: dict[str, int] = {}  # by layer: the cycles of the slowest layer up to it
    found = {}
    for layer in dataflow.layers:
        (first, *_) = inputs = dataflow.inputs_of(layer)
        slowest = max((before[s.source.layer] for s in inputs if s.source), default=0)
        before[layer.name] = max(slowest, layer.cycles)
        if isinstance(layer, FMPadding) and _unbuffered(layer, slowest) > dataflow.cycles:
            found[first.name] = depth(layer, dataflow.cycles)
    return {name: transfers for name, transfers in found.items() if transfers}


def resources(layer: Layer, cycles: int) -> Resources:
    """What the FIFO in front of ``layer`` costs, if it is a padding that needs one (see `depth`)."""
    deep = depth(layer, cycles) if isinstance(layer, FMPadding) else 0
    (port, *_) = layer.inputs
    return StreamingFIFO("fifo", port.shape, port.type, port.lanes, deep).resources() if deep else Resources()


def depth(layer: FMPadding, cycles: int) -> int:
    """The transfers that wait at most where one image's come evenly over ``cycles``; 0 where registers hold them.

    Lindley's recursion for the time that each waits, through one image: ``cycles`` are no fewer than the layer's, so
    that what it leaves waiting is gone before the next one's end.
    """
    rows, each = layer.image[0], cycles / layer.inputs[0].transfers
    to_row, to_image = _gaps(layer)
    in_row = layer.inputs[0].transfers // rows - 1
    wait = longest = 0.0
    for to_next in (*[to_row] * (rows - 1), to_image):
        wait = max(0.0, wait - in_row * (each - 1))
        wait = max(0.0, wait + to_next - each)
        longest = max(longest, wait)
    transfers = ceil(longest / each)
    return transfers if transfers > _HELD else 0


def _gaps(layer: FMPadding) -> tuple[int, int]:
    """Cycles from a row's last transfer to the next row's first, and from an image's last to the next image's first."""
    top, left, bottom, right = layer.pads
    folds = layer.channels // layer.folding.simd
    edges = left + right
    return 1 + edges * folds, 1 + (edges + (top + bottom) * (left + layer.image[1] + right)) * folds


def _unbuffered(layer: FMPadding, cycles: int) -> float:
    """Cycles an image where ``cycles`` is what the layers in front take, if they are never kept waiting."""
    transfers, rows = layer.inputs[0].transfers, layer.image[0]
    each, (to_row, to_image) = cycles / transfers, _gaps(layer)
    return (transfers - rows) * max(each, 1) + (rows - 1) * max(each, to_row) + max(each, to_image)
