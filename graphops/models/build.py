"""Networks by name: ``resnet20``, ``shortresnet56``, ``nonresnet8``."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import onnx

from graphops.models.resnet import check, nonresnet, resnet, shortresnet
from passes.errors import UserError

_FAMILIES = {"resnet": resnet, "shortresnet": shortresnet, "nonresnet": nonresnet}


def build(name: str, **options: Any) -> onnx.ModelProto:
    """Build the network ``name``: a family and a depth, e.g. ``"resnet20"``, or a family with ``depth=20``.

    Args:
        name: resnet, shortresnet or nonresnet, followed by 6n + 2.
        options: see :func:`graphops.models.resnet.resnet`.

    Raises:
        UserError: when there is no such network or option, or an option's value is impossible.
    """
    family, arguments = chosen(name, options)
    return family(**arguments)


def chosen(name: str, options: Mapping[str, Any]) -> tuple[Callable[..., onnx.ModelProto], dict[str, Any]]:
    """What builds the network ``name``, and every argument that it takes.

    Raises:
        UserError: as :func:`build`.
    """
    match = re.fullmatch(r"([a-z]+)(\d*)", name)
    if not match or match[1] not in _FAMILIES:
        near = difflib.get_close_matches(match[1] if match else name, _FAMILIES, n=1)
        hint = f"did you mean '{near[0]}20'" if near else "there are resnet20, shortresnet20 and nonresnet20"
        raise UserError(f"There is no network called {name!r}; {hint} (any depth of 6n + 2).")
    family, depth = _FAMILIES[match[1]], match[2]
    signature = inspect.signature(family)
    known = signature.parameters
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            raise UserError(f"{name} has no option {option!r}; {hint}")
    if depth:
        if int(depth) != options.get("depth", int(depth)):
            raise UserError(f"{name} cannot have depth={options['depth']}; leave the option or the number out.")
        options = {**options, "depth": int(depth)}
    bound = signature.bind(**options)
    bound.apply_defaults()
    check(match[1], **bound.arguments)
    return family, bound.arguments
