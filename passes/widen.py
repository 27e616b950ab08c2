"""The weights of a widened block: the layers' own channels and, among them, the reserved ones.

A channel of a widened tensor is named by one number: 0..M-1 for the layer's own M channels, M + r for reserved channel
r, and -1 for one that is always zero, which fills a group. In which order they stand follows from the groups of the
layers on both sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from passes import windows
from passes.chain import Stage
from passes.refusal import Refusal

_ZERO = -1
_APART = "its layers keep channels in groups that do not go together"
Order = list[int]


@dataclass(frozen=True)
class Wide:
    """A layer of a widened block.

    Attributes:
        weight: float64 [O, I / groups, *kernel].
        bias: float64 [O].
        groups: of the widened layer.
        order: its output channels, named as above.
    """

    weight: np.ndarray
    bias: np.ndarray
    groups: int
    order: Order


@dataclass(frozen=True)
class _Reserve:
    """What a layer does with reserved channels, as single weights: very few of all that there could be.

    Attributes:
        bias: [R], one for each row: a reserved output channel, or an output of the last layer.
        inputs: how many reserved channels come in.
        rows, columns, taps, values: of each weight the row, the reserved input channel, the place in the flattened
            kernel and the number.
    """

    bias: np.ndarray
    inputs: int
    rows: np.ndarray
    columns: np.ndarray
    taps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.bias)

    @cached_property
    def reads(self) -> list[list[int]]:
        """The reserved input channels that each row looks at."""
        result: list[set[int]] = [set() for _ in self.bias]
        for row, column in zip(self.rows.tolist(), self.columns.tolist(), strict=True):
            result[row].add(column)
        return [sorted(columns) for columns in result]


def _reserve(source: windows.Window, grid: Sequence[Sequence[int]]) -> _Reserve:
    flat = {offset: i for i, offset in enumerate(itertools.product(*grid))}
    parts: list[tuple[np.ndarray, ...]] = [(np.zeros(0, int),) * 3 + (np.zeros(0),)]
    for offset, matrix in source.taps.items():
        rows, columns = np.nonzero(matrix)
        # A row of group g looks at the columns of group g.
        shift = rows // (source.outputs // source.groups) * matrix.shape[1]
        parts.append((rows, columns + shift, np.full(len(rows), flat[offset]), matrix[rows, columns]))
    return _Reserve(source.bias, source.inputs, *(np.concatenate(p) for p in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Layer:
    """A layer, own [O, I / groups, *kernel], and its reserve."""

    own: np.ndarray
    bias: np.ndarray
    groups: int
    reserve: _Reserve

    @property
    def inputs(self) -> int:
        """Channels that the layer itself reads of each group."""
        return int(self.own.shape[1])

    @property
    def outputs(self) -> int:
        """Channels that the layer itself makes of each group."""
        return len(self.own) // self.groups


def widen(stages: Sequence[Stage], reserve: Sequence[windows.Window]) -> list[Wide]:
    """The layers with reserved channels.

    Args:
        reserve: what each layer does with reserved channels, see `reserve.Plan.windows`.

    Raises:
        Refusal: when groups cannot take the reserved channels in.
    """
    layers = []
    for stage, extra in zip(stages, reserve, strict=True):
        grid, groups = stage.slide.grid, stage.window.groups
        own = windows.kernel(stage.window, grid, groups)
        layers.append(_Layer(own, stage.window.bias, groups, _reserve(extra, grid)))
    wanted = _wanted(layers)
    fork = list(range(layers[0].inputs * layers[0].groups))
    orders = [fork]
    result = []
    for number, layer in enumerate(layers, 1):
        last = number == len(layers)
        if last:
            order, groups = [*range(len(layer.own))], layer.groups
        else:
            order, groups = _made(layer, number, orders[-1], wanted[number])
        orders.append(order)
        # The fork's channels are the reserve of the first layer's input.
        offset = 0 if number == 1 else len(layers[number - 2].own)
        result.append(_build(layer, orders[-2], order, groups, offset, last))
    return result


def _wanted(layers: list[_Layer]) -> list[Order | None]:
    """For the tensor after each layer (from 1) the order that suits the layers behind it; None where any will do."""
    wanted: list[Order | None] = [None] * (len(layers) + 1)
    for number in range(len(layers) - 1, 0, -1):
        reader, own, behind = layers[number], len(layers[number - 1].own), wanted[number + 1]
        if reader.groups == 1:
            continue
        if number + 1 == len(layers):
            wanted[number] = _by_group_of_readers(reader, own)
        elif reader.inputs == reader.outputs == 1:
            wanted[number] = behind
        elif behind is not None:
            wanted[number] = _by_group_of_carriers(reader, own, behind)
        elif reader.inputs > 1:
            wanted[number] = [*range(own), *_groups_of_their_own(reader, own)]
    return wanted


def _groups_of_their_own(layer: _Layer, own: int) -> Order:
    """Reserved channels in groups as large as the layer's, none with more than a group can make."""
    reserved = [own + r for r in range(layer.reserve.inputs)]
    each = min(layer.inputs, layer.outputs)
    groups = [reserved[i : i + each] for i in range(0, len(reserved), each)]
    return [channel for group in groups for channel in group + [_ZERO] * (layer.inputs - len(group))]


def _by_group_of_carriers(layer: _Layer, own: int, behind: Order) -> Order:
    """For a layer with groups in the middle: reserved channels in the groups that make what carries them on."""
    size = len(behind) // layer.groups
    shares: list[Order] = []
    for group in range(layer.groups):
        rows = [c - len(layer.own) for c in behind[group * size : (group + 1) * size] if c >= len(layer.own)]
        shares.append([own + c for row in rows for c in layer.reserve.reads[row]])
    return _interleaved(shares, layer.inputs)


def _by_group_of_readers(layer: _Layer, own: int) -> Order:
    """For a last layer with groups: behind the channels of each group the reserved ones that its outputs add."""
    users: dict[int, set[int]] = {}
    for row in range(len(layer.reserve)):
        for channel in layer.reserve.reads[row]:
            users.setdefault(channel, set()).add(row // layer.outputs)
    if any(len(groups) > 1 for groups in users.values()):
        raise Refusal("its skip path mixes channels that its last layer keeps in groups")
    shares = [[own + c for c, groups in sorted(users.items()) if group in groups] for group in range(layer.groups)]
    return _interleaved(shares, layer.inputs)


def _interleaved(shares: list[Order], each: int) -> Order:
    """Blocks of ``each`` own channels, behind each its share of the reserve, filled up to one length."""
    longest = max(len(share) for share in shares)
    order: Order = []
    for group, share in enumerate(shares):
        order += [*range(group * each, (group + 1) * each), *share, *[_ZERO] * (longest - len(share))]
    return order


def _made(layer: _Layer, number: int, inputs: Order, wanted: Order | None) -> tuple[Order, int]:
    """The order in which a layer, not the last, makes its channels, and in how many groups.

    Only a layer without groups can make the order that is wanted; whether another one's will do is seen later.
    """
    own = len(layer.own)
    if layer.groups == 1:
        return wanted or [*range(own + len(layer.reserve))], 1
    if number == 1:
        return _by_group_of_inputs(layer), layer.groups
    blocks = _blocks(layer, inputs)
    return _alike(layer, blocks), len(blocks)


def _blocks(layer: _Layer, inputs: Order) -> list[Order]:
    """The groups of a widened layer in the middle: its own with reserved channels in each, or more of the same size."""
    for size in sorted({layer.inputs, len(inputs) // layer.groups}):
        blocks = [inputs[i : i + size] for i in range(0, len(inputs), size)]
        heads = sorted(block[: layer.inputs] for block in blocks if 0 <= block[0] < layer.inputs * layer.groups)
        own = [[*range(g * layer.inputs, (g + 1) * layer.inputs)] for g in range(layer.groups)]
        if heads == own and len(blocks[-1]) == size:
            return blocks
    raise Refusal(_APART)


def _by_group_of_inputs(layer: _Layer) -> Order:
    """For a first layer with groups: each group makes, behind its own channels, those it carries of the fork."""
    shares: list[Order] = [[] for _ in range(layer.groups)]
    for row in range(len(layer.reserve)):
        groups = {channel // layer.inputs for channel in layer.reserve.reads[row]}
        if len(groups) > 1:
            raise Refusal("its skip path mixes channels that its first layer keeps in groups")
        shares[min(groups, default=0)].append(len(layer.own) + row)
    return _interleaved(shares, layer.outputs)


def _alike(layer: _Layer, blocks: list[Order]) -> Order:
    """What a layer with groups in the middle makes: each group its own channels, then what it carries."""
    own_inputs = layer.inputs * layer.groups
    carriers: dict[int, int] = {}
    for row in range(len(layer.reserve)):
        reads = layer.reserve.reads[row]
        if len(reads) != 1 or reads[0] in carriers:
            raise Refusal("its skip path mixes channels where a layer with groups carries it")
        carriers[reads[0]] = len(layer.own) + row
    made: list[Order] = []
    for block in blocks:
        group = block[0] // layer.inputs
        own = range(group * layer.outputs, (group + 1) * layer.outputs) if 0 <= block[0] < own_inputs else []
        made.append([*own, *(carriers[c - own_inputs] for c in block if c - own_inputs in carriers)])
    longest = max(len(m) for m in made)
    return [channel for m in made for channel in m + [_ZERO] * (longest - len(m))]


def _build(layer: _Layer, inputs: Order, outputs: Order, groups: int, offset: int, last: bool) -> Wide:
    """Fill the arrays.

    Args:
        offset: what names reserved input channel 0.
        last: whether reserved channels are added to the layer's own output instead of standing beside it.

    Raises:
        Refusal: when a channel stands in another group than those that need it.
    """
    columns, rows, own = len(inputs) // groups, len(outputs) // groups, len(layer.own)
    if columns * groups != len(inputs):
        raise Refusal(_APART)
    come, go = _places(inputs), _places(outputs)

    def within(places: np.ndarray, rows_of: np.ndarray) -> np.ndarray:
        """Where channels at these places stand in the groups of these rows."""
        inside = places - rows_of // rows * columns
        if inside.size and (inside.min() < 0 or inside.max() >= columns):
            raise Refusal(_APART)
        return inside

    size = int(np.prod(layer.own.shape[2:]))
    weight, bias = np.zeros((len(outputs), columns, size)), np.zeros(len(outputs))
    made = go[:own, None]
    first = np.arange(own)[:, None] // layer.outputs * layer.inputs
    weight[made, within(come[first + np.arange(layer.inputs)], made)] = layer.own.reshape(own, layer.inputs, size)
    bias[made[:, 0]] = layer.bias
    reserve = layer.reserve
    start = 0 if last else own
    made = go[start + reserve.rows]
    weight[made, within(come[offset + reserve.columns], made), reserve.taps] += reserve.values
    bias[go[start + np.arange(len(reserve))]] += reserve.bias
    return Wide(weight.reshape(len(outputs), columns, *layer.own.shape[2:]), bias, groups, outputs)


def _places(order: Order) -> np.ndarray:
    """Where each channel stands."""
    places = np.zeros(max(order) + 1, int)
    for place, channel in enumerate(order):
        if channel != _ZERO:
            places[channel] = place
    return places
