"""The blocks of Table II differ in their skip alone; its results are those that it prints."""

from __future__ import annotations

import numpy as np
import pytest

from examples.table2.blocks import block
from examples.table2.measure import Measured
from hls_backend.comparison import Compared
from hls_backend.layers import MVAU, Thresholding
from hls_backend.simulate import Simulation
from hls_backend.synthesize import Cells
from tests.hls_backend.checks import same_as_qonnx


@pytest.mark.parametrize(("weights", "acts"), [(1, 2), (2, 2)])
def test_both_blocks_have_the_same_weights(weights: int, acts: int) -> None:
    images = np.random.default_rng(0).uniform(0, 2, (1, 16, 32, 32)).astype(np.float32)
    found = [same_as_qonnx(block(skip, weights, acts), images, 20).dataflow for skip in (True, False)]
    first, second = ([n.weights for n in dataflow.layers if isinstance(n, MVAU)] for dataflow in found)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == (16, 144)
    steps = [[n.steps for n in dataflow.layers if isinstance(n, Thresholding)] for dataflow in found]
    assert steps == [[3, 15, 3], [3, 3]]


def test_the_rate_in_the_results_is_the_simulated_one() -> None:
    compared = Compared("block-680", 1017.25, Cells(), {}, 0)
    simulation = Simulation(4, 4096, 0, "", 1000, 98_357, 400_000, (), ())
    measured = Measured("block", 680, compared, (), simulation, 98_304, None)
    assert measured.as_json()["fps"] == round(measured.fps, 3) == 1016.704
