"""The fields of a dataclass as options: on the command line, in recipes and in sentences about what is wrong."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from passes.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """One field.

    Attributes:
        name: as in Python and in recipes, with underscores.
        type: what a value is: str, int, float or bool; of a tuple, what its items are.
        many: whether the field is a tuple.
        choices: the values it may have, kinds of values in capitals; empty where any will do.
        default: its default; ``dataclasses.MISSING`` where it has none.
        help: its metadata's ``help``, or what the docstring says under ``Options:`` or ``Attributes:``.
    """

    name: str
    type: type
    many: bool
    choices: tuple[str, ...]
    default: Any
    help: str


def options(cls: type) -> list[Option]:
    """The options of dataclass ``cls``, in order."""
    hints, texts = get_type_hints(cls), _described(cls)
    return [
        _option(field, hints[field.name], field.metadata.get("help", texts.get(field.name, "")))
        for field in dataclasses.fields(cls)
    ]


def _option(field: dataclasses.Field[Any], hint: Any, text: str) -> Option:
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [argument for argument in get_args(hint) if argument is not type(None)]
        hint = kinds[0] if len(kinds) == 1 else Literal[tuple(_shown(kinds))]  # the value itself is checked later
    many = get_origin(hint) is tuple
    if many:
        hint = get_args(hint)[0]
    choices = tuple(str(choice) for choice in get_args(hint)) if get_origin(hint) is Literal else ()
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return Option(field.name, str if choices else hint, many, choices, default, text)


def _shown(kinds: Iterable[Any]) -> list[str]:
    """The values that each of these types allows: FLOAT for any number, else one by one."""
    return [
        str(c) for kind in kinds for c in (get_args(kind) if get_origin(kind) is Literal else [kind.__name__.upper()])
    ]


def _described(cls: type) -> dict[str, str]:
    """The texts under ``Options:`` or ``Attributes:`` in the docstring of ``cls``, by attribute."""
    text = inspect.getdoc(cls) or ""
    section = re.search(r"^(?:Options|Attributes):\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+):((?:.*\n?)(?: {5,}.*\n?)*)", section[1], re.MULTILINE) if section else []
    return {name: " ".join(body.replace("``", "").split()) for name, body in entries}


def summary(cls: type) -> str:
    """The first sentence of the docstring of ``cls``."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].replace("``", "").split())


def check_known(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse a name in ``given`` that is not ``known``, with the nearest that is.

    Raises:
        UserError: e.g. "recipe.yaml: finetune has no option 'epoch'; did you mean 'epochs'?"
    """
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(known) or 'none'}."
            raise UserError(f"{where} has no option {str(name)!r}; {hint}")


def make(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of dataclass ``cls`` from ``values``, each checked against the field's type.

    Args:
        cls: a dataclass.
        values: its fields by name.
        where: what to call it in a sentence.

    Raises:
        UserError: when a name is unknown, or a value has the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    known = {option.name: option for option in options(cls)}
    check_known(values, known, where)
    plain = {name: _plain(known[name], value, where) for name, value in values.items()}
    try:
        return TypeAdapter(cls).validate_python(plain)
    except ValidationError as error:
        raise UserError(first_error(error, where)) from error


def first_error(error: Any, where: str) -> str:
    """The first of pydantic's findings as a sentence."""
    finding = error.errors()[0]
    parts = [str(part) for part in finding["loc"]]
    name = ".".join(part for part in parts if part != "float" and not part.startswith("function-"))
    expected = finding["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if finding["type"] == "missing":
        return f"{where} needs the option {name!r}; give it."
    return f"{where}: {name} is {finding['input']!r}, but {expected}."


def _plain(option: Option, value: Any, where: str) -> Any:
    """A scalar for a tuple is a tuple of one; whole numbers name skips as well as strings do."""
    if not option.many or value is None:
        return value
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    if option.type is str:
        if any(isinstance(item, float) for item in items):
            # 3.10 would be read as 3.1, which is another skip.
            raise UserError(f"{where}: write {option.name} in quotes, e.g. '3.1', for {items} are read as numbers.")
        items = [str(item) if isinstance(item, int) else item for item in items]
    return tuple(items)
