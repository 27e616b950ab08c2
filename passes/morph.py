"""Morphing long skip connections into short ones: both are there, and a gate fades from the one to the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from onnx import helper

from passes.base import Pass, register
from passes.errors import PassError
from passes.flow import between
from passes.gate import BROADCASTING, REAL, type_of
from passes.graph import Editor, Node
from passes.selection import attempt, select
from passes.shorten import layers_of
from passes.skips import Skip, join_of, write_records


@register
@dataclass(frozen=True)
class MorphSkips(Pass):
    """Puts a short skip inside each long one, and a gate on what the long one brings more than it. Exact.

    With the main path's last layer y, its input s and the long skip x, the join y + x becomes (y + s) + g (x - s):
    at gate g = 1 it is what it was (to float rounding), at 0 it is the join of `shorten-skips`. Training fades the
    gates; then `remove-skips --faded` takes the long skips out and `fold-skips` the short ones, both exactly. Of the
    two, skip 3 becomes 3.1, the short one, and 3.2.

    Options:
        skips: the numbers of the skips to morph; none means all.
    """

    name: ClassVar[str] = "morph-skips"
    exact: ClassVar[bool] = True

    skips: tuple[str, ...] = ()

    def rewrite(self, editor: Editor) -> list[str]:
        selection = select(editor, self.name, self.skips)
        # Seen before the first edit, which may move the tensors that the next skip's nodes read.
        plans = {s.number: (*join_of(editor, s), layers_of(editor, s)) for s in selection.chosen if s.span > 1}
        types = {s.number: type_of(editor, s) for s in selection.chosen}
        both: dict[str, list[Skip]] = {}

        def morph(skip: Skip) -> PassError | str | None:
            if skip.span == 1:
                return f"Skip {skip.number} spans one layer already."
            join, main, layers = plans[skip.number]
            if _is_morphing(editor, join.inputs[1 - main].name):
                return f"Skip {skip.number} is morphing already."
            fitting = [layer for layer in layers if layer.fits]
            kind = types[skip.number]
            if kind not in REAL or not fitting or not fitting[-1].is_last:
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    "the last layer of its main path cannot have a short skip that ends where the long one does"
                    if kind in REAL
                    else "what it adds is not known to be floating-point numbers",
                    "leave it, or take it out with remove-skips or merge-skips",
                )
            short, source = fitting[-1].tail.outputs[0], fitting[-1].input
            onward = [t for n in between(editor, join.inputs[main], short.name) for t in n.outputs if t.name]
            others = next((t.name for t in [short, *onward] if not editor.is_private(t)), None)
            if others is not None:
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    f"{others!r} on its main path has other readers or is an output of the graph",
                    "leave it, or take it out with remove-skips or merge-skips",
                )
            joined = editor.splice(short, "Add", [source], f"{skip.join}_short")
            old: dict[str, Any] = {"broadcast": 1} if editor.opset < BROADCASTING else {}
            more = editor.add_node("Sub", [join.inputs[1 - main], source], f"{skip.join}_difference", before=join)
            one = editor.add_constant(f"{skip.join}_gate", np.array(1, helper.tensor_dtype_to_np_dtype(kind)), kind)
            gated = editor.add_node("Mul", [more, one], f"{skip.join}_gated", before=join, **old)
            editor.set_input(join, 1 - main, gated)
            both[skip.number] = [
                replace(skip, number=f"{skip.number}.1", fork=source.name, join=joined.name),
                replace(skip, number=f"{skip.number}.2", join=join.outputs[0].name),
            ]
            return None

        done, notes = attempt(selection, self.name, morph)
        if done:
            write_records(editor, selection.found, both)
        return notes


def _is_morphing(editor: Editor, name: str) -> bool:
    """Whether the tensor is a gated difference, as this pass makes them."""
    product = editor.producer(editor.tensor(name))
    makers: list[Node | None] = [editor.producer(t) for t in product.inputs] if product and product.op == "Mul" else []
    return any(maker is not None and maker.op == "Sub" for maker in makers)
