"""What the host computes: from the image as the network takes it to the first layer's integers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from hls_backend.dataflow import Dataflow
from hls_backend.layout import Layout
from hls_backend.quantisers import read_quantiser
from hls_backend.reference import evaluator
from passes.errors import UserError
from passes.graph import Editor, Node, is_standard, label


def extract(editor: Editor, quantiser: Node) -> onnx.ModelProto:
    """The part of a graph from its input to the output of ``quantiser``, as a model."""
    kept: list[Node] = []
    wanted = {quantiser.outputs[0].name}
    for node in reversed(editor.nodes):
        if any(t.name in wanted for t in node.outputs):
            kept.append(node)
            wanted |= {t.name for t in node.inputs}
    source = editor.source.graph
    graph = helper.make_graph(
        [node.source for node in reversed(kept)],
        "host",
        [v for v in source.input if v.name in editor.inputs],
        [helper.make_tensor_value_info(quantiser.outputs[0].name, onnx.TensorProto.FLOAT, None)],
        [i for i in source.initializer if i.name in wanted],
    )
    model = helper.make_model(graph, opset_imports=editor.source.opset_import, ir_version=editor.source.ir_version)
    model.metadata_props.extend(editor.source.metadata_props)  # they name the images' normalisation
    return model


def sent(dataflow: Dataflow) -> tuple[int, int]:
    """The least and the greatest integer that the host sends: those that the hardware is sized for.

    Args:
        dataflow: with one input; what its type holds where images come as integers.
    """
    (stream,) = dataflow.inputs
    if dataflow.host is None:
        return int(stream.type.min()), int(stream.type.max())
    editor = Editor(dataflow.host)
    bounds = read_quantiser(editor, editor.nodes[-1]).bounds
    assert bounds is not None, "nothing else begins a dataflow"
    return bounds


def prepare(dataflow: Dataflow, images: np.ndarray) -> np.ndarray:
    """The integers that the host sends for ``images``.

    Args:
        dataflow: with its host part.
        images: as the network takes them (normalised, float32, the batch first).

    Returns:
        int64 [N, rows, columns, channels].

    Raises:
        UserError: when the images do not fit the network, or the host's part holds an operator that is not ONNX's own.
    """
    (stream,) = dataflow.inputs
    if dataflow.host is None:
        return images.reshape(-1, *stream.shape)
    editor = Editor(dataflow.host)
    *floats, last = editor.nodes
    quantiser = read_quantiser(editor, last)
    values = images.astype(np.float32, copy=False)
    _check_shape(dataflow, editor, images.shape)
    for node in (n for n in floats if not is_standard(n)):
        raise UserError(
            f"{label(node)} cannot be computed for the host, as {node.domain} is no domain of ONNX; take it out of the "
            "network, and feed what it makes."
        )
    if floats:
        read = {t.name for node in floats for t in node.inputs if t.name}
        constants = {name: editor.value(editor.tensor(name)) for name in read if editor.initializer(name) is not None}
        run = evaluator(floats, constants, editor.inputs[0], last.inputs[0].name, editor.opset, np.float32)
        # One at a time: reshapes in it may be written for a batch of one.
        values = np.concatenate([run(image[None]) for image in values])
    return Layout(dataflow.host_axes).to_stream(quantiser.levels(values), stream.shape)


def _check_shape(dataflow: Dataflow, editor: Editor, shape: tuple[int, ...]) -> None:
    """Raises UserError where images are of another shape than the host's graph takes; any batch does."""
    wanted = editor.shape(editor.tensor(editor.inputs[0]))
    if wanted is None:
        return
    known = [i for i, size in enumerate(wanted) if i > 0 and isinstance(size, int) and size > 0]
    if len(shape) != len(wanted) or any(shape[i] != wanted[i] for i in known):
        (stream,) = dataflow.inputs
        raise UserError(
            f"Images of shape {list(shape[1:])} do not fit the dataflow's input {stream.name!r} of "
            f"{'x'.join(map(str, stream.shape))} rows, columns and channels; choose data that fit the network."
        )
