"""What tests share."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest

from graphops.data import DataSet, load


@pytest.fixture(scope="session")
def published() -> Path:
    """A folder with CIFAR-10, CIFAR-100 and the published ResNet20, ``resnet20-cifar10.onnx``.

    They are too large for the repository. ``GRAPHOPS_DATA`` says where they lie; where it is not set, tests on
    published data are skipped.
    """
    if "GRAPHOPS_DATA" not in os.environ:
        pytest.skip("GRAPHOPS_DATA does not say where the published data sets and the published ResNet20 lie")
    return Path(os.environ["GRAPHOPS_DATA"])


@pytest.fixture(scope="session")
def cifar10(published: Path) -> DataSet:
    return load("cifar10", published)


@pytest.fixture(scope="session")
def cifar100(published: Path) -> DataSet:
    return load("cifar100", published)


@pytest.fixture
def published_resnet20(published: Path) -> onnx.ModelProto:
    """The ResNet20 that scores 91.73 % on CIFAR-10."""
    return onnx.load(published / "resnet20-cifar10.onnx")


@pytest.fixture(scope="session")
def digits() -> DataSet:
    return load("digits")
