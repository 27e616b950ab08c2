"""A dataflow is layers joined by streams, each port by exactly one."""

from __future__ import annotations

import numpy as np
import pytest

from hls_backend import Dataflow, End, Folding, Stream, insert_width_converters, run
from hls_backend.datatypes import least, named
from hls_backend.layers import (
    MVAU,
    AddStreams,
    ConvolutionInputGenerator,
    DuplicateStreams,
    FMPadding,
    Pool,
    Thresholding,
)

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


def test_a_flattened_image_passes_a_converter() -> None:
    shape = (2, 2, 3)
    act = Thresholding("act", (2, 2), np.tile([1, 2, 3], (3, 1)), 0, UINT2, UINT2, folding=Folding(pe=3))
    unit = MVAU("fc", (1, 1), np.ones((2, 12), np.int64), named("INT2"), UINT2, named("UINT6"), folding=Folding(1, 4))
    streams = (
        Stream("in", shape, UINT2, None, End("act")),
        Stream("x", shape, UINT2, End("act"), End("fc")),
        Stream("out", (1, 1, 2), unit.output_type, End("fc"), None),
    )
    joined = insert_width_converters(Dataflow("flat", (act, unit), streams))
    lanes = [(n.inputs[0].shape, n.inputs[0].lanes, n.outputs[0].shape, n.outputs[0].lanes) for n in joined.layers[1:3]]
    assert lanes == [(shape, 3, (1, 1, 12), 12), ((1, 1, 12), 12, (1, 1, 12), 4)]
    images = np.random.default_rng(0).integers(0, 4, (2, *shape))
    np.testing.assert_array_equal(run(joined, images)["out"][:, 0, 0, 0], images.sum(axis=(1, 2, 3)))


def test_depthwise_windows_follow_their_readers() -> None:
    window = ConvolutionInputGenerator("window", (4, 4), 6, UINT2, (2, 2), (2, 2), depthwise=True)
    pool = Pool("pool", (2, 2), 6, (2, 2), UINT2)
    streams = (
        Stream("in", (4, 4, 6), UINT2, None, End("window")),
        Stream("w", (2, 2, 24), UINT2, End("window"), End("pool")),
        Stream("out", (2, 2, 6), UINT2, End("pool"), None),
    )
    dataflow = Dataflow("pooling", (window, pool), streams)
    assert dataflow.fold({"pool": Folding(pe=3)}).layer("window").folding == Folding(simd=3)
    with pytest.raises(ValueError, match="brings 2 channels in turn and its consumer wants 3"):
        dataflow.fold({"pool": Folding(pe=3), "window": Folding(simd=2)})


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
