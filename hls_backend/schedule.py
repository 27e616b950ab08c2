"""What each layer takes in and gives out, firing by firing, for `selftimed`: one actor a layer, or two or more.

Most layers take a pixel and give one, at the rate of their cycles. A sliding window is where an image waits, and there
implementations differ:

- our RTL starts a window as soon as its last pixel has come, and frees what no later window needs when it is through;
  its ring has room for a window and the furthest step to the next;
- finn-hlslib's ConvolutionInputGenerator fills as many rows as the kernel has first, and then reads the next rows in
  step with the windows that it writes, an element for an element (slidingwindow.h: ``counter_internal_block``), until
  it has as many as the stride; it frees them a row of windows at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log2
from typing import Literal

import numpy as np

from hls_backend.dataflow import Dataflow, Layer, Port, Stream
from hls_backend.layers import (
    MVAU,
    ConvolutionInputGenerator,
    DuplicateStreams,
    FMPadding,
    GlobalAccPool,
    StreamingDataWidthConverter,
    StreamingFIFO,
    Thresholding,
)
from hls_backend.selftimed import Actor, Counts, Network, Reading, Writing

Kind = Literal["rtl", "hls"]
"""Whose sliding windows."""


def network(dataflow: Dataflow, kind: Kind, layers: Iterable[Layer] | None = None) -> Network:
    """The actors of a dataflow's layers; channels are called after the streams.

    Args:
        dataflow: with width converters, or without, then they take no time.
        kind: whose sliding windows.
        layers: only these, in topological order; what they read from elsewhere comes as fast as it can, what they make
            for elsewhere is always taken.
    """
    chosen = list(dataflow.layers if layers is None else layers)
    read = {s.name: p for layer in chosen for s, p in zip(dataflow.inputs_of(layer), layer.inputs, strict=True)}
    made = {s.name for layer in chosen for s in dataflow.outputs_of(layer)}
    actors = [_source(name, port) for name, port in read.items() if name not in made]
    rooms: dict[str, int] = {}
    for layer in chosen:
        inputs = list(dataflow.inputs_of(layer))
        outputs = [s if s.name in read else None for s in dataflow.outputs_of(layer)]
        actors += _actors(layer, inputs, outputs, kind)
        for stream, port in zip(outputs, layer.outputs, strict=True):
            if stream is not None:
                deep = layer.depth if isinstance(layer, StreamingFIFO) else stream.depth
                rooms[stream.name] = deep * port.lanes
        if isinstance(layer, ConvolutionInputGenerator):
            rooms[_buffer(layer)] = _room(layer, kind)
    return Network(tuple(actors), rooms)


def _source(stream: str, port: Port) -> Actor:
    """Pixels from elsewhere."""
    pixels = port.shape[0] * port.shape[1]
    return Actor(f"{stream}.source", pixels, port.transfers // pixels, (), (Writing(stream, _even(port, pixels)),))


def _actors(layer: Layer, inputs: list[Stream], outputs: list[Stream | None], kind: Kind) -> list[Actor]:
    if isinstance(layer, ConvolutionInputGenerator):
        return _window(layer, inputs[0], outputs[0], kind)
    if isinstance(layer, FMPadding):
        return [_padding(layer, inputs[0], outputs[0])]
    if isinstance(layer, GlobalAccPool):
        return [_sum(layer, inputs[0], outputs[0])]
    if isinstance(layer, DuplicateStreams) and kind == "rtl" and layer.shape[2] == layer.folding.pe:
        # Each output takes the word when it can; where a pixel is several words that holds for the last one only.
        return [_pixelwise(layer, inputs, [output], f"{layer.name}.{i}", kind) for i, output in enumerate(outputs)]
    return [_pixelwise(layer, inputs, outputs, layer.name, kind)]


def _pixelwise(layer: Layer, inputs: list[Stream], outputs: list[Stream | None], name: str, kind: Kind) -> Actor:
    """A layer that takes a pixel and gives one."""
    port = layer.outputs[0]
    pixels = port.shape[0] * port.shape[1]
    if isinstance(layer, StreamingDataWidthConverter | StreamingFIFO):
        pixels = max(p.shape[0] * p.shape[1] for p in (*layer.inputs, *layer.outputs))
    time = ceil(layer.cycles / pixels)
    # What is left to do when the last input has come: a matrix goes over its inputs once for each of its rows.
    left = time - time // (layer.mh // layer.folding.pe) if isinstance(layer, MVAU) else 0
    pipeline = _latency(layer)
    early = pipeline if kind == "rtl" else 0
    taken = [(stream.name, _even(p, pixels)) for stream, p in zip(inputs, layer.inputs, strict=True)]
    writes = tuple(Writing(stream.name, _even(port, pixels)) for stream in outputs if stream is not None)
    reads = tuple(Reading(s, counts, counts, left + pipeline, early) for s, counts in taken)
    return Actor(name, pixels, time, reads, writes)


def _latency(layer: Layer) -> int:
    """Cycles that an element is under way in the pipeline, about; as in the modules of our RTL."""
    if isinstance(layer, Thresholding):
        bits = layer.steps.bit_length()
        return {"parallel": 2, "progression": bits + 1, "search": 2 * bits}[layer.form]
    if isinstance(layer, MVAU):
        vectors = 2 if layer.mh > layer.folding.pe else 0  # that are gone over more than once lie in a memory first
        weight, x = int(layer.weight_type.bitwidth()), int(layer.input_type.bitwidth())
        return vectors + 2 + (weight > 2 and weight + x > 10) + ceil(log2(layer.folding.simd)) // 2
    return 1


def _padding(layer: FMPadding, source: Stream, target: Stream | None) -> Actor:
    """Pads need no pixel."""
    top, left, bottom, right = layer.pads
    rows, columns = layer.image
    inside = np.pad(np.ones((rows, columns), int), ((top, bottom), (left, right))).reshape(-1)
    taken = inside.cumsum() * layer.channels
    made = np.arange(1, len(inside) + 1) * layer.channels
    writes = (Writing(target.name, made),) if target else ()
    time = layer.channels // layer.folding.simd
    return Actor(layer.name, len(inside), time, (Reading(source.name, taken, taken),), writes)


def _sum(layer: GlobalAccPool, source: Stream, target: Stream | None) -> Actor:
    """All pixels in, then one out."""
    rows, columns, channels = layer.shape
    taken = np.arange(1, rows * columns + 1) * channels
    made = np.zeros_like(taken)
    made[-1] = channels
    time = channels // layer.folding.pe
    writes = (Writing(target.name, made),) if target else ()
    return Actor(layer.name, rows * columns, time, (Reading(source.name, taken, taken, time + 1),), writes)


def _window(layer: ConvolutionInputGenerator, source: Stream, target: Stream | None, kind: Kind) -> list[Actor]:
    """One actor that reads pixels into the buffer, and one that writes windows from it."""
    pixels = _even(layer.inputs[0], layer.image[0] * layer.image[1])
    folds = layer.channels // layer.folding.simd
    reads = (Reading(source.name, pixels, pixels),)
    reader = Actor(f"{layer.name}.read", len(pixels), folds, reads, (Writing(_buffer(layer), pixels),))
    needs, frees = _in_ring(layer) if kind == "rtl" else _in_rows(layer)
    windows = layer.windows[0] * layer.windows[1]
    time = folds * layer.kernel[0] * layer.kernel[1]
    writes = (Writing(target.name, _even(layer.outputs[0], windows)),) if target else ()
    pipeline, early = 1, 0
    if kind == "rtl":
        pipeline = early = 2 + layer.rtl().parameters["BLOCK"]
    reading = Reading(_buffer(layer), needs, frees, time + pipeline, early)
    return [reader, Actor(f"{layer.name}.write", windows, time, (reading,), writes)]


def _in_ring(layer: ConvolutionInputGenerator) -> tuple[Counts, Counts]:
    """A window needs its last pixel; after it, all before the first of the next are free."""
    columns = layer.image[1]
    row, column = np.divmod(np.arange(layer.windows[0] * layer.windows[1]), layer.windows[1])
    first = row * layer.stride[0] * columns + column * layer.stride[1]
    last = first + (layer.kernel[0] - 1) * columns + layer.kernel[1]
    after = np.append(first[1:], layer.image[0] * columns)
    return last * layer.channels, after * layer.channels


def _in_rows(layer: ConvolutionInputGenerator) -> tuple[Counts, Counts]:
    """A window needs the rows of its row of windows, and what is read while it is written; rows are freed together."""
    rows, columns = layer.image
    size = layer.kernel[0] * layer.kernel[1]
    row, column = np.divmod(np.arange(layer.windows[0] * layer.windows[1]), layer.windows[1])
    if size == 1:  # finn-hlslib has a form for it that keeps nothing
        return _in_ring(layer)
    meanwhile = np.minimum((column + 1) * size, layer.stride[0] * columns)
    needs = np.minimum((layer.kernel[0] + row * layer.stride[0]) * columns + meanwhile, rows * columns)
    through = column == layer.windows[1] - 1
    frees = (row + through) * layer.stride[0] * columns
    frees[-1] = rows * columns
    return needs * layer.channels, frees * layer.channels


def _room(layer: ConvolutionInputGenerator, kind: Kind) -> int:
    """Elements that the buffer holds."""
    columns, (k_rows, k_columns) = layer.image[1], layer.kernel
    if kind == "hls":
        return (k_rows + layer.stride[0]) * columns * layer.channels
    _, after = _in_ring(layer)
    furthest = int(np.diff(after, prepend=0).max())
    return ((k_rows - 1) * columns + k_columns) * layer.channels + furthest


def _buffer(layer: Layer) -> str:
    return f"{layer.name}.buffer"


def _even(port: Port, firings: int) -> Counts:
    """As many elements a firing."""
    return np.arange(1, firings + 1) * (port.size // firings)
