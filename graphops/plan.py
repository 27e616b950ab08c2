"""Steps in their places: what each is called, and whose model it starts from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphops.bench import INPUT
from graphops.steps import Rewrite, Step
from passes.base import Pass
from passes.errors import UserError

INPUT_FOLDER = f"00-{INPUT}"


@dataclass(frozen=True)
class Entry:
    """A step as a person gives it.

    Attributes:
        step: what to do.
        name: what later steps call it; the step's own name where none is given.
        start: the name of the step whose model it starts from, or ``input``; the one before where none is given.
    """

    step: Step
    name: str | None = None
    start: str | None = None


def step(work: Pass | Step, *, name: str | None = None, start: str | None = None) -> Entry:
    """A step with a name, or one that starts from another than the step before it: see `Entry`.

    Raises:
        UserError: when ``work`` is neither a pass nor a step, for instance the class of one.
    """
    made = Rewrite(work) if isinstance(work, Pass) else work
    if not isinstance(made, Step):
        raise UserError(f"{work!r} is no step; give a pass with its options, e.g. RemoveSkips(), or finetune(...).")
    return Entry(made, name, start)


@dataclass(frozen=True)
class Planned:
    """A step with its references resolved; other steps are given by their folders.

    Attributes:
        step: what to do; None stands for taking in the model that the pipeline is given.
        name: what people call it.
        folder: its folder in the run folder.
        start: the step whose model it starts from; None where it needs none.
        teachers: the steps, or files, whose models it reads besides.
        builds: the steps whose builds it reads, each by its folder and what people call it.
    """

    step: Step | None
    name: str
    folder: str
    start: str | None = None
    teachers: tuple[str, ...] = ()
    builds: tuple[tuple[str, str], ...] = ()


def plan(work: Sequence[Pass | Step | Entry]) -> list[Planned]:
    """Resolve every name; the model given comes first if any step reads it.

    Raises:
        UserError: when there is no step, a name is unfit for a folder or taken, or refers to no earlier step; when a
            step needs a build that no step makes, or one without RTL.
    """
    entries = [item if isinstance(item, Entry) else step(item) for item in work]
    if not entries:
        raise UserError("A pipeline needs at least one step; give it a pass.")
    _check_names(entries)
    done = [Planned(None, INPUT, INPUT_FOLDER)]
    for number, entry in enumerate(entries, start=1):
        name = entry.name or entry.step.name
        folder = f"{number:02}-{name}"
        start = None
        if entry.step.needs_model:
            start = done[-1].folder if entry.start is None else find(done, entry.start, folder).folder
        elif entry.start is not None:
            raise UserError(f"Step {folder} starts from no model; leave its from={entry.start} out.")
        teachers = tuple(_teacher(done, teacher, folder) for teacher in entry.step.teachers())
        builds = [_build(done, find(done, other, folder).folder, folder) for other in entry.step.builds_read()]
        if entry.step.needs_build and start:
            builds.insert(0, _build(done, start, folder))
        done.append(Planned(entry.step, name, folder, start, teachers, tuple(builds)))
    reads = {folder for planned in done for folder in (planned.start, *planned.teachers)}
    return done if INPUT_FOLDER in reads else done[1:]


def find(done: Iterable[Planned], name: str, where: str) -> Planned:
    """The one step among ``done`` that is called ``name``.

    Raises:
        UserError: when there is none, or several.
    """
    done = list(done)
    found = [planned for planned in done if name in (planned.name, planned.folder)]
    if len(found) == 1:
        return found[0]
    if found:
        folders = ", ".join(planned.folder for planned in found)
        raise UserError(f"Step {where} refers to {name!r}, which {len(found)} steps are called; say one of {folders}.")
    known = [planned.name for planned in done]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"before it there are {', '.join(known)}."
    raise UserError(f"Step {where} refers to {name!r}, and no step before it is called so; {hint}")


def _teacher(done: list[Planned], name: str, where: str) -> str:
    """The folder of the step that ``name`` means, else ``name`` itself, a file."""
    if any(name in (planned.name, planned.folder) for planned in done):
        return find(done, name, where).folder
    return name


def _build(done: list[Planned], folder: str, where: str) -> tuple[str, str]:
    """The folder and name of the step that makes a build of what ``folder`` leaves: itself, or one before it."""
    known = {planned.folder: planned for planned in done}
    at: Planned | None = known[folder]
    while at is not None and at.step is not None:
        if at.step.makes_build and not at.step.makes_rtl:
            raise UserError(f"Step {where} reads the RTL of {at.folder}, which makes none; add rtl to its emitters.")
        if at.step.makes_build:
            return at.folder, at.folder if at.name == at.step.name else at.name
        at = known.get(at.start or "") if at.step.keeps_model else None
    raise UserError(f"Step {where} needs a build of the model of {folder}; put the step export-hls before it.")


def _check_names(entries: list[Entry]) -> None:
    taken = {INPUT}
    for name in (entry.name for entry in entries if entry.name is not None):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}", name):
            raise UserError(f"The step name {name!r} is unfit for a folder; use letters, digits, '.', '_' and '-'.")
        if name in taken:
            raise UserError(f"Two steps are called {name!r}; give each a name of its own.")
        taken.add(name)
