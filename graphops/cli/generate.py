"""Command-line options out of a dataclass's fields."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer

from graphops.options import Option
from passes.errors import UserError


def parameters(
    found: Iterable[Option], panel: str | None = None, renamed: Mapping[str, str] | None = None
) -> list[inspect.Parameter]:
    """One keyword parameter an option; None stands for "not given".

    Args:
        found: the options.
        panel: the heading in the help under which they stand.
        renamed: other flags for those whose own is taken, by option name.
    """
    return [_parameter(option, panel, (renamed or {}).get(option.name, option.name)) for option in found]


def _parameter(option: Option, panel: str | None, name: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    declaration = f"{flag}/--no-{flag[2:]}" if option.type is bool else flag
    help = ". ".join(text for text in (option.help.rstrip("."), _default(option)) if text)
    settings: dict[str, Any] = {"help": help, "show_default": False, "rich_help_panel": panel}
    if option.type is not bool:
        # One a line: in 80 columns wide ones leave no room for the longest flags.
        settings["metavar"] = "|\n".join(option.choices) or f"{option.type.__name__.upper()}{',...' * option.many}"
    kind: Any = str if option.many or option.choices else option.type
    annotation = Annotated[kind | None, typer.Option(declaration, **settings)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _default(option: Option) -> str:
    value = option.default
    if value is dataclasses.MISSING or value is None or value == () or value == "":
        return ""
    return f"Default: {','.join(map(str, value)) if isinstance(value, tuple) else value}"


def given(
    values: Mapping[str, Any], found: Iterable[Option], renamed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Those of the command line's ``values`` that a person gave, by option name, lists split at their commas."""
    taken = {}
    for option in found:
        value = values.get((renamed or {}).get(option.name, option.name))
        if value is not None:
            taken[option.name] = _split(option, value) if option.many else value
    return taken


def _split(option: Option, text: str) -> tuple[Any, ...]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    flag = option.name.replace("_", "-")
    if not items and not option.default:  # as an empty variable of the shell leaves it
        raise UserError(f"--{flag} {text!r} names nothing; name something, or leave the option out.")
    try:
        return tuple(option.type(item) for item in items)
    except ValueError as error:
        raise UserError(f"--{flag} {text!r} is no list of numbers; write e.g. --{flag} 0.5,0.75.") from error


def with_signature(
    verb: Callable[[dict[str, Any]], None], name: str, doc: str, signature: list[inspect.Parameter]
) -> Callable[..., None]:
    """A function as typer wants it: ``signature``'s parameters by keyword, handed to ``verb`` as one dictionary."""

    def generated(**values: Any) -> None:
        verb(values)

    generated.__name__, generated.__doc__ = name, doc
    generated.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    generated.__annotations__ = {parameter.name: parameter.annotation for parameter in signature}
    return generated


def keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter that is written by hand among generated ones."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
