"""Folding finds the least cost that meets a rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import onnx
import pytest

from hls_backend import Dataflow, Folding, Resources, elimination, insert_width_converters, lower
from hls_backend.elimination import Factor, minimise
from hls_backend.fifo import insert_fifos
from hls_backend.folding import blocks_first, cost, fold_to, fold_to_rate, luts_first, pixels_waiting, worth
from hls_backend.layers import MVAU, AddStreams, ConvolutionInputGenerator, StreamingFIFO
from hls_backend.pace import pace, unstalled
from hls_backend.parts import part
from passes.errors import UserError
from tests.hls_backend.graphs import Net


def chain() -> onnx.ModelProto:
    """A convolution and a layer that reads all of its image."""
    net = Net((2, 3, 3))
    y = net.quant(net.conv(net.quant("x", 0.25, 3), 2, 4, (2, 2)), 0.25, 2)
    return net.model(net.dense(net.node("Flatten", y), 16, 2))


def skip() -> onnx.ModelProto:
    """A skip over one convolution."""
    net = Net((2, 4, 4))
    x = net.quant("x", 0.25, 2)
    y = net.quant(net.conv(x, 2, 2, pads=[1] * 4), 0.25, 4, signed=True)
    return net.model(net.quant(net.node("Relu", net.node("Add", y, x)), 0.5, 2))


def depthwise() -> onnx.ModelProto:
    """A depthwise convolution and a pooling, whose windows must follow them."""
    net = Net((4, 4, 4))
    y = net.quant(net.conv(net.quant("x", 0.25, 3), 4, 4, groups=4), 0.25, 2)
    return net.model(net.node("MaxPool", y, kernel_shape=[2, 2]))


def all_foldings(dataflow: Dataflow) -> list[Dataflow]:
    """Each of them that is legal; those whose windows do not follow their readers are not."""
    found = []
    choices = [[(n.name, f) for f in n.foldings()] for n in dataflow.layers]
    for choice in product(*choices):
        try:
            found.append(dataflow.fold(dict(choice)))
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("network", [chain, skip, depthwise])
def test_no_folding_that_is_as_fast_costs_less(network: Callable[[], onnx.ModelProto]) -> None:
    dataflow = lower(network()).dataflow
    waiting = pixels_waiting(dataflow)
    assert bool(waiting) == (network is skip)
    every = [(pace(d), cost(d, waiting)) for d in all_foldings(dataflow)]
    rates = sorted({time for time, _ in every})
    assert len(every) > 50
    assert len(rates) > 2
    for budget in rates[:: max(1, len(rates) // 4)]:
        for price in (luts_first, worth, blocks_first):
            found = fold_to(dataflow, budget, price)
            assert pace(found) <= budget
            assert price(cost(found, waiting)) == min(price(c) for time, c in every if time <= budget)


def test_the_cost_is_that_of_the_layers_converters_and_fifos() -> None:
    dataflow = lower(skip()).dataflow
    add = next(n for n in dataflow.layers if isinstance(n, AddStreams))
    folded = dataflow.fold({add.name: Folding(pe=2)})
    connected = insert_fifos(insert_width_converters(folded), {dataflow.inputs_of(add)[1].name: 6})
    assert any(isinstance(n, StreamingFIFO) for n in connected.layers)
    total = sum((n.resources() for n in connected.layers), Resources())
    assert cost(folded, {dataflow.inputs_of(add)[1].name: 6}) == total


def test_a_rate_out_of_reach_names_the_layer_and_the_best() -> None:
    dataflow = lower(chain()).dataflow
    slowest = max(min(map(unstalled, (replace(n, folding=f) for f in n.foldings()))) for n in dataflow.layers)
    with pytest.raises(UserError, match="A design of 0 images/s is impossible; ask for more than 0"):
        fold_to_rate(dataflow, 0, 100, part("xc7z020"))
    with pytest.raises(UserError) as raised:
        fold_to_rate(dataflow, 1e8, 100, part("xc7z020"))
    text = str(raised.value)
    assert text.startswith("100,000,000 images/s at 100 MHz leave 1 cycles an image, and ")
    rate = text.split(f"takes {slowest} at its most parallel: the best rate that can be had is ")[1].split(" ")[0]
    assert rate == f"{1e8 // (slowest / 10) / 10:,.1f}"
    for asked in (float(rate.replace(",", "")), 1e8 / slowest):
        assert pace(fold_to_rate(dataflow, asked, 100, part("xc7z020"))) == slowest


@pytest.mark.parametrize("cycles", [7, 11])
def test_a_rate_that_was_printed_can_be_asked_for(cycles: int) -> None:
    net = Net((cycles,))
    dataflow = lower(net.model(net.dense(net.quant("x", 0.5, 2), cycles, 1))).dataflow
    assert dataflow.cycles == cycles
    assert fold_to_rate(dataflow, 1e8 / cycles, 100, part("xc7z020")).cycles == cycles


def test_a_design_beyond_the_part_names_the_best_rate_that_fits() -> None:
    dataflow = lower(chain()).dataflow
    tiny = replace(part("xc7z010"), luts=cost(fold_to(dataflow, 60)).luts)
    assert cost(fold_to_rate(dataflow, 1e8 / 60, 100, tiny)).luts <= tiny.luts
    with pytest.raises(UserError, match=r"LUTs .* takes the most.* ask for less, or choose a larger part") as raised:
        fold_to_rate(dataflow, 1e8 / 24, 100, tiny)
    rate = float(str(raised.value).split("the best rate that fits is ")[1].split(" ")[0].replace(",", ""))
    assert cost(fold_to_rate(dataflow, rate - 0.1, 100, tiny)).luts <= tiny.luts
    faster = [cost(d) for d in all_foldings(dataflow) if 1e8 / pace(d) > rate + 0.1]
    assert all(c.luts > tiny.luts for c in faster)
    assert faster


def test_skips_that_overlap_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elimination, "LARGEST", 1)
    with pytest.raises(UserError, match=r"^Too many skips of .* overlap .* remove-skips or merge-skips\.$"):
        fold_to_rate(lower(chain()).dataflow, 1000, 100, part("xc7z020"))


def test_without_a_rate_it_is_the_smallest() -> None:
    dataflow = lower(chain()).dataflow
    found = cost(fold_to_rate(dataflow, None, 100, part("xc7z020")))
    assert luts_first(found) == min(luts_first(cost(d)) for d in all_foldings(dataflow))


def test_lanes_of_neighbours_agree_where_that_is_cheapest() -> None:
    dataflow = lower(skip()).dataflow
    found = fold_to(dataflow, 200)
    unit = next(n for n in found.layers if isinstance(n, MVAU))
    window = next(n for n in found.layers if isinstance(n, ConvolutionInputGenerator))
    assert unit.inputs[0].lanes == window.outputs[0].lanes


def test_a_matrix_gets_its_windows_in_time() -> None:
    """A matrix of 8 outputs goes over a window of 72 eight times, and takes it in the first time."""
    net = Net((8, 6, 6))
    dataflow = lower(net.model(net.quant(net.conv(net.quant("x", 0.25, 2), 8, 8), 0.25, 2))).dataflow
    window = next(n for n in dataflow.layers if isinstance(n, ConvolutionInputGenerator))
    unit = next(n for n in dataflow.layers if isinstance(n, MVAU))
    slow = dataflow.fold({unit.name: Folding(pe=1, simd=8)})
    assert slow.cycles == 16 * 72
    assert pace(slow) == 16 * (72 * 7 // 8 + 72), "9 words a window, which come one number at a time"
    assert pace(slow.fold({window.name: Folding(simd=8), unit.name: Folding(pe=1, simd=8)})) == slow.cycles
    assert pace(fold_to(dataflow, slow.cycles)) <= slow.cycles


def test_elimination_finds_the_least_sum_on_any_graph() -> None:
    rng = np.random.default_rng(0)
    sizes = {"a": 2, "b": 3, "c": 4, "d": 2, "e": 3}
    for _ in range(20):
        pairs = [tuple(rng.permutation(list(sizes))[:2]) for _ in range(6)] + [("e",)]
        factors = [Factor(p, rng.integers(0, 50, [sizes[v] for v in p]).astype(float)) for p in pairs]
        total, chosen = minimise(sizes, factors)

        def value(choice: dict[str, int], factors: list[Factor] = factors) -> float:
            return sum(float(f.costs[tuple(choice[v] for v in f.variables)]) for f in factors)

        every = [dict(zip(sizes, c, strict=True)) for c in product(*(range(n) for n in sizes.values()))]
        assert total == value(chosen) == min(map(value, every))
