"""Passes as functions of onnx-graphsurgeon's graphs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import passes.adapters.graphsurgeon
from examples.adapters.network import image, joins, residual, run
from passes import FoldConstants, RemoveSkips, UserError, registry
from passes.adapters.graphsurgeon import rewrite

IMAGES = [image(seed) for seed in range(4)]


@pytest.mark.parametrize("bits", [0, 4])
def test_a_graph_loses_its_skips_in_place(bits: int) -> None:
    graph = gs.import_onnx(residual(bits))
    assert graph.remove_skips() is graph
    exported = gs.export_onnx(graph)
    assert joins(exported) == 0
    np.testing.assert_array_equal(run(exported, *IMAGES), run(RemoveSkips().apply(residual(bits)).model, *IMAGES))


def test_options_are_keywords() -> None:
    graph = gs.import_onnx(residual())
    graph.remove_skips(skips=[1, 3])
    expected = RemoveSkips(skips=("1", "3")).apply(residual()).model
    np.testing.assert_array_equal(run(gs.export_onnx(graph), *IMAGES), run(expected, *IMAGES))
    with pytest.raises(UserError, match=r"did you mean 'stage'\?"):
        graph.remove_skips(stge=1)


def test_it_goes_with_the_edits_of_onnx_graphsurgeon() -> None:
    graph = gs.import_onnx(residual())
    graph.remove_skips(stage=1).cleanup().toposort()
    head = next(node for node in graph.nodes if node.name == "classifier")
    head.inputs[1] = gs.Constant("doubled", 2 * head.inputs[1].values)
    graph.remove_skips(stage=2)
    expected = run(RemoveSkips(stage=2).apply(residual()).model, *IMAGES)
    np.testing.assert_allclose(run(gs.export_onnx(graph.cleanup()), *IMAGES), 2 * expected, rtol=1e-5)


def test_stages_count_from_the_first_numbering_also_through_a_file() -> None:
    graph = gs.import_onnx(residual())
    graph.remove_skips(stage=1)
    exported = gs.export_onnx(graph)
    onnx.helper.set_model_props(exported, graph.metadata_props)
    again = RemoveSkips(stage=2).apply(exported).model
    graph.remove_skips(stage=2)
    assert joins(again) == joins(gs.export_onnx(graph)) == 1


def test_every_pass_is_a_function_but_where_a_graph_has_one_of_that_name() -> None:
    graph = gs.import_onnx(residual())
    names = {name.replace("-", "_") for name in registry}
    assert all(callable(getattr(graph, name)) for name in names)
    assert names - gs.Graph.GLOBAL_FUNC_MAP.keys() == {"fold_constants"}
    assert passes.adapters.graphsurgeon.rewrite(graph, FoldConstants()) is graph


def test_a_pass_that_changes_nothing_leaves_the_graph_its_nodes() -> None:
    graph = gs.import_onnx(residual())
    nodes = list(graph.nodes)
    rewrite(graph, FoldConstants())
    assert all(a is b for a, b in zip(nodes, graph.nodes, strict=True))
