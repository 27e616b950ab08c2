"""A short run on digits."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPE = """
title: A small run
data: digits
limit: 100
steps:
  - build: {model: resnet8, width: 4, image: [1, 8, 8]}
    name: untrained
  - finetune: {steps: 30, checkpoint_steps: 3, workers: 1, batch: 32}
    name: trained
  - shorten-skips: {keep: last}
    name: short
  - finetune: {steps: 20, checkpoint_steps: 3, workers: 1, batch: 32, teacher: trained}
  - remove-skips: {stage: 2}
    from: trained
    name: stage-2
"""

STEPS = ["01-untrained", "02-trained", "03-short", "04-finetune", "05-stage-2"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def models(folder: Path) -> dict[str, bytes]:
    """The bytes of every step's model, by step."""
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob("*/model.onnx"))}
