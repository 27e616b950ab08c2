"""One shape a tensor: FINN's, where a stream of ours may have two."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphops.data import DataSet
from graphops.data.feed import Feed
from graphops.models import build
from hls_backend import lower
from hls_backend.execute import run
from hls_backend.finn.graph import for_finn
from hls_backend.host import prepare
from hls_backend.layers import MVAU, Reshape
from passes.errors import UserError
from tests.hls_backend.test_networks import quantised


@pytest.fixture(scope="module")
def padded(digits: DataSet) -> onnx.ModelProto:
    """A network whose shortcuts pad channels."""
    return quantised(build("resnet8", image=(1, 8, 8), shortcut="A"), digits, weights=2, acts=2)


def test_around_padded_channels(padded: onnx.ModelProto, digits: DataSet) -> None:
    dataflow = lower(padded).dataflow
    shaped = for_finn(dataflow, "finn-plus")
    reshapes = [n for n in shaped.layers if isinstance(n, Reshape)]
    assert len(reshapes) == 4, "before and behind each of two shortcuts"
    for stream in shaped.streams:
        source, target = shaped.source_port(stream), shaped.target_port(stream)
        if source and target and stream.target and not isinstance(shaped.layer(stream.target.layer), MVAU):
            assert source.shape == target.shape
    inputs = prepare(dataflow, Feed(padded, digits)(digits.test.images[:3]))
    (last,) = dataflow.outputs
    np.testing.assert_array_equal(run(shaped, inputs)[last.name], run(dataflow, inputs)[last.name])


def test_finn_itself_has_no_layer_for_them(padded: onnx.ModelProto) -> None:
    with pytest.raises(UserError, match=r"pad_channels reads its input in another shape .* --for finn-plus"):
        for_finn(lower(padded).dataflow, "finn-main")
