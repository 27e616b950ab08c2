"""Types that FINN takes."""

from __future__ import annotations

import numpy as np
import pytest

from hls_backend import Dataflow, End, Stream
from hls_backend.datatypes import named
from hls_backend.design import Design
from hls_backend.execute import run
from hls_backend.finn.fifos import inserted
from hls_backend.finn.graph import hardware_graph
from hls_backend.finn.types import as_finn_takes
from hls_backend.layers import AddStreams, ChannelwiseOp, DuplicateStreams, Thresholding
from passes.errors import UserError
from tests.hls_backend.checks import only
from tests.hls_backend.finn.conftest import Designer


def test_the_narrower_input_is_widened(the_block: Designer) -> None:
    design = the_block()
    before = only(design.dataflow, AddStreams)
    assert [t.name for t in before.types] == ["INT4", "UINT2"]
    equal = as_finn_takes(design.dataflow, "finn-main")
    after, widening = only(equal, AddStreams), only(equal, ChannelwiseOp)
    assert [t.name for t in after.types] == ["INT4", "INT4"]
    assert widening.input_type.name == "UINT2"
    assert widening.folding == after.folding
    np.testing.assert_array_equal(run(equal, design.vectors.inputs)[equal.outputs[0].name], design.vectors.outputs)


def test_equal_ones_stay(the_block: Designer) -> None:
    dataflow = as_finn_takes(the_block().dataflow, "finn-main")
    again = as_finn_takes(dataflow, "finn-main")
    assert [n.name for n in again.layers] == [n.name for n in dataflow.layers]


def test_for_finn_plus_inputs_of_a_join_may_differ(the_block: Designer) -> None:
    dataflow = the_block().dataflow
    assert as_finn_takes(dataflow, "finn-plus").layers == dataflow.layers


def test_zeros_and_ones_are_two_bits_wide(one_bit_block: Design) -> None:
    before = one_bit_block.dataflow
    assert {s.type.name for s in before.streams} >= {"BINARY"}
    after = as_finn_takes(before, "finn-plus")
    assert "BINARY" not in {s.type.name for s in after.streams}
    inputs = one_bit_block.vectors.inputs
    np.testing.assert_array_equal(run(after, inputs)[after.outputs[0].name], one_bit_block.vectors.outputs)


def test_what_float32_does_not_hold_is_refused() -> None:
    layer = Thresholding("t", (1, 1), np.array([[2**25]]), 0, named("INT30"), named("UINT2"))
    ends = End("t"), End("t")
    streams = (
        Stream("x", (1, 1, 1), layer.input_type, None, ends[0]),
        Stream("y", (1, 1, 1), layer.output_type, ends[1], None),
    )
    with pytest.raises(UserError, match="t has thresholds beyond 16,777,216"):
        hardware_graph(Dataflow("n", (layer,), streams), "finn-plus")


def test_every_output_stays() -> None:
    fork = DuplicateStreams("fork", (2, 2, 4), named("BINARY"))
    inside = Stream("x", fork.shape, fork.type, None, End("fork"))
    outside = [Stream(f"y{i}", fork.shape, fork.type, End("fork", i), None) for i in range(2)]
    dataflow = Dataflow("n", (fork,), (inside, *outside))
    found = as_finn_takes(dataflow, "finn-plus")
    assert [(s.name, s.type.name) for s in found.outputs] == [("y0", "UINT2"), ("y1", "UINT2")]
    assert len(inserted(found)) == 3
