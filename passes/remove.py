"""Taking skip connections out: the join becomes its main path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from passes.base import Pass, register
from passes.errors import PassError
from passes.graph import Editor, Shape, is_unknown, show
from passes.requantise import without_join
from passes.selection import attempt, number_of, select
from passes.skips import Skip, is_own_gate, join_of, write_records


@register
@dataclass(frozen=True)
class RemoveSkips(Pass):
    """The join becomes its main path; what only the skip used goes. Exact only where the gate is 0.

    In a quantised network a quantiser that only prepared the main path for the addition goes as well where what the
    join made is quantised again (with ``faded`` it stays), and the integers of a QLinearAdd's main path move to the
    grid of its result.

    Of n skips, numbered as the first rewiring pass met them, stage k of K removes ``ceil(n * k / K)`` (Weng et al.
    2021, Algorithm 1, where K is 3), so that stages run one after the other remove what the last one removes alone.

    Options:
        stage: how far to go, 1 to ``stages``; 0 stands for the last.
        stages: how many stages there are.
        skips: the numbers of the skips to remove instead; none means all.
        order: which skips a stage takes first: from the ``input`` side, from the ``output`` side, or by
            ``sensitivity``, the one whose removal alone keeps the most accuracy first.
        faded: only those whose gate is exactly 0, as training leaves it; their removal is exact.
        scores: for ``sensitivity``, skip by skip in order of their numbers, the accuracy with only that one removed.
    """

    name: ClassVar[str] = "remove-skips"
    exact: ClassVar[bool] = False

    stage: int = 0
    stages: int = 3
    skips: tuple[str, ...] = ()
    order: Literal["input", "output", "sensitivity"] = "input"
    scores: tuple[float, ...] = ()
    faded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage and self.skips:
            raise PassError(self.name, f"stage {self.stage}", "skips are named as well", "give the one or the other")
        if self.stages < 1:
            raise PassError(self.name, f"stages={self.stages}", "it takes a stage at least", "give 1 or more")
        if not 0 <= self.stage <= self.stages:
            there = f"there are {self.stages} stages"
            raise PassError(self.name, f"stage {self.stage}", there, f"choose one from 1 to {self.stages}")
        if self.order != "input" and not self.stage and not self.skips:
            raise PassError(self.name, f"order={self.order}", "all skips go where no stage is given", "give a stage")
        if not all(math.isfinite(score) for score in self.scores):
            raise PassError(self.name, "scores", f"{self.scores} are not all numbers", "measure them again")
        if self.scores and self.order != "sensitivity":
            raise PassError(self.name, "scores", f"order={self.order} looks at none", "give order=sensitivity as well")

    def rewrite(self, editor: Editor) -> list[str]:
        selection = select(editor, self.name, self.skips)
        if self.stage:
            first = set(self._ranking(selection.total)[: -(-selection.total * self.stage // self.stages)])
            selection.chosen = [s for s in selection.found if number_of(s) in first]
        if self.faded:
            selection.chosen = [s for s in selection.chosen if _is_faded(editor, s)]
            if not selection.chosen and not selection.gone:
                raise PassError(self.name, "faded", "no skip has a gate of 0", "train with gates that fade first")
        # Seen before the first edit: removing one skip moves the tensors that the next one's join reads.
        joins = {s.number: join_of(editor, s) for s in selection.chosen}
        shapes = {s.number: [editor.shape(editor.tensor(t)) for t in (s.main, s.join)] for s in selection.chosen}

        def remove(skip: Skip) -> PassError | None:
            main, join = shapes[skip.number]
            if main is None or join is None:
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    f"the shape of {skip.main if main is None else skip.join!r} cannot be inferred",
                    "give the tensor a value_info that says it",
                )
            if not _is_broadcast_free(main, join):
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    f"its main path brings {show(main)} where the join makes {show(join)}",
                    "leave it, as only a main path of the join's shape can stand for the join"
                    if not any(map(is_unknown, join))
                    else "run `fold-constants` first, which may make the unknown size known, or leave it",
                )
            node, slot = joins[skip.number]
            if node.outputs:  # else it went with the skip path of another
                main_path = node.inputs[slot] if self.faded else without_join(editor, node, slot)
                editor.redirect(node.outputs[0], main_path)
                editor.remove(node)
            return None

        done, notes = attempt(selection, self.name, remove)
        if done:
            write_records(editor, selection.found)
        return notes

    def _ranking(self, total: int) -> list[int]:
        """The skips' numbers, the first to go first."""
        numbers = list(range(1, total + 1))
        if self.order == "output":
            return numbers[::-1]
        if self.order == "sensitivity":
            if len(self.scores) != total:
                raise PassError(
                    self.name,
                    "order=sensitivity",
                    f"{len(self.scores)} scores for {total} skips",
                    "give one accuracy for each skip (the command line measures them with --data)",
                )
            return sorted(numbers, key=lambda n: -self.scores[n - 1])
        return numbers


def _is_faded(editor: Editor, skip: Skip) -> bool:
    return is_own_gate(editor, skip) and not np.any(editor.value(editor.tensor(str(skip.gate))))


def _is_broadcast_free(operand: Shape, result: Shape) -> bool:
    """Whether an Add's operand has its result's shape, as far as the two are known."""
    if len(operand) != len(result):
        return False
    pairs = zip(operand, result, strict=True)
    return all(x == y or (x != 1 and not (isinstance(x, int) and isinstance(y, int))) for x, y in pairs)
