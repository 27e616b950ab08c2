"""A dataflow as FINN's hardware-layer graph, ready to be specialised for HLS or RTL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hls_backend.dataflow import FINN_DOMAIN, Dataflow, End, Flavour, Folding, Layer, Shape, Stream
from hls_backend.datatypes import IntegerType
from hls_backend.finn.order import in_finn_order
from hls_backend.finn.types import as_finn_takes
from hls_backend.layers import MVAU, Reshape
from passes.errors import UserError

_OPSET, _IR_VERSION = 17, 8
"""Both FINNs read these."""

_EXACT = 2**24
"""All integers up to here are numbers of float32."""


def for_finn(dataflow: Dataflow, flavour: Flavour) -> Dataflow:
    """The same dataflow as FINN has it: its layers in FINN's order, types that it takes, tensors of one shape.

    Args:
        dataflow: with neither width converters nor FIFOs.
        flavour: which takes other types.

    Raises:
        UserError: when FINN has no layer for something that FINN+ has one for.
    """
    return in_finn_order(_with_reshapes(as_finn_takes(dataflow, flavour), flavour))


def _with_reshapes(dataflow: Dataflow, flavour: Flavour) -> Dataflow:
    """A Reshape where a stream's two ends see it in different shapes; but an MVAU flattens what it gets itself."""
    layers: list[Layer] = []
    streams = list(dataflow.streams)
    for layer in dataflow.layers:
        for stream, port in zip(dataflow.inputs_of(layer), layer.inputs, strict=True):
            source = dataflow.source_port(stream)
            shape = source.shape if source else stream.shape
            if shape == port.shape or isinstance(layer, MVAU):
                continue
            if flavour == "finn-main":
                raise UserError(
                    f"{layer.name} reads its input in another shape ({_text(port.shape)}) than it is made in "
                    f"({_text(shape)}), as where a shortcut pads channels, and FINN has no layer for that; export with "
                    "--for finn-plus, which has one, or give the network's shortcuts weights."
                )
            name = f"{stream.name}_reshape"
            reshape = Reshape(name, shape, port.shape, stream.type)
            lanes = (port.lanes, source.lanes if source else 1, 1)
            layers.append(reshape.fold(next(f for f in map(Folding, lanes) if f in reshape.foldings())))
            streams.remove(stream)
            behind = Stream(
                f"{name}_out", port.shape, stream.type, End(name), stream.target, 2, "", stream.scale, stream.bias
            )
            streams += [replace(stream, target=End(name)), behind]
        layers.append(layer)
    return replace(dataflow, layers=tuple(layers), streams=tuple(streams))


def node_names(dataflow: Dataflow, flavour: Flavour, device: str = "") -> dict[str, str]:
    """What FINN calls each layer's node: its operator, and a number for each of a kind.

    Args:
        device: "" for the names before layers are specialised; else the device that they are specialised for.

    Returns:
        By the layer's name.
    """
    counts: Counter[str] = Counter()
    names = {}
    for layer in dataflow.layers:
        op = layer.finn_op(flavour) + (f"_{layer.finn_style(device)}" if device else "")
        names[layer.name] = f"{op}_{counts[op]}"
        counts[op] += 1
    return names


def hardware_graph(dataflow: Dataflow, flavour: Flavour) -> onnx.ModelProto:
    """The graph of a dataflow's hardware layers.

    Args:
        dataflow: made by `for_finn`.

    Raises:
        UserError: when a weight or threshold is too large.

    Returns:
        A model whose tensors are float32 [1, rows, columns, channels] that hold integers of the annotated datatype;
        one node a layer, with the layer's name as its doc_string, not folded; weights and thresholds as initialisers.
    """
    names = node_names(dataflow, flavour)
    nodes, initializers, annotations = [], [], []
    for layer in dataflow.layers:
        parameters = []
        for kind, (values, type) in layer.finn_parameters(flavour).items():
            parameters.append(f"{names[layer.name]}_{kind}")
            if np.abs(values).max() > _EXACT:
                raise UserError(
                    f"{layer.name} has {kind} beyond {_EXACT:,}, which FINN's float32 tensors do not hold; quantise "
                    "with fewer bits."
                )
            initializers.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), parameters[-1]))
            annotations.append(_datatype(parameters[-1], type))
        inputs = [s.name for s in dataflow.inputs_of(layer)] + parameters
        unfolded = replace(layer, folding=Folding())
        node = unfolded.finn_node(inputs, [s.name for s in dataflow.outputs_of(layer)], flavour)
        node.name, node.doc_string = names[layer.name], layer.name
        nodes.append(node)
    annotations += [_datatype(s.name, s.type) for s in dataflow.streams]
    inner = [s for s in dataflow.streams if s.source and s.target]
    graph = helper.make_graph(
        nodes,
        dataflow.name,
        list(_tensors(dataflow.inputs)),
        list(_tensors(dataflow.outputs)),
        initializers,
        value_info=list(_tensors(inner)),
    )
    graph.quantization_annotation.extend(annotations)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(FINN_DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="graphops")


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _tensors(streams: list[Stream] | tuple[Stream, ...]) -> Iterator[onnx.ValueInfoProto]:
    for stream in streams:
        yield helper.make_tensor_value_info(stream.name, onnx.TensorProto.FLOAT, [1, *stream.shape])


def _datatype(tensor: str, type: IntegerType) -> onnx.TensorAnnotation:
    entry = onnx.StringStringEntryProto(key="finn_datatype", value=type.name)
    return onnx.TensorAnnotation(tensor_name=tensor, quant_parameter_tensor_names=[entry])
