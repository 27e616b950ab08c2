"""Recipes: a pipeline as YAML, checked when it is read.

title: ResNet20 without skips
model: resnet20.onnx            # relative to the recipe; or --model, or a first step that builds one
data: cifar10
steps:
  - shorten-skips: {keep: last}
    name: short
  - finetune: {epochs: 10, teacher: input}
  - fold-skips
  - remove-skips: {stage: 1}
    from: short                 # starts from that step's model instead of the one above
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yaml.constructor import ConstructorError

from graphops.options import check_known, first_error
from graphops.pipeline import Pipeline
from graphops.plan import Entry
from graphops.steps import Rewrite, Step, kinds
from passes.base import registry
from passes.errors import UserError

_RESERVED = ("name", "from")

LARGEST = 10_000_000
"""Characters in a recipe, each counted as often as aliases repeat it."""


class Recipe(BaseModel):
    """What stands at the top of a recipe; the steps are checked one by one.

    Attributes:
        title: one line for people.
        model: the model to start from.
        data: the data set of steps that name none, and the one every step's model is scored on.
        data_dir: where data sets lie.
        limit: how many test images to score on; all when left out.
        bits: the width of an activation that no quantiser gives one, for the skip buffers.
        steps: what to do.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str | None = None
    model: str | None = None
    data: str | None = None
    data_dir: str | None = None
    limit: int | None = Field(default=None, ge=1)
    bits: int = Field(default=32, ge=1)
    steps: list[Any] = Field(min_length=1)


def shipped() -> dict[str, Path]:
    """The recipes that come with graphops, by name."""
    folder = Path(str(resources.files("graphops") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name: str) -> Path:
    """The recipe file at path ``name``, or the shipped one of that name.

    Raises:
        UserError: when there is neither.
    """
    path, known = Path(name), shipped()
    if path.is_file():
        return path
    if name in known:
        return known[name]
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the recipe file in it.")
    if path.exists():
        raise UserError(f"{path} is no file but a pipe or a device; write the recipe to a file and name that.")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
    raise UserError(f"There is no recipe file {name} and no shipped recipe of that name; {hint}")


def read(path: str | Path) -> Pipeline:
    """The pipeline that the recipe at ``path`` describes.

    Raises:
        UserError: when the file cannot be read or says something that graphops does not know.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}.") from error
    except RecursionError as error:
        raise UserError(f"{path} is no recipe, for it is nested too deeply; write it flatter.") from error
    except Exception as error:  # what YAML finds itself, or Python in the 31st of February or a float of no digits
        what = " ".join(str(error).replace('in "<unicode string>", ', "at ").replace("^", "").split())
        raise UserError(f"{path} is not YAML: {what.rstrip('.')}.") from error
    return parse(content, str(path), path.parent)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML would silently take the last, and aliases of aliases
    that make a few lines stand for more than a machine can hold."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _size(node, {}) > LARGEST:
            raise ConstructorError(None, None, "its aliases repeat too much; write it without them")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise ConstructorError(None, None, f"{key.value!r} is said twice", key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _size(node: Any, known: dict[int, float]) -> float:
    """How long ``node`` is with its aliases written out; without end where it holds itself."""
    if isinstance(node, tuple):  # a key and its value
        return sum(_size(part, known) for part in node)
    if id(node) not in known:
        known[id(node)] = math.inf
        is_scalar = isinstance(node, yaml.ScalarNode)
        known[id(node)] = 1 + (len(node.value) if is_scalar else sum(_size(part, known) for part in node.value))
    return known[id(node)]


def parse(content: Any, where: str, base: Path) -> Pipeline:
    """The pipeline that ``content``, a recipe read from YAML, describes.

    Args:
        content: the recipe.
        where: what to call it in a sentence.
        base: the folder from which its relative paths start.

    Raises:
        UserError: when it says something that graphops does not know.
    """
    if not isinstance(content, dict):
        raise UserError(f"{where} is no recipe; it needs at least a list of steps.")
    check_known(content, Recipe.model_fields, where)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(first_error(error, where)) from error
    entries = [_entry(item, f"{where}: step {number}") for number, item in enumerate(recipe.steps, start=1)]
    return Pipeline(
        entries,
        model=_located(recipe.model, base),
        data=recipe.data,
        data_dir=_located(recipe.data_dir, base),
        limit=recipe.limit,
        bits=recipe.bits,
        title=recipe.title,
        base=base,
    )


def _located(path: str | None, base: Path) -> Path | None:
    return None if path is None else base / os.path.expanduser(path)


def _entry(item: Any, where: str) -> Entry:
    if isinstance(item, str):
        return Entry(_step(item, {}, where))
    if not isinstance(item, dict) or not item:
        raise UserError(f"{where} is {item!r}; write the name of a pass, or e.g. 'finetune: {{epochs: 2}}'.")
    verbs = [str(key) for key in item if key not in _RESERVED]
    if len(verbs) > 1 and verbs[0] in _verbs() and item[verbs[0]] is None and verbs[1] not in _verbs():
        raise UserError(f"{where}: if {verbs[1]!r} is an option of {verbs[0]}, indent it further than {verbs[0]}.")
    for key in verbs:
        _check_verb(key, where, [*_verbs(), *_RESERVED])
    if len(verbs) != 1:
        listed = " and ".join(verbs) or "nothing"
        raise UserError(f"{where} says {listed}; each step does one thing.")
    for key in _RESERVED:
        if not isinstance(item.get(key), str | None):
            raise UserError(f"{where}: {key} is {item[key]!r}; it must be a step's name.")
    return Entry(_step(verbs[0], item[verbs[0]], where), item.get("name"), item.get("from"))


def _verbs() -> list[str]:
    return [*kinds, *registry]


def _check_verb(verb: str, where: str, known: list[str]) -> None:
    if verb in registry.broken:
        raise UserError(registry.broken[verb])
    if verb not in known:
        near = difflib.get_close_matches(verb, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
        raise UserError(f"{where}: there is no step {verb!r}; {hint}")


def _step(verb: str, options: Any, where: str) -> Step:
    _check_verb(verb, where, _verbs())
    if isinstance(options, str | list) and verb in kinds:
        options = {kinds[verb].first: options}
    if not isinstance(options, Mapping | None):
        raise UserError(f"{where}: {verb} is {options!r}; write its options as {{name: value}}.")
    options = {str(key): value for key, value in (options or {}).items()}
    try:
        return kinds[verb].of(options, verb) if verb in kinds else Rewrite.of(options | {"pass": verb}, verb)
    except UserError as error:
        text = str(error)
        raise UserError(f"{where}: {text if text.startswith(verb) else f'{verb}: {text}'}") from error
