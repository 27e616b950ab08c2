"""What holds of a model after any pass, whatever the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx

from passes import Pass, PassResult
from tests.passes.net import feeds, run


def applied(rewriter: Pass, model: onnx.ModelProto, runs: bool = True) -> PassResult:
    """The pass's result, having seen that

    - the model given is as it was,
    - the result is valid and runs, with no name twice that was there once, and nothing unused that was used,
    - running the pass again changes nothing, and unchanged means unchanged.
    """
    before = model.SerializeToString()
    result = rewriter.apply(model)
    assert model.SerializeToString() == before
    assert result.changed == (result.model.SerializeToString() != before)
    onnx.checker.check_model(result.model, full_check=True)
    assert set(twice(result.model)) <= set(twice(model))
    assert set(unused(result.model)) <= set(unused(model))
    if runs:
        assert all(np.isfinite(o).all() for o in run(result.model, feeds(result.model)))
    again = rewriter.apply(result.model)
    assert not again.changed
    assert again.model.SerializeToString() == result.model.SerializeToString()
    return result


def twice(model: onnx.ModelProto) -> Iterator[str]:
    """Names of tensors or of nodes that two have; no name counts as one."""
    graph = model.graph
    for names in ((o for n in graph.node for o in n.output if o), (n.name for n in graph.node)):
        yield from (name for name, count in Counter(names).items() if count > 1)


def unused(model: onnx.ModelProto) -> list[str]:
    """Weights, annotations' parameters and what nodes make that nothing reads, in a subgraph or as an output either."""
    graph = model.graph
    read = set(_read(graph))
    read |= {p.value for a in graph.quantization_annotation for p in a.quant_parameter_tensor_names}
    weights = [i.name for i in graph.initializer] + [i.values.name for i in graph.sparse_initializer]
    made = [n.output[0] for n in graph.node if not read & set(n.output)]
    return [name for name in weights if name not in read] + made


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (o.name for o in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _read(inner)


def assert_equal(model: onnx.ModelProto, expected: onnx.ModelProto) -> None:
    """The same graph, node by node and weight by weight."""
    for field in ("node", "initializer", "input", "output", "value_info"):
        ours, theirs = getattr(model.graph, field), getattr(expected.graph, field)
        assert [item.name for item in ours] == [item.name for item in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert a == b
