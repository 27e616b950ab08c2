"""Flattening the functions that exporters write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
from onnx import inliner

from passes.base import Pass, PassResult, register
from passes.graph import Editor


@register
@dataclass(frozen=True)
class InlineFunctions(Pass):
    """Replaces calls of the model's own functions by their nodes (onnx's inliner does it). Exact."""

    name: ClassVar[str] = "inline-functions"
    exact: ClassVar[bool] = True

    def apply(self, model: onnx.ModelProto) -> PassResult:
        if not model.functions:
            return super().apply(model)
        inlined = inliner.inline_local_functions(model)
        count = len(model.functions)
        return PassResult(inlined, True, (f"{count} function{'s' if count > 1 else ''} inlined.",))

    def rewrite(self, editor: Editor) -> list[str]:
        return []
