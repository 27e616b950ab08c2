"""Whatever network is drawn, its dataflow computes what qonnx computes, at every quantiser and to the class."""

from __future__ import annotations

import onnx
from hypothesis import HealthCheck, given, settings

from hls_backend import insert_width_converters, lower
from hls_backend.compare import compare
from tests.hls_backend.graphs import Net
from tests.hls_backend.random_graphs import networks


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_integers_are_those_of_qonnx(drawn: tuple[Net, onnx.ModelProto]) -> None:
    net, model = drawn
    lowered = lower(model)
    found = compare(model, lowered, net.images(3))
    assert found.equal, str(found)
    assert found.values > 0
    insert_width_converters(lowered.dataflow)
