"""A small network, small data, and the command line called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphops.cli import execute
from graphops.models import build


@dataclass
class Answer:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON object that it must be."""
        return json.loads(self.out)


Graphops = Callable[..., Answer]


@pytest.fixture
def graphops(capsys: pytest.CaptureFixture[str]) -> Graphops:
    """Run the command line with the given arguments."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = execute([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return call


@pytest.fixture
def network() -> onnx.ModelProto:
    """An untrained ResNet8 for images of 1x8x8, with three skip connections."""
    return build("resnet8", width=4, classes=10, image=(1, 8, 8))


@pytest.fixture
def model(network: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save_model(network, path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """160 random images of 1x8x8 in ten classes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    np.savez(path, x=rng.integers(0, 256, (160, 1, 8, 8)).astype(np.uint8), y=np.arange(160) % 10)
    return path
