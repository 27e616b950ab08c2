"""Passes that other packages bring.

A package names its pass in an entry point, called as the pass is, and the pass is in `passes.registry`, in
`graphops passes`, a verb, a recipe's step and in every adapter:

    [project.entry-points."graphops.passes"]
    prune = "acme.prune:Prune"
"""

from __future__ import annotations

import logging
import re
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from passes.base import Pass

GROUP = "graphops.passes"

_log = logging.getLogger("passes")


def load(add: Callable[[type[Pass]], object]) -> dict[str, str]:
    """Hand every pass that an installed package names to ``add``.

    A pass that cannot be had is logged as a warning, in one sentence that names its package, and left out.

    Returns:
        Those sentences, by the pass's name.
    """
    broken = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            cls = entry.load()
            check(cls, entry.name)
            add(cls)
        except Exception as error:  # another package's code may raise anything
            broken[entry.name] = _sentence(entry, error)
            _log.warning(broken[entry.name])
    return broken


def _sentence(entry: EntryPoint, error: Exception) -> str:
    package = repr(entry.dist.name) if entry.dist is not None else "a package without a name"
    reason = " ".join(str(error).split()) or type(error).__name__
    return (
        f"The pass {entry.name!r} of the package {package} is left out: {reason.rstrip('.')}; "
        "update that package or uninstall it."
    )


def check(cls: Any, name: str) -> None:
    """Refuse what could be no verb and no recipe's step.

    Raises:
        TypeError: which says what is wrong with ``cls`` for a pass called ``name``.
    """
    from passes.base import Pass

    if not (isinstance(cls, type) and issubclass(cls, Pass)):
        raise TypeError(f"{cls!r} is no subclass of passes.Pass")
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not is_dataclass(cls) or not cls.__dataclass_params__.frozen:
        raise TypeError(f"{where} is no frozen dataclass")
    if getattr(cls, "__abstractmethods__", None):
        raise TypeError(f"{where} has no {', '.join(sorted(cls.__abstractmethods__))}")
    if not isinstance(getattr(cls, "exact", None), bool):
        raise TypeError(f"{where} does not say whether it is exact")
    if getattr(cls, "name", None) != name or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise TypeError(f"{where} is called {getattr(cls, 'name', None)!r}, not {name!r} in words joined by hyphens")
    hints = get_type_hints(cls)
    for field in fields(cls):
        if not _is_option(hints[field.name]):
            raise TypeError(
                f"the option {field.name!r} of {where} is no str, int, float, bool, Literal or tuple of one"
            )


def _is_option(hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        return len(kinds) == 1 and _is_option(kinds[0])
    if get_origin(hint) is tuple:
        kind, *rest = get_args(hint)
        return rest == [...] and kind in (str, int, float)
    return hint in (str, int, float, bool) or (
        get_origin(hint) is Literal and all(isinstance(choice, str) for choice in get_args(hint))
    )
