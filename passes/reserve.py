"""How a skip path travels along the main path: which tap of which kernel carries which pixel.

A block whose main path has layers 1..n is widened by reserved channels (Meng et al. 2021, RMNet, arXiv:2111.00687).
The skip path is cut at one of its tensors into a head and a tail. Layers before the entry carry the fork itself, each
by one tap of weight 1; the entry layer computes the head; those after it carry the result; layer n adds the tail of it
to its own output. Cut at the fork there is no entry, cut at the join the tail is the identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from passes import windows
from passes.chain import Bend, Link, Pick, Stage
from passes.refusal import Refusal
from passes.windows import Offset, Window

# For one axis, at each layer: from an offset in what is carried to the offset of the tap that looks there.
Route = list[dict[int, int]]


@dataclass(frozen=True)
class Cut:
    """A skip path in two: ``head`` from the fork to ``tensor``, ``tail`` from there to the join."""

    tensor: gs.Variable
    head: Window
    tail: Window


@dataclass(frozen=True)
class Plan:
    """What the reserved channels do at each layer.

    Attributes:
        cut: where the skip path is cut.
        entry: the layer, counted from 1, that computes the head; 0 where the fork is the cut.
        windows: one a layer, over its reserved input channels (the fork's channels at the first layer): what its
            reserved output channels are, and at the last layer what is added to its output.
    """

    cut: Cut
    entry: int
    windows: list[Window]


def plan(links: Sequence[Link], cut: Cut, entry: int, whole: Window) -> Plan:
    """The taps to use.

    Args:
        links: the main path; its last link is a layer, as is at least one before.
        whole: the skip path as one window that looks at something; the plan gives exactly this.

    Raises:
        Refusal: when no taps of the kernels give ``whole`` up to the border.
    """
    routes = [_route(links, cut, entry, axis) for axis in range(len(whole.stride))]
    stages = [link for link in links if isinstance(link, Stage)]
    tail = windows.regroup(cut.tail, 1)
    kept = _columns(tail)
    head = windows.regroup(windows.select(kept, cut.head), 1)
    fed = _columns(head)
    inputs = list(range(whole.inputs))
    made: list[Window] = []
    for number, stage in enumerate(stages, 1):
        count = len(inputs)
        if number == len(stages):
            matrices, bias = {d: m[:, kept] for d, m in tail.taps.items()}, tail.bias
        elif number == entry:
            matrices, bias = {d: m[:, inputs] for d, m in head.taps.items()}, head.bias
            inputs = kept
        else:
            outputs = fed if number < entry else kept
            matrices, bias = {(0,) * len(routes): _choice(outputs, inputs)}, np.zeros(len(outputs))
            inputs = outputs
        taps = {_tap(d, number, routes): m for d, m in matrices.items()}
        groups = count // next(iter(taps.values())).shape[1]
        slide = stage.slide
        made.append(windows.window(taps, bias, groups, count, stage.window.base, slide.stride, slide.slack))
    result = Plan(cut, entry, made)
    if not windows.equal(_travelled(links, result, whole), whole):
        raise Refusal("what its reserved channels carry is not what its skip path brings")
    return result


def _columns(source: Window) -> list[int]:
    """The input channels that a window without groups looks at."""
    used = np.zeros(source.inputs, bool)
    for matrix in source.taps.values():
        used |= matrix.any(axis=0)
    return [int(i) for i in np.flatnonzero(used)]


def _choice(outputs: list[int], inputs: list[int]) -> np.ndarray:
    """The matrix that picks channels; where all stay, in as many groups as there are."""
    if outputs == inputs:
        return np.ones((len(outputs), 1))
    return (np.array(outputs)[:, None] == np.array(inputs)).astype(np.float64)


def _tap(offset: Offset, number: int, routes: list[Route]) -> Offset:
    return tuple(route[number - 1][d] for d, route in zip(offset, routes, strict=True))


def _travelled(links: Sequence[Link], result: Plan, whole: Window) -> Window:
    """All layers of a plan as one window over the fork; a Refusal where it is not exact at the border."""
    current = windows.identity(whole.inputs, whole.base)
    layers = iter(result.windows)
    for link in links:
        if isinstance(link, Stage):
            current = windows.compose(current, next(layers))
        elif isinstance(link, Pick):
            current = windows.compose(current, _pick(link, current.outputs))
    return current


def _pick(link: Pick, channels: int) -> Window:
    """The same pixels of another number of channels."""
    (offset,), own = link.window.taps, link.window
    taps, bias = {offset: np.ones((channels, 1))}, np.zeros(channels)
    return windows.window(taps, bias, channels, channels, own.base, own.stride, own.slack)


# -- one axis -----------------------------------------------------------------------------------------------------


def _route(links: Sequence[Link], cut: Cut, entry: int, axis: int) -> Route:
    """The first route along one axis on which no layer looks at zeros in place of pixels, or the reverse."""
    refusal = Refusal("the pixels that its skip path looks at do not lie under the taps of its main path's kernels")
    for route in _routes(links, cut, entry, axis):
        try:
            _check(links, cut, entry, axis, route)
        except Refusal as reason:
            refusal = reason
        else:
            return route
    raise refusal


def _routes(links: Sequence[Link], cut: Cut, entry: int, axis: int) -> Iterator[Route]:
    """Every choice of taps that looks at the right pixels, taps at the middle first."""
    heads = sorted({d[axis] for d in cut.head.taps})
    tails = sorted({d[axis] for d in cut.tail.taps})
    steps = [link for link in links if not isinstance(link, Bend)]
    last = sum(isinstance(link, Stage) for link in steps)

    def walk(i: int, number: int, stride: int, first: int) -> Iterator[Route]:
        """Routes from step ``i`` on, where pixel p of what is carried lies at ``p * stride + first``."""
        step = steps[i]
        if isinstance(step, Pick):
            (offset,) = step.window.taps
            yield from walk(i + 1, number, stride * step.window.stride[axis], first + offset[axis] * stride)
            return
        grid, pace = step.slide.grid[axis], step.slide.stride[axis]
        if number == last:
            taps = _under(tails, grid, stride, first)
            if taps and stride * pace == cut.tail.stride[axis]:
                yield [taps]
        elif number == entry:
            # The head's pixel q lies at q * own of the fork: from here on pixels of the head are counted.
            own = cut.head.stride[axis]
            if stride * pace % own:
                return
            for tap in sorted(grid, key=abs):
                start, rest = divmod(tap * stride + first - heads[0], own)
                taps = _under([start * own + d for d in heads], grid, stride, first)
                if not rest and taps:
                    found = {d: taps[start * own + d] for d in heads}
                    for route in walk(i + 1, number + 1, stride * pace // own, start):
                        yield [found, *route]
        else:
            for tap in sorted(grid, key=abs):
                for route in walk(i + 1, number + 1, stride * pace, first + tap * stride):
                    yield [{0: tap}, *route]

    yield from walk(0, 1, 1, 0)


def _under(pixels: list[int], grid: range, stride: int, first: int) -> dict[int, int]:
    """For each pixel the tap that looks at it; nothing when one of them lies under none."""
    taps = {}
    for pixel in pixels:
        tap, rest = divmod(pixel - first, stride)
        if rest or tap not in grid:
            return {}
        taps[pixel] = tap
    return taps


def _check(links: Sequence[Link], cut: Cut, entry: int, axis: int, route: Route) -> None:
    """Compose one channel along one axis: a Refusal where a layer reads beyond an edge that is not zero."""
    one, shift = np.ones((1, 1)), np.array([float(cut.head.bias.any())])
    current = windows.identity(1, (cut.head.base[axis],))
    number = 0
    for link in links:
        if isinstance(link, Bend):
            continue
        taps = route[number].values() if isinstance(link, Stage) else (d[axis] for d in link.window.taps)
        number += isinstance(link, Stage)
        entered = isinstance(link, Stage) and number == entry
        slide = link.slide if isinstance(link, Stage) else link.window
        step = windows.window(
            {(d,): one for d in taps},
            shift if entered else np.zeros(1),
            1,
            1,
            (link.window.base[axis],),
            (slide.stride[axis],),
            (slide.slack[axis],),
        )
        current = windows.compose(current, step)
