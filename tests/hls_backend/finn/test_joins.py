"""Joins of equal types, for FINN's own AddStreams."""

from __future__ import annotations

import numpy as np

from hls_backend.execute import run
from hls_backend.finn.joins import with_equal_types
from hls_backend.layers import AddStreams, ChannelwiseOp
from tests.hls_backend.checks import only
from tests.hls_backend.finn.conftest import Designer


def test_the_narrower_input_is_widened(the_block: Designer) -> None:
    design = the_block()
    before = only(design.dataflow, AddStreams)
    assert [t.name for t in before.types] == ["INT4", "UINT2"]
    equal = with_equal_types(design.dataflow)
    after, widening = only(equal, AddStreams), only(equal, ChannelwiseOp)
    assert [t.name for t in after.types] == ["INT4", "INT4"]
    assert widening.input_type.name == "UINT2"
    assert widening.folding == after.folding
    np.testing.assert_array_equal(run(equal, design.vectors.inputs)[equal.outputs[0].name], design.vectors.outputs)


def test_equal_ones_stay(the_block: Designer) -> None:
    dataflow = with_equal_types(the_block().dataflow)
    again = with_equal_types(dataflow)
    assert [n.name for n in again.layers] == [n.name for n in dataflow.layers]
