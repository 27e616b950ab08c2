"""How parallel each layer is: the least cost that meets a rate.

Cost is estimated LUTs, then block RAMs, by `Layer.resources` of the layers, of the width converters that a folding
asks for and of the FIFOs at joins and in front of paddings (see `pads`). Layers are coupled only where a stream's two
ends pass different numbers of integers at once, so the cost is a sum of factors of one layer or of two neighbours, and
`elimination` finds its minimum exactly. What is not exact: FIFOs at joins are priced at the least depth, in pixels,
that the geometry asks for (see `sizing`; a folding may need a few pixels more for full rate), those in front of
paddings for the rate that was asked for, and in a graph where so many skips overlap that the tables would not fit into
memory, only the cheapest foldings of each layer are looked at.

Both `Layer.cycles` (our RTL) and `Layer.finn_cycles` (FINN's estimate) must meet the rate, and a matrix must get its
windows as fast as finn-hlslib's needs them (see `pace`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import floor

import numpy as np

from hls_backend import pads
from hls_backend.dataflow import Dataflow, Folding, Layer, Port, Stream
from hls_backend.elimination import Factor, TooLargeError, minimise
from hls_backend.layers import MVAU, VVAU, StreamingFIFO
from hls_backend.pace import pace, taken
from hls_backend.pace import unstalled as cycles
from hls_backend.parts import Part, part, parts
from hls_backend.resources import Resources
from hls_backend.sizing import pixels_at_least
from hls_backend.widths import converters
from passes.errors import UserError

Price = Callable[[Resources], float]
"""What is minimised; must be a sum over what it is given."""


def luts_first(cost: Resources) -> float:
    """LUTs, and among designs of equally many, block RAMs."""
    return cost.luts * 2.0**20 + cost.bram18


def worth(cost: Resources) -> float:
    """Both, a block RAM at what it is worth in LUTs."""
    return cost.worth


def blocks_first(cost: Resources) -> float:
    """Block RAMs, and among designs of equally many, LUTs."""
    return cost.bram18 * 2.0**28 + cost.luts


def fold_to_rate(dataflow: Dataflow, fps: float | None, clock_mhz: float, part: Part) -> Dataflow:
    """The cheapest folding for ``fps`` images a second that fits into ``part``.

    Where the one with fewest LUTs has more block RAMs than the part, one that trades LUTs for them is taken.

    Args:
        dataflow: of any folding.
        fps: images a second; None for the cheapest at any rate.
        clock_mhz: in MHz.
        part: that it must fit into.

    Raises:
        UserError: when no folding is fast enough, or none that is fits; names the best rate and the layer. When too
            many skips overlap, or ``fps`` is 0 or below.
    """
    if fps is not None and fps <= 0:
        raise UserError(f"A design of {fps:g} images/s is impossible; ask for more than 0, or for no rate.")
    search = _Search(dataflow)
    clock = clock_mhz * 1e6
    slowest = search.slowest_at_best
    limit = pace(dataflow.fold(search.single))
    budget = limit if fps is None else int(clock / fps * (1 + 2**-40))  # a rate that is printed can be asked for
    if cycles(slowest) > budget:
        raise UserError(
            f"{fps:,.10g} images/s at {clock_mhz:g} MHz leave {budget:,} cycles an image, and {slowest.op} "
            f"{slowest.name!r} takes {cycles(slowest):,} at its most parallel: the best rate that can be had is "
            f"{_rate(clock, cycles(slowest))} images/s; ask for less, or raise --clock-mhz."
        )
    found = search.fitting(budget, part)
    if found is not None:
        return found
    raise UserError(_too_large(search, budget, limit, clock, part))


def fold_to(dataflow: Dataflow, budget: int, price: Price = luts_first) -> Dataflow:
    """The cheapest folding in which no layer takes more than ``budget`` cycles an image (see `pace`).

    Args:
        dataflow: of any folding.
        budget: in cycles.
        price: what is minimised.

    Raises:
        ValueError: when a layer takes more at its most parallel.
        UserError: when too many skips overlap.
    """
    return _Search(dataflow).cheapest(budget, price)


def cost(dataflow: Dataflow, waiting: Mapping[str, int] | None = None) -> Resources:
    """The estimated cost of a folded dataflow with its width converters and FIFOs.

    Args:
        dataflow: with neither.
        waiting: pixels that FIFOs hold, by the stream's name; default: as `pixels_waiting` says.
    """
    waiting = pixels_waiting(dataflow) if waiting is None else waiting
    total = sum((layer.resources() for layer in dataflow.layers), Resources())
    for stream in dataflow.streams:
        source, target = dataflow.source_port(stream), dataflow.target_port(stream)
        if source and target:
            total += _between(stream, source, target, waiting)
    behind = _behind_matrices(dataflow)
    return sum((pads.resources(n, dataflow.cycles) for n in dataflow.layers if n.name in behind), total)


def _behind_matrices(dataflow: Dataflow) -> set[str]:
    """The layers with a matrix on a way to them: those that keep it waiting cost time."""
    found: set[str] = set()
    for layer in dataflow.layers:
        sources = [s.source.layer for s in dataflow.inputs_of(layer) if s.source]
        if any(n in found or isinstance(dataflow.layer(n), MVAU | VVAU) for n in sources):
            found.add(layer.name)
    return found


def pixels_waiting(dataflow: Dataflow) -> dict[str, int]:
    """The pixels that the FIFOs of our RTL hold, by the stream's name, whatever the folding."""
    return pixels_at_least(dataflow.fold({layer.name: Folding() for layer in dataflow.layers}), "rtl")


def _between(stream: Stream, source: Port, target: Port, waiting: Mapping[str, int]) -> Resources:
    """The cost of what stands between two ports."""
    total = sum((c.resources() for c in converters(stream.name, source, target)), Resources())
    pixels = waiting.get(stream.name, 0)
    if pixels:
        depth = pixels * target.shape[2] // target.lanes
        total += StreamingFIFO(stream.name, target.shape, stream.type, target.lanes, depth).resources()
    return total


@dataclass(frozen=True, eq=False)
class _Search:
    """The foldings of a dataflow's layers."""

    dataflow: Dataflow

    @cached_property
    def options(self) -> dict[str, list[Layer]]:
        """Each layer at each of its foldings."""
        return {n.name: [replace(n, folding=f) for f in n.foldings()] for n in self.dataflow.layers}

    @cached_property
    def costs(self) -> dict[str, list[Resources]]:
        """Of each layer at each of its foldings."""
        return {name: [option.resources() for option in options] for name, options in self.options.items()}

    @cached_property
    def behind(self) -> set[str]:
        return _behind_matrices(self.dataflow)

    @cached_property
    def waiting(self) -> dict[str, int]:
        return pixels_waiting(self.dataflow)

    @cached_property
    def single(self) -> dict[str, Folding]:
        """The folding that does one thing at a time."""
        return {layer.name: Folding() for layer in self.dataflow.layers}

    @cached_property
    def slowest_at_best(self) -> Layer:
        """The layer that is slowest when all are as fast as can be."""
        return max((min(options, key=cycles) for options in self.options.values()), key=cycles)

    def cheapest(self, budget: int, price: Price) -> Dataflow:
        """As `fold_to`."""
        for most in (None, 24, 8, 3):
            try:
                return self._cheapest(budget, price, most)
            except TooLargeError:
                continue
        raise UserError(
            f"Too many skips of {self.dataflow.name!r} overlap for a folding to be found; take some of them out with "
            "remove-skips or merge-skips."
        )

    def _cheapest(self, budget: int, price: Price, most: int | None) -> Dataflow:
        options, priced = self._affordable(budget, price, most)
        factors = [Factor((name,), np.array(prices)) for name, prices in priced.items()]
        for stream in self.dataflow.streams:
            if stream.source and stream.target:
                factors.append(self._coupling(stream, options, budget, price))
        total, chosen = minimise({name: len(found) for name, found in options.items()}, factors)
        if not np.isfinite(total):
            raise ValueError(f"no folding of {self.dataflow.name!r} takes {budget} cycles or less")
        return self.dataflow.fold({name: options[name][number].folding for name, number in chosen.items()})

    def _affordable(
        self, budget: int, price: Price, most: int | None
    ) -> tuple[dict[str, list[Layer]], dict[str, list[float]]]:
        """Each layer at the foldings that are fast enough, and their prices; at most ``most``, of the cheapest."""
        options: dict[str, list[Layer]] = {}
        priced: dict[str, list[float]] = {}
        for name, layers in self.options.items():
            fast = [
                (price(c + pads.resources(n, budget) if name in self.behind else c), n)
                for n, c in zip(layers, self.costs[name], strict=True)
                if cycles(n) <= budget
            ]
            if not fast:
                raise ValueError(f"{name} takes more than {budget} cycles at any folding")
            fast = sorted(fast, key=lambda pair: pair[0])[:most]
            options[name], priced[name] = [n for _, n in fast], [p for p, _ in fast]
        return options, priced

    def _coupling(self, stream: Stream, options: dict[str, list[Layer]], budget: int, price: Price) -> Factor:
        """What each pair of foldings of a stream's two ends costs between them."""
        assert stream.source is not None, "a layer makes it"
        assert stream.target is not None, "a layer reads it"
        sources = [layer.outputs[stream.source.port] for layer in options[stream.source.layer]]
        targets = [layer.inputs[stream.target.port] for layer in options[stream.target.layer]]
        known: dict[tuple[int, int, int, int], float] = {}
        table = np.empty((len(sources), len(targets)))
        for i, source in enumerate(sources):
            for j, target in enumerate(targets):
                key = (source.lanes, target.lanes, source.interleave, target.interleave)
                if key not in known:
                    fits = source.interleave == target.interleave
                    known[key] = price(_between(stream, source, target, self.waiting)) if fits else np.inf
                late = taken(options[stream.source.layer][i], options[stream.target.layer][j]) > budget
                table[i, j] = np.inf if late else known[key]
        return Factor((stream.source.layer, stream.target.layer), table)

    def fitting(self, budget: int, part: Part) -> Dataflow | None:
        """The cheapest folding that is fast enough and fits, if there is one."""
        for price in (luts_first, worth, blocks_first):
            found = self.cheapest(budget, price)
            if _fits(cost(found, self.waiting), part):
                return found
        return None

    def best_that_fits(self, slow: int, fast: int, part: Part) -> Dataflow | None:
        """The fastest folding that fits, of those that take more than ``fast`` and at most ``slow`` cycles."""
        every = {c for options in self.options.values() for c in map(cycles, options)}
        for stream in self.dataflow.streams:
            if stream.source and stream.target:
                pairs = product(self.options[stream.source.layer], self.options[stream.target.layer])
                every |= {taken(source, target) for source, target in pairs}
        rates = sorted(c for c in every if fast < c <= slow)
        best = None
        low, high = 0, len(rates) - 1
        while low <= high:
            middle = (low + high) // 2
            found = self.fitting(rates[middle], part)
            if found is None:
                low = middle + 1
            else:
                best, high = found, middle - 1
        return best


def _fits(cost: Resources, part: Part) -> bool:
    return cost.luts <= part.luts and cost.bram18 <= part.bram18


def _too_large(search: _Search, budget: int, limit: int, clock: float, part: Part) -> str:
    """What to say where no folding that is fast enough fits."""
    least = search.cheapest(budget, worth)
    needed = cost(least, search.waiting)
    largest = max(least.layers, key=lambda layer: layer.resources().worth)
    best = search.best_that_fits(limit, budget, part)
    larger = _larger(needed)
    remedy = f"or choose a larger part, e.g. --part {larger}" if larger else "or use fewer bits"
    rate = "no rate fits"
    if best is not None:
        rate = f"the best rate that fits is {_rate(clock, pace(best))} images/s"
    return (
        f"{_rate(clock, budget)} images/s need about {needed.luts:,} LUTs and {needed.bram18:,} BRAM18, and "
        f"{part.name} has {part.luts:,} and {part.bram18:,} ({largest.op} {largest.name!r} takes the most): "
        f"{rate}; ask for less, {remedy}."
    )


def _larger(needed: Resources) -> str:
    """The smallest part that holds so much; empty where none does."""
    enough = [p for p in map(part, parts()) if _fits(needed, p)]
    return min(enough, key=lambda p: p.luts).name if enough else ""


def _rate(clock: float, cycles: int) -> str:
    return f"{floor(clock / cycles * 10) / 10:,.1f}"  # rounded up it could not be had
