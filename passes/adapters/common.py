"""What the adapters share: making a pass from a host's options, and running it there."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_origin, get_type_hints

import onnx

from passes.base import Pass, PassResult
from passes.errors import UserError

_log = logging.getLogger("passes")


def run(rewriter: Pass, model: onnx.ModelProto) -> PassResult:
    """Apply the pass and log its notes, for hosts that have no place for them."""
    result = rewriter.apply(model)
    for note in result.notes:
        _log.warning("%s: %s", rewriter.name, note.removeprefix(f"{rewriter.name}: "))
    return result


def make(cls: type[Pass], options: Mapping[str, Any]) -> Pass:
    """An instance of ``cls`` from options as JSON, YAML or a caller brings them: lists for tuples, 3 for "3".

    Raises:
        UserError: when an option is unknown, or a skip's number is a fraction (3.10 would be read as 3.1).
    """
    hints, known = get_type_hints(cls), [field.name for field in fields(cls)]  # type: ignore[arg-type]
    values = {}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(known) or 'none'}."
            raise UserError(f"{cls.name} has no option {name!r}; {hint}")
        values[name] = _tuple(value, name, cls) if get_origin(hints[name]) is tuple else value
    return cls(**values)


def _tuple(value: Any, name: str, cls: type[Pass]) -> tuple[Any, ...]:
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if get_type_hints(cls)[name] != tuple[str, ...]:
        return items
    if any(isinstance(item, float) for item in items):
        raise UserError(f"{cls.name}: write {name} in quotes, e.g. '3.1', for {list(items)} are read as numbers.")
    return tuple(str(item) for item in items)


def function_name(cls: type[Pass] | Pass) -> str:
    """``remove_skips`` for remove-skips."""
    return cls.name.replace("-", "_")
