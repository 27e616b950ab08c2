"""Sliding affine maps: what is composed, added or regrouped computes what its parts compute one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from passes import windows
from passes.refusal import Refusal
from passes.windows import Window


def evaluate(window: Window, image: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel: [I, S] to [O, T] with T = floor((S + slack) / stride) + 1."""
    (stride,), (slack,) = window.stride, window.slack
    size = image.shape[1]
    result = np.repeat(window.bias[:, None], (size + slack) // stride + 1, axis=1)
    for (offset,), kept in window.taps.items():
        matrix = windows.regroup(window, 1).taps[offset,]
        assert kept.shape == (window.outputs, window.inputs // window.groups)
        for p in range(result.shape[1]):
            if 0 <= p * stride + offset < size:
                result[:, p] += matrix @ image[:, p * stride + offset]
    return result


def one(data: Any, channels: int, base: int | None) -> Window:
    """A random window over one axis: a convolution, a depthwise one, a slice, a scale."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 999)))
    groups = draw(st.sampled_from([1, 2, channels]))
    outputs = groups * draw(st.integers(1, 2))
    taps = draw(st.sets(st.integers(-2, 3), min_size=1, max_size=3))
    bias = random.standard_normal(outputs) * draw(st.sampled_from([0, 0, 0, 1]))
    stride, slack = draw(st.integers(1, 3)), draw(st.integers(-3, 2))
    assume(base is None or base + slack >= 0)
    matrices = {(d,): random.standard_normal((outputs, channels // groups)) for d in taps}
    return windows.window(matrices, bias, groups, channels, (base,), (stride,), (slack,))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), known=st.booleans())
def test_composition(data: st.DataObject, known: bool) -> None:
    """Sizes that are not known are tried out: what is allowed then holds for each."""
    size = data.draw(st.integers(3, 9))
    first = one(data, 4, size if known else None)
    second = one(data, first.outputs, *first.size) if first.outputs % 2 == 0 else None
    assume(second is not None)
    assert second is not None
    try:
        both = windows.compose(first, second)
    except Refusal:
        return
    for actual in [size] if known else range(6, 12):
        image = np.random.default_rng(actual).standard_normal((4, actual))
        expected = evaluate(second, evaluate(first, image))
        np.testing.assert_allclose(evaluate(both, image), expected, atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_sums_and_channels_side_by_side(data: st.DataObject) -> None:
    a, b = one(data, 4, 7), one(data, 4, 7)
    image = np.random.default_rng(0).standard_normal((4, 7))
    same = a.stride == b.stride and a.size == b.size
    if not same and (a.size != (1,) or b.size != (1,)):
        with pytest.raises(Refusal):
            windows.concatenate([a, b])
        return
    side = evaluate(windows.concatenate([a, b]), image)
    np.testing.assert_allclose(side, np.concatenate([evaluate(a, image), evaluate(b, image)]), atol=1e-9)
    if a.outputs == b.outputs or 1 in (a.outputs, b.outputs):
        np.testing.assert_allclose(
            evaluate(windows.add(a, b), image), evaluate(a, image) + evaluate(b, image), atol=1e-9
        )


def test_padding_after_a_crop_shows_zeros_not_pixels() -> None:
    crop = windows.window({(1,): np.ones((1, 1))}, np.zeros(1), 1, 1, (8,), (1,), (-3,))
    assert crop.size == (6,)
    padded = windows.window({(d,): np.ones((1, 1)) for d in (-1, 0, 1)}, np.zeros(1), 1, 1, (6,), (1,), (-1,))
    with pytest.raises(Refusal, match="where the fork has pixels"):
        windows.compose(crop, padded)


def test_padding_after_a_shift_shows_zeros_not_the_shift() -> None:
    shift = windows.scaling(np.ones(1), (8,), np.ones(1))
    padded = windows.window({(d,): np.ones((1, 1)) for d in (-1, 0, 1)}, np.zeros(1), 1, 1, (8,), (1,), (-1,))
    inside = windows.window({(d,): np.ones((1, 1)) for d in (0, 1)}, np.zeros(1), 1, 1, (8,), (1,), (-2,))
    with pytest.raises(Refusal, match="a shift would reach into the zero padding"):
        windows.compose(shift, padded)
    assert windows.compose(shift, inside).bias == [2]


def test_groups() -> None:
    blocks = np.arange(1.0, 9).reshape(4, 2)  # two groups of two channels
    grouped = windows.window({(0,): blocks}, np.zeros(4), 2, 4, (5,))
    full = windows.regroup(grouped, 1)
    expected = [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]
    assert full.taps[0,].tolist() == expected
    assert windows.regroup(full, 2).taps[0,].tolist() == blocks.tolist()
    with pytest.raises(Refusal, match="mixes channels of different groups"):
        windows.regroup(full, 4)
    assert windows.compose(grouped, windows.scaling(np.full(4, 2.0), (5,))).groups == 2
    assert windows.compose(windows.identity(4, (5,)), grouped).groups == 2
    assert windows.compose(grouped, windows.mixing(np.ones((3, 4)), (5,))).groups == 1


def test_kernels_have_taps_on_a_grid() -> None:
    source = windows.window({(0,): np.ones((1, 1)), (2,): np.full((1, 1), 3.0)}, np.zeros(1), 1, 1, (5,))
    assert windows.kernel(source, [range(-2, 3, 2)], 1).tolist() == [[[0, 1, 3]]]
    with pytest.raises(Refusal, match="the 2 kernel has no tap at offset 2"):
        windows.kernel(source, [range(2)], 1)


def test_sizes_that_are_not_known_must_agree_for_every_image() -> None:
    half = windows.window({(0,): np.ones((1, 1))}, np.zeros(1), 1, 1, (None,), (2,), (-1,))
    rounded_down = windows.window({(0,): np.ones((1, 1))}, np.zeros(1), 1, 1, (None,), (2,), (-2,))
    windows.add(half, half)
    with pytest.raises(Refusal, match="only for some image sizes"):
        windows.add(half, rounded_down)
