"""Command lines that give a model to each verb."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from passes.base import registry
from tests.fuzzing.seeds import MODEL

OUTPUT = "out.onnx"
FIGURE = "out.svg"
BUILD = "out-build"
IMAGES = "images.npz"


def prepare(folder: Path) -> None:
    """Put what the command lines refer to, but the model, into ``folder``."""
    rng = np.random.default_rng(0)
    np.savez(folder / IMAGES, x=rng.random((24, 1, 8, 8), np.float32), y=np.arange(24) % 3)


def commands(rng: random.Random, folder: Path, tools: Path, count: int) -> list[list[str]]:
    """``count`` command lines on the model in ``folder``, the listing of its skips first.

    Args:
        tools: the folder that ``prepare`` filled.
    """
    model = str(folder / MODEL)
    lines = [["skips", model, *rng.choice(([], ["--json"], ["--bits", "8"]))]]
    while len(lines) < count:
        lines.append(_line(rng, model, folder, tools))
    return lines


def _line(rng: random.Random, model: str, folder: Path, tools: Path) -> list[str]:
    if rng.random() < 0.06:
        return ["evaluate", model, "--data", str(tools / IMAGES), *_flags(rng, "--json")]
    if rng.random() < 0.02:
        options = ["--data", str(tools / IMAGES), "--epochs", "1", "--batch", "8", "-o", str(folder / OUTPUT)]
        return ["finetune", model, *options]
    if rng.random() < 0.05:
        return ["export-hls", model, "-o", str(folder / BUILD), "--count", "1", *_flags(rng, "--json")]
    if rng.random() < 0.03:
        return ["diff", model, model, *_flags(rng, "--json")]
    if rng.random() < 0.03:
        return ["draw", model, "-o", str(folder / FIGURE), *_flags(rng, "--json")]
    name = rng.choice(sorted(registry))
    options = [] if rng.random() < 0.5 else rng.choice(_OPTIONS.get(name, [[]]))
    return [
        name,
        model,
        "-o",
        str(folder / OUTPUT),
        *options,
        *_flags(rng, "--json"),
        *["--verify"] * (rng.random() < 0.12),
    ]


def _flags(rng: random.Random, *flags: str) -> list[str]:
    return [flag for flag in flags if rng.random() < 0.3]


_OPTIONS: dict[str, list[list[str]]] = {
    "remove-skips": [["--stage", "1"], ["--skips", "1"], ["--skips", "1,2"], ["--order", "output", "--stage", "2"]],
    "shorten-skips": [["--keep", "each"], ["--join", "after-activation"], ["--skips", "1"]],
    "gate-skips": [["--skips", "1"]],
    "fold-skips": [["--skips", "1"]],
    "merge-skips": [["--skips", "1"]],
    "half-weights": [["--above", "0"]],
}
