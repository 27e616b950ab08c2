"""A gate on each skip path, for training to fade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from onnx import TensorProto, helper

from passes.base import Pass, register
from passes.errors import PassError
from passes.graph import Editor
from passes.selection import attempt, select
from passes.skips import Skip, is_own_gate, join_of, write_records

REAL = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)

# From this opset on, Mul broadcasts without being told.
BROADCASTING = 7


@register
@dataclass(frozen=True)
class GateSkips(Pass):
    """Multiplies each skip path by a scalar of its own, 1.0, just before the join. Exact.

    Training fades the gates to 0, where removing the skip is exact. A skip that has a gate keeps it; where that is no
    initialiser or is used elsewhere too, so that it cannot be trained, the skip gets one of its own besides.

    Options:
        skips: the numbers of the skips to gate; none means all.
    """

    name: ClassVar[str] = "gate-skips"
    exact: ClassVar[bool] = True

    skips: tuple[str, ...] = ()

    def rewrite(self, editor: Editor) -> list[str]:
        selection = select(editor, self.name, self.skips)
        types = {s.number: type_of(editor, s) for s in selection.chosen}

        def gate(skip: Skip) -> PassError | str | None:
            if is_own_gate(editor, skip):
                return f"Skip {skip.number} has the gate {skip.gate!r} already."
            kind = types[skip.number]
            if kind not in REAL:
                return PassError(
                    self.name,
                    f"skip {skip.number} at {skip.node!r}",
                    "its type is unknown" if kind is None else "it adds whole numbers, which no gate can fade",
                    f"give {skip.join!r} a value_info" if kind is None else "gate it before the model is quantised",
                )
            node, main = join_of(editor, skip)
            one = editor.add_constant(f"{skip.join}_gate", np.array(1, helper.tensor_dtype_to_np_dtype(kind)), kind)
            old: dict[str, Any] = {"broadcast": 1} if editor.opset < BROADCASTING else {}
            gated = editor.add_node("Mul", [node.inputs[1 - main], one], f"{skip.join}_gated", before=node, **old)
            editor.set_input(node, 1 - main, gated)
            return None

        done, notes = attempt(selection, self.name, gate)
        if done:
            write_records(editor, selection.found)
        return notes


def type_of(editor: Editor, skip: Skip) -> int | None:
    """The element type of what the join adds; it is one for both operands and their sum."""
    kinds = (editor.element_type(editor.tensor(name)) for name in (skip.skip, skip.main, skip.join))
    return next((kind for kind in kinds if kind is not None), None)
