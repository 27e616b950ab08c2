"""Computing once what depends on no input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from passes.base import Pass, register
from passes.errors import ModelError
from passes.graph import QUANTISERS, Editor, Node, is_standard

_RANDOM = frozenset(
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli Dropout".split()
)
_MOST = 2**26


@register
@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replaces what is computed from constants alone by initialisers of the same names. Exact.

    Quantisers stay, as they say which grid a weight lies on; so do random operators, operators of other domains,
    Constant nodes, and results of more than 2^26 elements.
    """

    name: ClassVar[str] = "fold-constants"
    exact: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def rewrite(self, editor: Editor) -> list[str]:
        computed: dict[str, gs.Variable] = {}
        given = {t.name for n in editor.nodes if n.op == "Constant" for t in n.outputs}

        def is_constant(tensor: gs.Variable) -> bool:
            return not tensor.name or tensor.name in computed or tensor.name in given or editor.is_initializer(tensor)

        foldable: set[int] = set()
        for node in editor.nodes:
            if _is_pure(node) and all(is_constant(t) for t in node.inputs) and _is_small(editor, node):
                foldable.add(id(node))
                computed |= {t.name: t for t in node.outputs if t.name}
        notes = []
        wanted = [
            t
            for t in computed.values()
            if not editor.is_pinned(t) and any(id(n) not in foldable for n in editor.consumers(t))
        ]
        for tensor in wanted:
            try:
                value = editor.value(tensor)
            except ModelError as error:
                notes.append(f"{tensor.name!r} is left as it is: {error}")
            else:
                editor.become_constant(tensor, value)
        return notes


def _is_pure(node: Node) -> bool:
    """Whether the node computes the same from the same inputs, and can be computed here."""
    return (
        is_standard(node)
        and node.op not in QUANTISERS
        and node.op not in _RANDOM
        and node.op != "Constant"
        and bool(node.inputs)
        and not any(a.HasField("g") or a.graphs for a in node.source.attribute)
    )


def _is_small(editor: Editor, node: Node) -> bool:
    shapes = [editor.shape(t) for t in node.outputs if t.name]
    return all(
        shape is not None
        and all(isinstance(d, int) for d in shape)
        and math.prod(d for d in shape if isinstance(d, int)) <= _MOST
        for shape in shapes
    )
