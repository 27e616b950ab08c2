"""One shape a tensor: FINN's, where a stream of ours may have two."""

from __future__ import annotations

import numpy as np
import pytest

from graphops.data import DataSet
from graphops.data.feed import Feed
from graphops.models import build
from hls_backend import lower
from hls_backend.dataflow import Flavour
from hls_backend.execute import run
from hls_backend.finn.graph import for_finn
from hls_backend.host import prepare
from hls_backend.layers import MVAU, Reshape
from tests.hls_backend.test_networks import quantised


@pytest.mark.parametrize("flavour", ["finn-plus", "finn-main"])
def test_around_padded_channels(digits: DataSet, flavour: Flavour) -> None:
    model = quantised(build("resnet8", image=(1, 8, 8), shortcut="A"), digits, weights=2, acts=2)
    dataflow = lower(model).dataflow
    shaped = for_finn(dataflow, flavour)
    reshapes = [n for n in shaped.layers if isinstance(n, Reshape)]
    assert len(reshapes) == 4, "before and behind each of two shortcuts"
    for stream in shaped.streams:
        source, target = shaped.source_port(stream), shaped.target_port(stream)
        if source and target and stream.target and not isinstance(shaped.layer(stream.target.layer), MVAU):
            assert source.shape == target.shape
    inputs = prepare(dataflow, Feed(model, digits)(digits.test.images[:3]))
    (last,) = dataflow.outputs
    np.testing.assert_array_equal(run(shaped, inputs)[last.name], run(dataflow, inputs)[last.name])
