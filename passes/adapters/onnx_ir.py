"""Passes for onnx_ir's pass managers, beside onnxscript's rewriter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx_ir as ir

from passes.adapters.common import run
from passes.base import Pass

# Constants with more elements are weights: no pass that only rewires looks at their values.
_SMALL = 1024


class AsIrPass(ir.passes.InPlacePass):
    """A pass of ours as one of onnx_ir's: ``PassManager([AsIrPass(RemoveSkips()), ...])(model)``.

    The model that is given gets a new graph and new functions; values and nodes held from before are no longer its
    own, and what stood in their ``meta`` (not in ``metadata_props``) is gone. A pass that only rewires neither reads
    nor copies a weight: initialisers in memory and in files go on as the same objects. A pass that reads weights
    takes them into memory.
    """

    def __init__(self, rewriter: Pass) -> None:
        super().__init__()
        self.rewriter = rewriter

    def __repr__(self) -> str:
        return f"AsIrPass({self.rewriter!r})"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        weights = {name: value.const_value for name, value in model.graph.initializers.items()}
        result = run(self.rewriter, _to_proto(model, self.rewriter.reads_weights))
        if result.changed:
            folders = {tensor.location: tensor.base_dir for tensor in _in_files(model)}
            rewritten = ir.from_proto(result.model)
            for tensor in _in_files(rewritten):  # a protobuf does not say in which folder
                tensor.base_dir = folders.get(tensor.location, "")
            for name, value in rewritten.graph.initializers.items():
                if isinstance(value.const_value, ir.ExternalTensor) and name in weights:
                    value.const_value = weights[name]
            model.graph = rewritten.graph
            model.functions.clear()
            model.functions.update(rewritten.functions)
            model.metadata_props.update(rewritten.metadata_props)
        return ir.passes.PassResult(model, result.changed)


def _in_files(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """The tensors that lie in files, those of subgraphs and of attributes as well."""
    for graph in model.graphs():
        tensors = [value.const_value for value in graph.initializers.values()]
        tensors += [a.value for n in graph for a in n.attributes.values() if a.type == ir.AttributeType.TENSOR]
        yield from (tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor))


def _to_proto(model: ir.Model, whole: bool) -> onnx.ModelProto:
    """``model`` as a protobuf; unless ``whole``, weights only say that they lie elsewhere."""
    with _swapped(model, whole):
        return ir.to_proto(model)


@contextmanager
def _swapped(model: ir.Model, whole: bool) -> Iterator[None]:
    """While this lasts, weights are all in memory (``whole``), or all are said to lie in files."""
    swapped = []
    try:
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None:
                continue
            external = isinstance(tensor, ir.ExternalTensor)
            if whole and external:
                stand_in: ir.TensorProtocol = ir.Tensor(tensor.numpy(), tensor.dtype, name=tensor.name)
            elif not whole and not external and tensor.size > _SMALL:
                stand_in = ir.ExternalTensor(
                    "elsewhere",
                    None,
                    None,
                    dtype=tensor.dtype,
                    name=tensor.name or "",
                    shape=ir.Shape(tensor.shape.numpy()),
                )
            else:
                continue
            swapped.append((value, tensor))
            value.const_value = stand_in
        yield
    finally:
        for value, tensor in swapped:
            value.const_value = tensor
