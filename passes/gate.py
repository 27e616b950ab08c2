"""A gate on each skip path, for training to fade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from onnx import TensorProto, helper

from passes.base import Pass, register
from passes.graph import Editor
from passes.selection import attempt, select
from passes.skips import Skip, write_records


@register
@dataclass(frozen=True)
class GateSkips(Pass):
    """Multiplies each skip path by a scalar of its own, 1.0, just before the join. Exact.

    Training fades the gates to 0, where removing the skip is exact; a skip that has a gate keeps it.

    Options:
        skips: the numbers of the skips to gate; none means all.
    """

    name: ClassVar[str] = "gate-skips"
    exact: ClassVar[bool] = True

    skips: tuple[str, ...] = ()

    def rewrite(self, editor: Editor) -> list[str]:
        selection = select(editor, self.name, self.skips)
        types = {s.number: editor.element_type(editor.tensor(s.skip)) for s in selection.chosen}

        def gate(skip: Skip) -> str | None:
            if skip.gate is not None:
                return f"Skip {skip.number} has the gate {skip.gate!r} already."
            node = editor.producer(editor.tensor(skip.join))
            assert node is not None, "a join is made by a node"
            slot = [t.name for t in node.inputs].index(skip.skip)
            dtype = helper.tensor_dtype_to_np_dtype(types[skip.number] or TensorProto.FLOAT)
            one = editor.add_constant(f"{skip.join}_gate", np.array(1, dtype))
            gated = editor.add_node("Mul", [node.inputs[slot], one], f"{skip.join}_gated", before=node)
            editor.set_input(node, slot, gated)
            return None

        done, notes = attempt(selection, self.name, gate)
        if done:
            write_records(editor, selection.found)
        return notes
