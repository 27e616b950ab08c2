"""How much room each stream needs for a dataflow to run at its full rate, found in `selftimed` execution.

Full rate is what the layers reach with room without end. Where paths meet again, one join at a time and in order, its
inputs get the least number of pixels with which the layers between the join and its fork (the nearest layer that all
data pass on their way to it) still reach it; found by bisection, which is right since more room never makes self-timed
execution slower. Where the whole is too slow for another reason, namely that a sliding window does not read while it
writes the rest of its rows, the streams into sliding windows get as many rows as it takes. Last, the whole is executed
with all rooms as found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from hls_backend.dataflow import Dataflow, Layer
from hls_backend.layers import ConvolutionInputGenerator, StreamingFIFO
from hls_backend.schedule import Kind, network
from hls_backend.selftimed import Network

_MOST_ROWS = 4
"""In front of a sliding window, besides those that it holds itself."""

_NEARLY = 1.01
"""How much slower than with room without end is fast enough for fewer rows."""

_TRIES = 20
"""Pixels that all FIFOs together get more where joins wait for each other."""


def rooms(dataflow: Dataflow, kind: Kind) -> dict[str, int]:
    """The room, in elements, of each stream that needs more than its layers have without a FIFO.

    Args:
        dataflow: without FIFOs.
        kind: whose sliding windows.
    """
    if any(isinstance(layer, StreamingFIFO) for layer in dataflow.layers):
        raise ValueError(f"{dataflow.name} has FIFOs already")
    names = tuple(stream.name for stream in dataflow.streams)
    return dict(_rooms(_Whole(network(dataflow, kind).fingerprint, names, kind, dataflow)))


def pixels_at_least(dataflow: Dataflow, kind: Kind) -> dict[str, int]:
    """The pixels that wait on the way to each input of a join, whatever the folding, and one for full rate; above 1.

    Without executing anything. They wait in front of the join, but for what a window on that way has room for.
    """
    dominators = _dominators(dataflow)
    found = {}
    for join in _joins(dataflow):
        between = network(dataflow, kind, _between(dataflow, join, dominators))
        for stream in dataflow.inputs_of(join):
            pixels = between.ahead(stream.name) // join.inputs[0].shape[2]
            if pixels > 1:
                found[stream.name] = pixels + 1
    return found


@dataclass(frozen=True)
class _Whole:
    """A dataflow; two are equal where all that counts here is."""

    fingerprint: str
    names: tuple[str, ...]
    kind: Kind
    dataflow: Dataflow = field(compare=False)


@lru_cache(maxsize=64)
def _rooms(given: _Whole) -> dict[str, int]:
    dataflow, kind = given.dataflow, given.kind
    whole = network(dataflow, kind)
    best = whole.period(_endless(whole.channels))
    assert best is not None, "what has room without end never stops"
    target, found = _enough_rows(dataflow, whole, best, _skips(dataflow, kind))
    dominators = _dominators(dataflow)
    for join in _joins(dataflow):
        found |= _at_join(dataflow, join, _between(dataflow, join, dominators), kind, target, found)
    if not whole.reaches(target, dict(found)):
        found |= _at_pace(dataflow, whole, target, found)
    for _ in range(_TRIES):
        if whole.reaches(target, dict(found)):
            break
        found = {name: room + _pixel(dataflow, name) for name, room in found.items()}
    return found


def _at_pace(dataflow: Dataflow, whole: Network, target: int, found: Mapping[str, int]) -> dict[str, int]:
    """Room at joins for the most that ever waits there, where less keeps the whole from its rate.

    Between its fork and itself a join was fed as fast as it could be. Behind a layer that has no cycles to spare, what
    a full FIFO holds up is never made good: a strided path, that takes two rows for each of its own, then needs more.
    How much more depends on words between layers, and here all is pixels: so nothing is held up at all.
    """
    names = [s.name for join in _joins(dataflow) for s in dataflow.inputs_of(join) if s.name in found]
    endless: dict[str, int | None] = {**found, **_endless(names)}
    ends = whole.run(rooms=endless)
    assert ends is not None, "what has room without end never stops"
    late = [name for name in names if not whole.reaches(target, endless | {name: found[name]})]
    return {name: whole.most(ends, name) for name in late}


def _enough_rows(dataflow: Dataflow, whole: Network, best: int, skips: Iterable[str]) -> tuple[int, dict[str, int]]:
    """The fewest rows in front of sliding windows beyond which more do not help, and what an image takes then."""
    target, found = 0, _rows(dataflow, 0)
    for rows in range(_MOST_ROWS + 1):
        given = _rows(dataflow, rows)
        period = whole.period({**given, **_endless(skips)})
        assert period is not None, "only joins make layers wait for each other"
        if rows and period >= target:
            break
        target, found = period, given
        if target <= best * _NEARLY:
            break
    return max(target, best), found


def _skips(dataflow: Dataflow, kind: Kind) -> list[str]:
    """The streams that wait at joins: of two paths the one of fewer windows; both where no window tells."""
    longer = pixels_at_least(dataflow, kind)
    found = list(longer)
    for join in _joins(dataflow):
        names = [stream.name for stream in dataflow.inputs_of(join)]
        found += [] if any(name in longer for name in names) else names
    return found


def _joins(dataflow: Dataflow) -> list[Layer]:
    return [layer for layer in dataflow.layers if len(layer.inputs) > 1]


def _rows(dataflow: Dataflow, rows: int) -> dict[str, int]:
    """Room for so many times the rows that a sliding window goes on by, in front of each that has more than a pixel."""
    found = {}
    for layer in dataflow.layers:
        if rows and isinstance(layer, ConvolutionInputGenerator) and layer.kernel != (1, 1):
            (stream,) = dataflow.inputs_of(layer)
            found[stream.name] = rows * layer.stride[0] * layer.image[1] * layer.channels
    return found


@dataclass(frozen=True)
class _Join:
    """A join between its fork and itself; two are equal where all but names is.

    Attributes:
        fingerprint: of the network.
        inputs: the places of the join's inputs among the network's channels.
        pixels: elements of a pixel of each input.
        known: rooms of other channels, by their places.
        target: cycles an image.
        kind: whose layers.
    """

    fingerprint: str
    inputs: tuple[int, ...]
    pixels: tuple[int, ...]
    known: tuple[tuple[int, int], ...]
    target: int
    kind: Kind
    network: Network = field(compare=False)


def _at_join(
    dataflow: Dataflow, join: Layer, layers: list[Layer], kind: Kind, target: int, known: Mapping[str, int]
) -> dict[str, int]:
    """The rooms of the join's inputs that need more than they have."""
    between = network(dataflow, kind, layers)
    places = {channel: i for i, channel in enumerate(between.channels)}
    names = [s.name for s in dataflow.inputs_of(join)]
    pixels = [port.shape[2] for port in join.inputs]
    given = tuple((places[name], room) for name, room in sorted(known.items()) if name in places)
    inputs = tuple(places[name] for name in names)
    found = _least(_Join(between.fingerprint, inputs, tuple(pixels), given, target, kind, between))
    return {name: room for name, room in zip(names, found, strict=True) if room}


@lru_cache(maxsize=4096)
def _least(join: _Join) -> tuple[int, ...]:
    """The room of each input, in elements; 0 where the layers have enough."""
    net = join.network
    names = [net.channels[i] for i in join.inputs]
    known: dict[str, int | None] = {net.channels[i]: room for i, room in join.known}
    free = known | _endless(names)
    ends = net.run(rooms=free)
    assert ends is not None, "what has room without end never stops"
    target = max(join.target, net.measure(ends))
    pixels: list[int] = []
    for name, pixel in zip(names, join.pixels, strict=True):
        enough = max(1, -(-net.most(ends, name) // pixel))
        low = 1
        if join.kind == "hls":  # what windows of C++ hold on the way has not been measured: count on none of it
            low = max(1, min(enough, net.ahead(name) // pixel - 1))
        while low < enough:
            middle = (low + enough) // 2
            if net.reaches(target, free | {name: middle * pixel}):
                enough = middle
            else:
                low = middle + 1
        pixels.append(enough)
    if max(pixels) == 1:  # no path is longer: a pixel for what their pipelines differ in
        return join.pixels
    while True:
        found = [n * pixel if n > 1 else 0 for n, pixel in zip(pixels, join.pixels, strict=True)]
        if net.reaches(target, known | dict(zip(names, found, strict=True))):
            break
        pixels = [n + 1 for n in pixels]
    more = [_more(join, name, pixel) for name, pixel in zip(names, join.pixels, strict=True)]
    return tuple(room + extra if room else 0 for room, extra in zip(found, more, strict=True))


def _more(join: _Join, name: str, pixel: int) -> int:
    """What the streams on the way to an input hold in the model and not in hardware; in C++ all of it, to be safe."""
    if join.kind == "rtl":
        return join.network.surplus(name)
    hops = join.network.hops(name)
    return (hops + 1) * pixel if hops else 0


def _between(dataflow: Dataflow, join: Layer, dominators: Mapping[str, tuple[str, ...]]) -> list[Layer]:
    """The layers on the ways from a join's fork to the join, both included, in topological order."""
    sources = [s.source.layer if s.source else "" for s in dataflow.inputs_of(join)]
    common = set.intersection(*(set(dominators[name]) for name in sources))
    fork = max(common, key=lambda name: len(dominators[name]))
    before = {join.name}
    for layer in reversed(dataflow.layers):
        if layer.name in before and layer.name != fork:
            before |= {s.source.layer for s in dataflow.inputs_of(layer) if s.source}
    after = {fork} if fork else {layer.name for layer in dataflow.layers}
    for layer in dataflow.layers:
        if any(s.source and s.source.layer in after for s in dataflow.inputs_of(layer)):
            after.add(layer.name)
    return [layer for layer in dataflow.layers if layer.name in before & after]


def _dominators(dataflow: Dataflow) -> dict[str, tuple[str, ...]]:
    """For each layer, those that all data pass on their way into it, and itself; ``""`` is the host."""
    found: dict[str, tuple[str, ...]] = {"": ("",)}
    for layer in dataflow.layers:
        ways = [found[s.source.layer if s.source else ""] for s in dataflow.inputs_of(layer)]
        shared = tuple(name for name in ways[0] if all(name in way for way in ways[1:]))
        found[layer.name] = (*shared, layer.name)
    return found


def _endless(channels: Iterable[str]) -> dict[str, int | None]:
    return dict.fromkeys(channels, None)


def _pixel(dataflow: Dataflow, name: str) -> int:
    """Elements of a pixel of a stream, as its reader sees it: who pads channels writes parts of one."""
    stream = next(s for s in dataflow.streams if s.name == name)
    port = dataflow.target_port(stream) or dataflow.source_port(stream)
    return port.shape[2] if port else stream.shape[2]
