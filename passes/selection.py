"""Which skips a pass works on: those it was told by number, or all it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from passes.errors import PassError
from passes.graph import Editor
from passes.skips import Skip, analyse, read_records


@dataclass
class Selection:
    """The skips a pass was asked to work on.

    Attributes:
        found: every skip in the graph.
        chosen: those asked for, in topological order.
        named: whether they were asked for by number, so that one that cannot go is an error, not a note.
        total: how many skips the graph had before any pass rewired it.
        gone: how many of those asked for are out already.
        notes: what to tell about those asked for that are gone already.
    """

    found: list[Skip]
    chosen: list[Skip]
    named: bool
    total: int
    gone: int = 0
    notes: list[str] = field(default_factory=list)


def number_of(skip: Skip) -> int:
    """The whole part of a skip's number: 3 for 3, 3.1 and 3.2."""
    return int(skip.number.split(".")[0])


def select(editor: Editor, pass_name: str, numbers: Sequence[str]) -> Selection:
    """The skips called ``numbers`` (``3`` names 3.1 and 3.2 as well), or all.

    Raises:
        PassError: when the graph never had a skip, or a number is not there.
    """
    given = [numbers] if isinstance(numbers, str) else numbers
    wanted = [number.strip() for item in given for number in str(item).split(",")]
    found = analyse(editor)
    records = read_records(editor)
    known = list(dict.fromkeys([r["number"] for r in records] + [s.number for s in found]))
    total = max((int(n.split(".")[0]) for n in known), default=0)
    if not known:
        raise PassError(
            pass_name,
            "the graph",
            "it has no skip connection (no Add of two paths of unequal depth from one tensor)",
            "`graphops skips` shows what a graph has"
            + (", and `inline-functions` shows what its functions hide" if editor.source.functions else ""),
        )
    if not wanted:
        return Selection(found, found, False, total, gone=len(known) - len(found))
    chosen: dict[str, Skip] = {}
    notes = []
    for number in wanted:
        if not any(_covers(number, n) for n in known):
            listed = ", ".join(sorted(known, key=lambda n: [int(p) for p in n.split(".")]))
            raise PassError(pass_name, f"skip {number}", "the graph has no such skip", f"it has {listed}")
        named = [s for s in found if _covers(number, s.number)]
        chosen |= {s.number: s for s in named}
        if not named:
            notes.append(f"Skip {number} is out already.")
    return Selection(found, [s for s in found if s.number in chosen], True, total, len(notes), notes)


def _covers(asked: str, number: str) -> bool:
    return number == asked or number.startswith(f"{asked}.")


def attempt(
    selection: Selection, pass_name: str, do: Callable[[Skip], PassError | str | None]
) -> tuple[list[Skip], list[str]]:
    """Run ``do`` on each chosen skip; it returns None, or a note, or a PassError to refuse.

    Returns:
        The skips that were done (None was returned), and the notes.

    Raises:
        PassError: the refusal of a skip that was named, or of the first one when not one could or can be done.
    """
    done, notes, refusals = [], list(selection.notes), []
    for skip in selection.chosen:
        outcome = do(skip)
        if outcome is None:
            done.append(skip)
        elif isinstance(outcome, PassError):
            if selection.named:
                raise outcome
            refusals.append(outcome)
            notes.append(str(outcome))
        else:
            notes.append(outcome)
    if refusals and len(refusals) == len(selection.chosen) and not selection.gone:
        first = refusals[0]
        others = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        raise PassError(pass_name, first.node + others, first.reason, first.remedy)
    return done, notes
