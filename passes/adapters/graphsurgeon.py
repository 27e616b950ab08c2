"""Passes as functions of onnx-graphsurgeon's graphs: ``graph.remove_skips(stage=1)``.

Importing this module registers one for every pass whose name a graph does not have already (``fold_constants`` is
onnx-graphsurgeon's own); `rewrite` takes any pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
from onnx import helper

from passes.adapters.common import function_name, make, run
from passes.base import Pass, registry


def rewrite(graph: gs.Graph, rewriter: Pass) -> gs.Graph:
    """Apply the pass to ``graph`` in place and return it; nodes and tensors held from before are no longer its own.

    A graph has no place for the model's metadata, where passes keep the skips' numbers for later ones. They stand in
    ``graph.metadata_props``, a dictionary, which ``onnx.helper.set_model_props`` puts into an exported model.
    """
    model = gs.export_onnx(graph)
    helper.set_model_props(model, vars(graph).get("metadata_props", {}))
    result = run(rewriter, model)
    if result.changed:
        new = gs.import_onnx(result.model)
        graph.nodes, graph.inputs, graph.outputs = new.nodes, new.inputs, new.outputs
        graph.functions, graph.import_domains, graph.opset = new.functions, new.import_domains, new.opset
        graph.metadata_props = {p.key: p.value for p in result.model.metadata_props}
    return graph


def _function(cls: type[Pass]) -> Callable[..., gs.Graph]:
    def function(graph: gs.Graph, **options: Any) -> gs.Graph:
        return rewrite(graph, make(cls, options))

    function.__name__ = function.__qualname__ = function_name(cls)
    function.__doc__ = cls.__doc__
    return function


for _cls in registry.values():
    if not hasattr(gs.Graph, function_name(_cls)):
        gs.Graph.register()(_function(_cls))
