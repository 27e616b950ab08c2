"""Affine maps that slide over an image, as one kernel each: composed, added, put side by side.

A window maps a base f [N, I, S...] to t [N, O, T...], f being zero outside its bounds:

    t[o, p] = bias[o] + sum over offsets d and channels i of taps[d][o, i] * f[i, p * stride + d]

with T = floor((S + slack) / stride) + 1 on each axis. A convolution is one, and so are a strided slice, padding, an
average pool, batch normalisation. Kernels are kept as a few matrices, one an offset: dilation costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from passes.refusal import Refusal

Offset = tuple[int, ...]
Taps = Mapping[Offset, np.ndarray]


@dataclass(frozen=True)
class Window:
    """One sliding affine map.

    Attributes:
        taps: offset -> float64 [O, I / groups]; an offset that is not there has weight 0.
        bias: float64 [O].
        groups: output channels in this many equal blocks look each at one block of input channels.
        inputs: I.
        stride: pixels of the base for one of the output, per axis.
        slack: see above, per axis.
        base: the base's size per axis, None where unknown.
    """

    taps: Taps
    bias: np.ndarray
    groups: int
    inputs: int
    stride: Offset
    slack: Offset
    base: tuple[int | None, ...]

    @property
    def outputs(self) -> int:
        return len(self.bias)

    @property
    def size(self) -> tuple[int | None, ...]:
        """The output's size per axis, None where unknown."""
        return tuple(
            None if b is None else (b + c) // s + 1 for b, s, c in zip(self.base, self.stride, self.slack, strict=True)
        )

    @property
    def is_diagonal(self) -> bool:
        """Whether each output channel looks at the input channel of the same number only."""
        return self.groups == self.inputs == self.outputs


def window(
    taps: Taps,
    bias: np.ndarray,
    groups: int,
    inputs: int,
    base: tuple[int | None, ...],
    stride: Sequence[int] | None = None,
    slack: Sequence[int] | None = None,
) -> Window:
    """A window without the taps that are zero; by default one that keeps size and stride."""
    kept = {d: m for d, m in taps.items() if m.any()}
    ones, nothing = [1] * len(base), [-1] * len(base)
    return Window(kept, bias, groups, inputs, tuple(stride or ones), tuple(slack or nothing), base)


def identity(channels: int, base: tuple[int | None, ...]) -> Window:
    return scaling(np.ones(channels), base)


def scaling(scale: np.ndarray, base: tuple[int | None, ...], shift: np.ndarray | None = None) -> Window:
    """Each channel times its own number, plus its own number."""
    shift = np.zeros(len(scale)) if shift is None else shift
    return window({(0,) * len(base): scale[:, None]}, shift, len(scale), len(scale), base)


def mixing(matrix: np.ndarray, base: tuple[int | None, ...], bias: np.ndarray | None = None) -> Window:
    """A matrix [O, I] over channels, the same at each pixel."""
    bias = np.zeros(len(matrix)) if bias is None else bias
    return window({(0,) * len(base): matrix}, bias, 1, matrix.shape[1], base)


def compose(first: Window, second: Window) -> Window:
    """``second`` after ``first``, as one window over the base of ``first``.

    Raises:
        Refusal: when ``second`` looks beyond an edge where ``first``, seen as a formula, is not zero.
    """
    _demand_zero_beyond(first, second)
    taps: dict[Offset, np.ndarray] = {}
    bias = second.bias.copy()
    groups = _product_groups(first, second)
    for d2, m2 in second.taps.items():
        bias += _apply(m2, second.groups, first.bias)
        for d1, m1 in first.taps.items():
            offset = tuple(a + b * s for a, b, s in zip(d1, d2, first.stride, strict=True))
            product = _product(m1, first, m2, second, groups)
            taps[offset] = taps[offset] + product if offset in taps else product
    return window(
        taps,
        bias,
        groups,
        first.inputs,
        first.base,
        [a * b for a, b in zip(first.stride, second.stride, strict=True)],
        [c1 + s * (1 + c2) for c1, s, c2 in zip(first.slack, first.stride, second.slack, strict=True)],
    )


def _demand_zero_beyond(first: Window, second: Window) -> None:
    """Where ``second`` reads zeros around what ``first`` makes, the formula of ``first`` must give zero too."""
    for axis, (step, slack) in enumerate(zip(first.stride, first.slack, strict=True)):
        reads = [d[axis] for d in second.taps]
        if not reads:
            continue
        size, last = second.base[axis], second.size[axis]
        if size is None or last is None:  # then the farthest pixel read is at most size + slack + offset
            beyond = second.slack[axis] + max(reads) >= 0
        else:
            beyond = (last - 1) * second.stride[axis] + max(reads) >= size
        if min(reads) >= 0 and not beyond:
            continue
        if first.bias.any():
            raise Refusal("a shift would reach into the zero padding of the layer after it")
        offsets = [d[axis] for d in first.taps]
        base, made = first.base[axis], first.size[axis]
        if offsets and min(reads) < 0 and max(offsets) >= step:
            raise Refusal("the zero padding stands where the fork has pixels")
        if offsets and beyond:
            # The first pixel beyond lies at size * stride, which is at least base + slack + 1.
            margin = slack + 1 if base is None or made is None else made * step - base
            if margin + min(offsets) < 0:
                raise Refusal("the zero padding stands where the fork has pixels")


def add(a: Window, b: Window) -> Window:
    """The sum of two windows over one base; one channel is added to each.

    Raises:
        Refusal: when they do not stand on the same pixels.
    """
    demand_same_positions(a, b)
    if a.outputs != b.outputs:
        if 1 not in (a.outputs, b.outputs):
            raise Refusal(f"{a.outputs} and {b.outputs} channels cannot be added")
        channels = max(a.outputs, b.outputs)
        a, b = spread(a, channels), spread(b, channels)
    groups = math.gcd(a.groups, b.groups)
    a, b = regroup(a, groups), regroup(b, groups)
    taps = dict(a.taps)
    for offset, matrix in b.taps.items():
        taps[offset] = taps[offset] + matrix if offset in taps else matrix
    return window(taps, a.bias + b.bias, groups, a.inputs, a.base, a.stride, a.slack)


def concatenate(parts: Sequence[Window]) -> Window:
    """Windows over one base, channels side by side.

    Raises:
        Refusal: when they do not stand on the same pixels.
    """
    first = parts[0]
    for part in parts[1:]:
        demand_same_positions(first, part)
    full = [regroup(p, 1) for p in parts]
    offsets = dict.fromkeys(d for p in full for d in p.taps)
    none = [np.zeros((p.outputs, p.inputs)) for p in full]
    taps = {d: np.concatenate([p.taps.get(d, z) for p, z in zip(full, none, strict=True)]) for d in offsets}
    bias = np.concatenate([p.bias for p in full])
    return window(taps, bias, 1, first.inputs, first.base, first.stride, first.slack)


def constant(bias: np.ndarray, like: Window) -> Window:
    """A constant a channel that looks at nothing, on the pixels of ``like``."""
    return replace(like, taps={}, bias=bias)


def select(channels: Iterable[int | None], source: Window, fill: float = 0.0) -> Window:
    """The channels of ``source`` in this order; None stands for a channel of ``fill``."""
    wanted = list(channels)
    matrix = np.zeros((len(wanted), source.outputs))
    bias = np.zeros(len(wanted))
    for row, channel in enumerate(wanted):
        if channel is None:
            bias[row] = fill
        else:
            matrix[row, channel] = 1
    return compose(source, mixing(matrix, source.size, bias))


def demand_same_positions(a: Window, b: Window) -> None:
    """Raise a Refusal unless pixel p of one and of the other are the same multiple of the stride, p by p."""
    for axis, (x, y) in enumerate(zip(a.size, b.size, strict=True)):
        if x is None or y is None:
            if a.slack[axis] != b.slack[axis] and a.stride == b.stride:
                reason = "the two paths bring as many pixels only for some image sizes"
                raise Refusal(reason, "give the model's input a fixed size")
        elif x != y:
            raise Refusal(f"one path brings {show(a.size)} pixels, the other {show(b.size)}")
        if a.stride[axis] != b.stride[axis] and (x, y) != (1, 1):
            raise Refusal(f"one path steps by {show(a.stride)} pixels, the other by {show(b.stride)}")


def show(sizes: Iterable[int | None]) -> str:
    """Numbers per axis for a sentence, e.g. ``32x32``."""
    return "x".join("?" if s is None else str(s) for s in sizes) or "1"


def equal(a: Window, b: Window) -> bool:
    """Whether two windows over one base are one map (to rounding in float64)."""
    try:
        demand_same_positions(a, b)
    except Refusal:
        return False
    if a.outputs != b.outputs or not _close(a.bias, b.bias):
        return False
    a, b = regroup(a, 1), regroup(b, 1)
    nothing = np.zeros((a.outputs, a.inputs))
    return all(_close(a.taps.get(d, nothing), b.taps.get(d, nothing)) for d in {*a.taps, *b.taps})


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays differ by no more than rounding in float64 makes of their largest number."""
    largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return bool(np.abs(a - b).max(initial=0) <= 1e-9 * largest)


def regroup(source: Window, groups: int) -> Window:
    """The same map with another number of groups.

    Raises:
        Refusal: when it mixes channels of different groups.
    """
    if groups == source.groups:
        return source
    common = math.gcd(groups, source.groups)
    coarse = {d: _coarser(m, source.groups, common) for d, m in source.taps.items()}
    return replace(source, taps={d: _finer(m, common, groups) for d, m in coarse.items()}, groups=groups)


def _coarser(matrix: np.ndarray, groups: int, to: int) -> np.ndarray:
    """[O, I / groups] as [O, I / to], where ``to`` divides ``groups``."""
    if groups == to:
        return matrix
    rows, columns = matrix.shape
    each = groups // to
    wide = np.zeros((to, each, rows // groups, each, columns))
    blocks = matrix.reshape(to, each, rows // groups, columns)
    for i in range(each):
        wide[:, i, :, i] = blocks[:, i]
    return wide.reshape(rows, each * columns)


def _finer(matrix: np.ndarray, groups: int, to: int) -> np.ndarray:
    """[O, I / groups] as [O, I / to], where ``groups`` divides ``to``."""
    if groups == to:
        return matrix
    rows, columns = matrix.shape
    each = to // groups
    if rows % to == columns % each == 0:
        blocks = matrix.reshape(groups, each, rows // to, each, columns // each)
        narrow = np.stack([blocks[:, i, :, i] for i in range(each)], axis=1)
        if np.count_nonzero(narrow) == np.count_nonzero(matrix):
            return narrow.reshape(rows, columns // each)
    raise Refusal(f"it mixes channels of different groups, of which the layer has {to}")


def _product_groups(first: Window, second: Window) -> int:
    if second.is_diagonal:
        return first.groups
    if first.is_diagonal:
        return second.groups
    return math.gcd(first.groups, second.groups)


def _product(m1: np.ndarray, first: Window, m2: np.ndarray, second: Window, groups: int) -> np.ndarray:
    """``m2 @ m1`` for matrices kept by groups, as [O, I / groups]."""
    if second.is_diagonal:
        return m2 * m1
    if first.is_diagonal:
        return m2 * np.repeat(m1.reshape(groups, -1), len(m2) // groups, axis=0)
    left = _coarser(m2, second.groups, groups)
    right = _coarser(m1, first.groups, groups)
    product = np.matmul(left.reshape(groups, -1, left.shape[1]), right.reshape(groups, left.shape[1], right.shape[1]))
    return product.reshape(len(m2), right.shape[1])


def _apply(matrix: np.ndarray, groups: int, vector: np.ndarray) -> np.ndarray:
    """A matrix kept by groups times a vector of channels."""
    blocks = matrix.reshape(groups, -1, matrix.shape[1])
    result: np.ndarray = np.matmul(blocks, vector.reshape(groups, -1, 1)).reshape(-1)
    return result


def spread(source: Window, channels: int) -> Window:
    """One channel as ``channels`` equal ones."""
    if source.outputs == channels:
        return source
    single = regroup(source, 1)
    taps = {d: np.repeat(m, channels, axis=0) for d, m in single.taps.items()}
    return replace(single, taps=taps, bias=np.repeat(single.bias, channels))


def kernel(source: Window, grid: Sequence[Sequence[int]], groups: int) -> np.ndarray:
    """The taps as one array [O, I / groups, *kernel].

    Args:
        grid: per axis, the offsets at which the kernel has its taps.

    Raises:
        Refusal: when a tap lies elsewhere, or the groups cannot be had.
    """
    places: list[dict[int, int]] = [{offset: i for i, offset in enumerate(axis)} for axis in grid]
    for offset in source.taps:
        if not all(d in axis for d, axis in zip(offset, places, strict=True)):
            size = show(len(axis) for axis in grid)
            raise Refusal(f"the {size} kernel has no tap at offset {show(offset)}, where a pixel is looked at")
    source = regroup(source, groups)
    array = np.zeros((source.outputs, source.inputs // groups, *(len(axis) for axis in grid)))
    for offset, matrix in source.taps.items():
        index: tuple[int | slice, ...] = tuple(axis[d] for d, axis in zip(offset, places, strict=True))
        array[(slice(None), slice(None), *index)] = matrix
    return array
