"""One hostile model a number: what it is follows from the run's seed and the number alone."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import onnx

from tests.fuzzing import bombs, garble, mutate
from tests.fuzzing.seeds import MODEL, Seed, seeds

SECRET = "secret.bin"
"""A file in the folder beside the model's, which nobody may open."""


@dataclass(frozen=True)
class Case:
    """What lies in the model's folder.

    Attributes:
        story: how it came about.
        files: contents by name; ``model.onnx`` is what the verbs are given.
        links: symbolic links by name.
    """

    story: str
    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Put everything into the empty ``folder``."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for name, target in self.links.items():
            os.symlink(target, folder / name)


_seeds = cache(seeds)


def case(seed: int, number: int, outside: Path) -> Case:
    """Case ``number`` of the run ``seed``.

    Args:
        outside: the folder, beside the model's, that holds the secret.
    """
    rng = random.Random(f"{seed}:{number}")
    kind = rng.choices(("bomb", "structure", "bytes", "valid"), (25, 55, 15, 5))[0]
    if kind == "bomb":
        name = rng.choice(sorted(bombs.bombs))
        built = bombs.bombs[name](rng, outside)
        return Case(f"bomb {name}", {MODEL: _bytes(built.model), **built.files}, built.links)
    chosen = rng.choice(sorted(_seeds()))
    start = _seeds()[chosen]
    if kind == "valid":
        return Case(chosen, {MODEL: _bytes(start.model), **start.files})
    if kind == "bytes":
        content, story = garble.garbled(rng, _bytes(start.model))
        return Case(f"{chosen}: {story}", {MODEL: content, **start.files})
    model, story = mutate.mutated(rng, start.model, _donor(rng), outside)
    return Case(f"{chosen}: {story}", {MODEL: _bytes(model), **start.files})


def _donor(rng: random.Random) -> onnx.ModelProto:
    seed: Seed = _seeds()[rng.choice(sorted(_seeds()))]
    return seed.model


def _bytes(model: onnx.ModelProto | bytes) -> bytes:
    return model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
