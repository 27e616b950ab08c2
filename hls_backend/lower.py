"""A quantised graph as a dataflow, by scaled-integer range analysis.

Every tensor of the graph is integers on a wire with a range, a scale and a bias a channel, and the piece of the graph
that lies between the wire and the tensor. A quantiser turns the piece before it into thresholds by evaluating it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from hls_backend.dataflow import Dataflow
from hls_backend.elementwise import ELEMENTWISE
from hls_backend.errors import LoweringError
from hls_backend.host import extract
from hls_backend.layout import Layout
from hls_backend.lowering import joining, matrix, output, pooling, quantiser, shaping
from hls_backend.lowering.convolution import convolution
from hls_backend.lowering.elementwise import elementwise
from hls_backend.lowering.state import Judge, State
from hls_backend.lowering.wire import Value
from hls_backend.reader import QUANTISERS, read
from passes.errors import ModelError
from passes.graph import Node, is_standard, label

Rule = Callable[[State, Node], Value]

RULES: dict[str, Rule] = {
    "Conv": convolution,
    "Gemm": matrix.matrix,
    "MatMul": matrix.matrix,
    "Add": joining.add,
    "Sum": joining.add,
    "MaxPool": pooling.max_pooling,
    "GlobalMaxPool": pooling.max_pooling,
    "AveragePool": pooling.average_pooling,
    "GlobalAveragePool": pooling.average_pooling,
    "ReduceMean": pooling.average_pooling,
    "Transpose": shaping.transpose,
    "Flatten": shaping.reshape,
    "Reshape": shaping.reshape,
    "Squeeze": shaping.reshape,
    "Unsqueeze": shaping.reshape,
    "Pad": shaping.pad,
    "Slice": shaping.subsample,
    **dict.fromkeys(output.TERMINAL, output.terminal),
}
"""How operators of ONNX become layers; elementwise ones not named here become pieces."""


@dataclass(frozen=True)
class Lowered:
    """What became of a graph.

    Attributes:
        dataflow: the layers.
        notes: one sentence for each thing that a person should know.
        judges: by the name of a quantised tensor, what its thresholds were taken from.
        logits: by the name of a LabelSelect, the tensor of the graph whose largest value it finds.
        layouts: of the graph's tensors, by name.
    """

    dataflow: Dataflow
    notes: tuple[str, ...]
    judges: Mapping[str, Judge]
    logits: Mapping[str, str]
    layouts: Mapping[str, Layout]


@np.errstate(all="ignore")  # weights that are no finite numbers are said in a sentence, not in numpy's warnings
def lower(model: onnx.ModelProto, name: str = "network", classify: bool = True) -> Lowered:
    """The dataflow of a quantised graph.

    Args:
        model: quantised in QONNX (by brevitas, qonnx, graphops) or in QDQ; not modified.
        name: of the dataflow.
        classify: whether outputs [N, classes] become the class with the largest value.

    Returns:
        The dataflow, unfolded and with no FIFO deeper than 2, whose integers are those of the graph executed by
        qonnx; where qonnx's float32 sums come within rounding of a quantiser's boundary, those of float64.

    Raises:
        LoweringError: when a node has no place in an integer dataflow.
        ModelError: when the graph holds floats only, or has more than one input.
    """
    editor = read(model)
    if len(editor.inputs) != 1:
        raise ModelError(f"The model has {len(editor.inputs)} inputs; a dataflow has one.")
    state = State(editor)
    state.host.add(editor.inputs[0])
    for node in _needed(state):
        _lower(state, node)
    outputs = [o.name for o in editor.source.graph.output]
    for missing in (n for n in outputs if n not in state.values):
        raise ModelError(f"No quantiser lies between the model's input and its output {missing!r}; quantise it first.")
    wires = [output.output(state, n, classify) for n in outputs]
    assert state.host_quantiser is not None, "every value comes from a quantiser on the host"
    if not any(wire.maker for wire in wires):
        raise ModelError("The model does no more than quantise its input, which is the host's part; give it a layer.")
    layouts = {tensor: value.layout for tensor, value in state.values.items()}
    first = state.host_quantiser.node
    dataflow = state.builder.build(name, wires, extract(editor, first), layouts[first.outputs[0].name].axes)
    return Lowered(dataflow, tuple(state.notes), state.judges, state.logits, layouts)


def _needed(state: State) -> list[Node]:
    """The nodes that the graph's outputs depend on, in topological order."""
    editor = state.editor
    wanted = {o.name for o in editor.source.graph.output}
    needed = []
    for node in reversed(editor.nodes):
        if any(t.name in wanted for t in node.outputs):
            needed.append(node)
            wanted |= {t.name for t in node.inputs}
    return needed[::-1]


def _lower(state: State, node: Node) -> None:
    names = {t.name for t in node.inputs if t.name}
    if not names & (state.host | state.values.keys()):
        return  # a constant: read by whoever needs it
    if node.op in QUANTISERS:
        state.values[node.outputs[0].name] = quantiser.quantise(state, node)
        return
    known = is_standard(node) and (node.op in RULES or node.op in ELEMENTWISE)
    if not names & state.values.keys() and not (known and _is_weighted(node)):
        state.host |= {t.name for t in node.outputs if t.name}
        return
    if not known:
        raise LoweringError(
            label(node), f"FINN has no counterpart of {node.op}", "take it out of the network, or leave it to the host"
        )
    rule = RULES.get(node.op, elementwise)
    state.values[node.outputs[0].name] = rule(state, node)


def _is_weighted(node: Node) -> bool:
    return node.op in ("Conv", "Gemm", "MatMul")
