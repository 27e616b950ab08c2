"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: int | None) -> str:
    """``12345`` as ``12,345``; what is not known as ``?``."""
    return "?" if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """``0.9173`` as ``91.73 %``; what was not measured as ``-``."""
    return "-" if share is None else f"{100 * share:.2f} %"


def shape_text(shape: Sequence[int | str | None] | None) -> str:
    """``(None, 16, 32, 32)`` as ``?x16x32x32``."""
    return "?" if shape is None else "x".join("?" if size is None else plain(str(size), 20) for size in shape)


def duration(seconds: float | None) -> str:
    """``5000`` seconds as ``5,000.0``; what was not measured as ``-``."""
    return "-" if seconds is None else f"{seconds:,.1f}"


def plain(text: str, most: int = 80) -> str:
    """``text`` that came with a model, safe on a terminal: one line, nothing unprintable, not too long.

    Args:
        text: anything.
        most: characters; the middle of what is longer is left out.
    """
    if len(text) > most:
        text = f"{text[: most * 2 // 3]}...{text[-(most // 3) :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))
