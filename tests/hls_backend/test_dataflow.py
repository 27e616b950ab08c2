"""A dataflow is layers joined by streams, each port by exactly one."""

from __future__ import annotations

import numpy as np
import pytest

from hls_backend import Dataflow, End, Folding, Stream, insert_width_converters, run
from hls_backend.datatypes import least, named
from hls_backend.layers import AddStreams, DuplicateStreams, FMPadding, Thresholding

UINT2 = named("UINT2")
SHAPE = (4, 4, 6)


def doubled() -> Dataflow:
    """x + x, then down to two bits again."""
    fork = DuplicateStreams("fork", SHAPE, UINT2)
    add = AddStreams("add", SHAPE, (UINT2, UINT2))
    act = Thresholding("act", (4, 4), np.tile([2, 4, 6], (6, 1)), 0, add.output_type, UINT2)
    streams = (
        Stream("in", SHAPE, UINT2, None, End("fork")),
        Stream("a", SHAPE, UINT2, End("fork", 0), End("add", 0)),
        Stream("b", SHAPE, UINT2, End("fork", 1), End("add", 1)),
        Stream("sum", SHAPE, add.output_type, End("add"), End("act")),
        Stream("out", SHAPE, UINT2, End("act"), None),
    )
    return Dataflow("doubled", (fork, add, act), streams)


def test_it_runs_in_integers() -> None:
    images = np.random.default_rng(0).integers(0, 4, (3, *SHAPE))
    found = run(doubled(), images, keep=True)
    np.testing.assert_array_equal(found["sum"], 2 * images)
    np.testing.assert_array_equal(found["out"], images)
    assert set(run(doubled(), images)) == {"out"}


def test_width_converters_join_lanes_that_differ() -> None:
    folded = doubled().fold({"fork": Folding(pe=2), "add": Folding(pe=6), "act": Folding(pe=6)})
    joined = insert_width_converters(folded)
    assert [n.name for n in joined.layers] == ["fork", "a_dwc", "b_dwc", "add", "act"]
    for stream in joined.streams:
        source, target = joined.source_port(stream), joined.target_port(stream)
        assert source is None or target is None or source.lanes == target.lanes
    images = np.random.default_rng(0).integers(0, 4, (2, *SHAPE))
    np.testing.assert_array_equal(run(joined, images)["out"], images)


def test_lanes_that_are_no_multiples_go_by_way_of_both() -> None:
    folded = doubled().fold({"fork": Folding(pe=2), "add": Folding(pe=3), "act": Folding(pe=3)})
    joined = insert_width_converters(folded)
    lanes = [(n.inputs[0].lanes, n.outputs[0].lanes) for n in joined.layers if n.name.startswith("a_dwc")]
    assert lanes == [(2, 6), (6, 3)]


def test_an_illegal_folding_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be folded"):
        doubled().fold({"add": Folding(pe=4)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s[:-1], "outputs that are not joined"),
        (lambda s: (*s, Stream("more", SHAPE, UINT2, None, End("add", 1))), "inputs that are not joined"),
        (lambda s: (*s[:-1], Stream("in", SHAPE, UINT2, End("act"), None)), "two streams are called 'in'"),
        (lambda s: (*s[:-1], Stream("out", (4, 4, 5), UINT2, End("act"), None)), "one of its ends"),
        (lambda s: (*s[:-1], Stream("out", SHAPE, named("UINT3"), End("act"), None)), "one of its ends"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, said) -> None:  # type: ignore[no-untyped-def]
    good = doubled()
    with pytest.raises(ValueError, match=said):
        Dataflow("broken", good.layers, change(good.streams))


def test_layers_must_be_in_order() -> None:
    good = doubled()
    with pytest.raises(ValueError, match="comes after"):
        Dataflow("broken", good.layers[::-1], good.streams)


def test_zeros_cannot_pad_what_has_no_zero() -> None:
    with pytest.raises(ValueError, match="cannot be padded"):
        FMPadding("pad", (4, 4), 2, named("BIPOLAR"), (1, 1, 1, 1))


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [
        (0, 1, "BINARY"), (0, 2, "UINT2"), (0, 255, "UINT8"), (0, 256, "UINT9"), (-1, 0, "INT2"), (-1, 1, "INT2"),
        (-2, 1, "INT2"), (-2, 2, "INT3"), (-128, 127, "INT8"), (-129, 0, "INT9"), (-1, 128, "INT9"),
    ],
)  # fmt: skip
def test_the_least_type_of_a_range(low: int, high: int, name: str) -> None:
    assert least(low, high) == named(name)
    assert named(name).min() <= low
    assert high <= named(name).max()
