"""Mutations that know nothing of ONNX: bytes that are cut off, flipped, repeated, moved."""

from __future__ import annotations

import random
from collections.abc import Callable

_WORDS = (b"\x00", b"\x7f", b"\x80", b"\xff", b"\xff" * 8, b"\x80" * 9 + b"\x01", b"\xff" * 9 + b"\x01", b"\x00" * 64)


def garbled(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """``content`` after one to six mutations, and which they were."""
    story = []
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        name = rng.choice(sorted(_WAYS))
        content = _WAYS[name](rng, content)
        story.append(name)
    return content, ", ".join(story)


def _place(rng: random.Random, content: bytes) -> int:
    return rng.randint(0, len(content))


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def _flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _delete(rng: random.Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + content[at + rng.choice((1, 2, 4, 16, 256)) :]


def _insert(rng: random.Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + rng.choice(_WORDS) + content[at:]


def _overwrite(rng: random.Random, content: bytes) -> bytes:
    at, word = _place(rng, content), rng.choice(_WORDS)
    return content[:at] + word + content[at + len(word) :]


def _repeat(rng: random.Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + content[at : at + rng.choice((1, 16, 256))] * rng.choice((2, 3, 100)) + content[at:]


def _move(rng: random.Random, content: bytes) -> bytes:
    a, b = sorted((_place(rng, content), _place(rng, content)))
    return content[b:] + content[a:b] + content[:a]


def _noise(rng: random.Random, content: bytes) -> bytes:
    return rng.randbytes(rng.choice((1, 10, 1000)))


_WAYS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "cut off": _cut,
    "bits flipped": _flip,
    "bytes deleted": _delete,
    "bytes inserted": _insert,
    "bytes overwritten": _overwrite,
    "bytes repeated": _repeat,
    "parts moved": _move,
    "noise": _noise,
}
