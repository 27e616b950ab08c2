"""Pixels to floats: the numbers, and that they are float32's own, rounded as float32 rounds."""

from __future__ import annotations

import numpy as np
import pytest

from graphops.data import normalisation
from graphops.data.normalisation import Normalisation, by_name
from passes.errors import UserError

PIXELS = np.arange(3 * 16, dtype=np.uint8).reshape(1, 3, 4, 4) * 5


def test_imagenet_is_the_published_formula() -> None:
    x = by_name("imagenet")(PIXELS)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        expected = (PIXELS[0, channel].astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)
        assert np.array_equal(x[0, channel], expected)


def test_the_other_names() -> None:
    assert np.array_equal(by_name("none")(PIXELS), PIXELS.astype(np.float32))
    assert np.array_equal(by_name("unit")(PIXELS), PIXELS / np.float32(255))
    assert np.array_equal(by_name("digits")(PIXELS), PIXELS / np.float32(16))
    assert by_name("symmetric")(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)).ravel().tolist() == [-1, 1]


@pytest.mark.parametrize("name", normalisation.names())
def test_every_normalisation_gives_float32_under_its_own_name(name: str) -> None:
    assert by_name(name).name == name
    x = by_name(name)(PIXELS)
    assert x.dtype == np.float32
    assert x.shape == PIXELS.shape


@pytest.mark.parametrize("name", normalisation.names())
def test_an_image_gets_the_same_bits_alone_and_in_a_batch(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 5, 7), np.uint8)
    together = by_name(name)(images)
    alone = np.concatenate([by_name(name)(images[i : i + 1]) for i in range(9)])
    assert np.array_equal(together, alone)


def test_the_images_are_left_as_they_are() -> None:
    images = np.ones((1, 3, 2, 2), np.float32)
    by_name("cifar10")(images)
    assert (images == 1).all()


def test_numbers_can_be_spelled_out() -> None:
    spelled = by_name("255:0.485,0.456,0.406:0.229,0.224,0.225")
    assert np.array_equal(spelled(PIXELS), by_name("imagenet")(PIXELS))
    assert by_name(spelled.name) == spelled
    assert by_name("2:0:1") == Normalisation("2:0:1", 2.0, (0.0,), (1.0,))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("imagnet", "did you mean 'imagenet'"),
        ("zzz", "there are imagenet, cifar10"),
        ("255:0.5", "Cannot read"),
        ("255:a:b", "Cannot read"),
        ("0:0:1", "divide by zero"),
        ("1:0:0", "divide by zero"),
        ("nan:0:1", "divide by zero or by no number"),
        ("1:0,0,0:1,1", "3 means but 2 stds"),
    ],
)
def test_what_is_no_normalisation_is_refused(name: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        by_name(name)


def test_the_channels_must_fit() -> None:
    with pytest.raises(UserError, match="'imagenet' is for 3 channels and the images have 1"):
        by_name("imagenet")(PIXELS[:, :1])


def test_the_data_sets_own_statistics_make_mean_0_and_deviation_1(request: pytest.FixtureRequest) -> None:
    for name in ("cifar10", "cifar100"):
        x = by_name(name)(request.getfixturevalue(name).train.images[::5])
        assert np.abs(x.mean((0, 2, 3))).max() < 0.02
        assert np.abs(x.std((0, 2, 3)) - 1).max() < 0.02
