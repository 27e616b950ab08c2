"""Thresholds of a scale and a shift are two integers a channel; others are not taken for such."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hls_backend import Folding
from hls_backend.datatypes import least
from hls_backend.layers import Thresholding
from hls_backend.lower import lower
from hls_backend.progression import fit
from tests.hls_backend.graphs import Net


def thresholds(slopes: np.ndarray, shifts: np.ndarray, steps: int, low: int, high: int) -> np.ndarray:
    """The least integer q with ``slope * q + shift >= k + 0.5``."""
    exact = np.ceil((np.arange(steps) + 0.5 - shifts[:, None]) / slopes[:, None])
    return np.clip(exact, low, high + 1).astype(np.int64)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([3, 15, 63, 255]), st.integers(4, 20))
def test_what_is_affine_is_a_progression(seed: int, channels: int, steps: int, bits: int) -> None:
    random = np.random.default_rng(seed)
    high = 2**bits
    slopes = steps / high * 2.0 ** random.uniform(-3, 3, channels)
    wanted = thresholds(slopes, random.uniform(-0.5, 0.5, channels) * steps, steps, -high, high)
    found = fit(wanted, -high, high)
    assert found is not None
    np.testing.assert_array_equal(found.thresholds(steps), wanted)


def test_what_is_not_affine_is_none() -> None:
    curved = np.array([np.arange(1, 20) ** 2, np.arange(1, 20)])
    assert fit(curved, -1000, 1000) is None
    assert fit(curved[1:], -1000, 1000) is not None


def test_channels_that_never_change_level() -> None:
    wanted = np.array([[-8, -8, -8], [9, 9, 9], [-8, 0, 9]])
    found = fit(wanted, -8, 8)
    assert found is not None
    np.testing.assert_array_equal(found.thresholds(3), wanted)


def test_eight_bits_after_batch_norm_and_relu_take_no_memory_of_thresholds() -> None:
    net = Net((8, 4, 4))
    y = net.batchnorm(net.conv(net.quant("x", 0.02, 8, signed=True), 8, 16, bits=8), 16)
    (layer,) = [n for n in lower(net.model(net.quant(net.node("Relu", y), 0.03, 8))).dataflow.layers if n.op[0] == "T"]
    assert isinstance(layer, Thresholding)
    assert layer.progression is not None
    np.testing.assert_array_equal(layer.progression.thresholds(layer.steps), layer.thresholds)
    folded = layer.fold(Folding(pe=2))
    bare = Thresholding(
        "t", layer.pixels, layer.thresholds, layer.base, layer.input_type, layer.output_type, folding=Folding(pe=2)
    )
    assert (folded.form, bare.form) == ("progression", "search")
    assert folded.resources().worth < bare.resources().worth


def test_a_few_thresholds_are_compared_at_once() -> None:
    layer = Thresholding("t", (1, 1), np.array([[1, 2, 3]]), 0, least(0, 9), least(0, 3))
    assert layer.form == "parallel"
