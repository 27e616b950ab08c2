"""Measured FIFOs: as fast as with the depths computed, and slower or stuck with a word less in any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hls_backend.design import Design, Measured
from hls_backend.fifo import fifo_of
from hls_backend.layers import AddStreams, StreamingFIFO
from hls_backend.measure import _Search, measure
from hls_backend.simulate import Prepared, Simulation, Stopped, prepare
from passes.errors import UserError
from tests.hls_backend.rtl.test_modules import needs_verilator

COMPUTED = {"a": 40, "b": 6, "c": 8}


@dataclass
class Told:
    """A simulation whose FIFOs need what they are said to need: a 9 words, and 10 where it is built shallow; b two, and
    cannot go; c two. With fewer than twelve in a, only frames after the seventh are late."""

    depths: dict[str, int]
    frames: int

    @property
    def dataflow(self) -> SimpleNamespace:
        return SimpleNamespace(streams=[SimpleNamespace(name=name) for name in COMPUTED], width=lambda stream: 4)

    def run(self, rooms: dict[str, int]) -> SimpleNamespace:
        room = {name: rooms.get(fifo_of(name), depth) for name, depth in self.depths.items()}
        if room["a"] < 4:
            raise Stopped("stuck")
        late = room["b"] < 2 or room["a"] < 5 or (self.depths["a"] <= 32 and room["a"] < 10)
        ends = [100 * n + 10 * n * late + 30 * max(0, n - 7) * (room["a"] < 12) for n in range(1, self.frames + 1)]
        uses = [SimpleNamespace(name=fifo_of(name), used=n) for name, n in room.items()]
        return SimpleNamespace(ends=ends, fifos=uses)


def test_the_search_keeps_what_is_needed_when_it_is_built(residual: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Design, "depths", lambda design, implementation: COMPUTED)
    monkeypatch.setattr(_Search, "build", lambda search, depths, times=1: Told(depths, times * search.frames))
    found = measure(residual, Path(), 4).measured
    assert found is not None
    assert found.frames == 8, "of four, none is late"
    assert found.depths == {"a": 12, "b": 2, "c": 2}
    assert found.computed == COMPUTED
    assert found.interval == 100


def test_a_design_that_stops_anyway_is_not_measured(residual: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Design, "depths", lambda design, implementation: {"a": 3, "b": 6})
    monkeypatch.setattr(_Search, "build", lambda search, depths, times=1: Told(depths, times * search.frames))
    with pytest.raises(UserError, match="stops for good with the FIFO depths computed"):
        measure(residual, Path(), 4)


Sized = tuple[Design, Measured, Prepared]


@pytest.fixture(scope="module")
def sized(two_blocks: Design, tmp_path_factory: pytest.TempPathFactory) -> Sized:
    work = tmp_path_factory.mktemp("measured")
    design = measure(two_blocks, work, 4)
    assert design.measured is not None
    bench = prepare(design, design.vectors, work / "rtl", work / "simulation")
    return design, design.measured, bench


def steady(seen: Simulation) -> int:
    """Cycles from the second frame of four to the last."""
    return seen.ends[-1] - seen.ends[1]


def slower(bench: Prepared, rooms: dict[str, int], cycles: float) -> bool:
    """Whether two frames take longer, or never come."""
    try:
        return steady(bench.run(rooms=rooms)) > cycles
    except Stopped:
        return True


@needs_verilator
def test_every_join_keeps_a_fifo_and_none_is_deeper_than_computed(two_blocks: Design, sized: Sized) -> None:
    design, measured, _ = sized
    assert measured.computed == two_blocks.depths("rtl")
    assert all(depth <= measured.computed[name] for name, depth in measured.depths.items())
    assert sum(measured.depths.values()) < sum(measured.computed.values())
    dataflow = design.connected("rtl")
    built = {layer.name: layer.depth for layer in dataflow.layers if isinstance(layer, StreamingFIFO)}
    assert built == {fifo_of(name): depth for name, depth in measured.depths.items() if depth}
    joins = [layer for layer in dataflow.layers if isinstance(layer, AddStreams)]
    assert len(built) == len(joins) == 2


@needs_verilator
def test_frames_come_as_often_as_with_the_depths_computed(sized: Sized) -> None:
    _, measured, bench = sized
    seen = bench.run()
    assert seen.errors == 0
    assert steady(seen) == 2 * measured.interval


@needs_verilator
def test_one_word_less_in_any_fifo_is_slower(sized: Sized) -> None:
    _, measured, bench = sized
    for name, depth in measured.depths.items():
        if depth:
            assert steady(bench.run(rooms={fifo_of(name): depth})) == 2 * measured.interval
            assert slower(bench, {fifo_of(name): depth - 1}, 2 * measured.interval)


@needs_verilator
def test_far_less_is_a_deadlock(sized: Sized) -> None:
    _, measured, bench = sized
    deepest = max(measured.depths, key=lambda name: measured.depths[name])
    with pytest.raises(Stopped, match="a FIFO is too shallow"):
        bench.run(rooms={fifo_of(deepest): 2})


@needs_verilator
def test_other_implementations_keep_their_depths(two_blocks: Design, sized: Sized) -> None:
    design, _, _ = sized
    for implementation in ("hls", "finn"):
        assert design.depths(implementation) == two_blocks.depths(implementation)
    assert replace(design, measured=None).depths("rtl") == two_blocks.depths("rtl")
