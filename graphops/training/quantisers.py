"""Training through quantisers: rounding passes the gradient straight through, and their scales are learned.

With the levels r = round(clip(x / s + z, l, h)) - z a quantiser gives q = s r. Inside the limits dq/dx = 1 (the
straight-through estimator, Bengio et al. 2013, arXiv:1308.3432) and dq/ds = r - x / s; outside of them dq/dx = 0 and
dq/ds = r (LSQ, Esser et al. 2020, arXiv:1902.08153, equations 3 and 5). Where a quantiser takes the sign, dq/ds = r;
dq/dx is 1 for weights, and for activations where |x| <= s (Hubara et al. 2016, arXiv:1602.02830). A scale's gradient is
divided by the root of (values a scale x highest level), as in LSQ's section 2.2; quantisers that share a scale add up.

onnxruntime has no gradient for rounding, but one for its own FakeQuant, a node FakeQuantGrad that reads what FakeQuant
made. While the gradient graph is built each quantiser is such a FakeQuant; then both nodes are replaced by standard
operators. Nothing has to be registered, and no scale is known to the builder.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from graphops.quantisers import (
    Expanded,
    Expansion,
    Quantiser,
    constants_of,
    import_domain,
    is_quantiser,
    opset_of,
    read,
)
from graphops.training.flat import Layout
from passes.errors import UserError

_MICROSOFT = "com.microsoft"
_MOST_BITS = 16  # beyond, a grid is that of a sum, and not its own
_LEAST_SHARE = np.float32(0.5)  # of a scale that is left after one step
_LEAST = np.float32(2.0**-10)  # of a scale that is left after all steps, for a dead channel's would halve down to 0


def learned_scales(model: onnx.ModelProto, trained: set[str]) -> set[str]:
    """The scales of which every quantiser reads what depends on a trained value; so the input's is none of them.

    Nor is one of a grid of more than 16 bits, as biases have: it belongs to the products that the bias is added to.

    Raises:
        UserError: when such a scale is not positive.
    """
    constants = {i.name: i for i in model.graph.initializer}
    moving, found, fixed = set(trained), set[str](), set[str]()
    for node in model.graph.node:
        if is_quantiser(node):
            narrow = read(node, constants).bits <= _MOST_BITS
            (found if narrow and node.input[0] in moving else fixed).add(node.input[1])
            fixed.update(node.input[2:])  # exporters share equal constants
        if not moving.isdisjoint(node.input):
            moving.update(node.output)
    found = (found - fixed).intersection(constants)
    for name in sorted(found):
        value = onnx.numpy_helper.to_array(constants[name])
        if value.dtype != np.float32:
            raise UserError(f"The scale {name!r} is {value.dtype} and training is in float32; convert the model.")
        if not (np.isfinite(value).all() and (value > 0).all()):
            raise UserError(f"The scale {name!r} is not positive; calibrate the quantisers again.")
    return found


class Scales:
    """Learned scales that stay positive: a step leaves at least half of each, and all steps a 1,024th.

    Args:
        layout: of the parameters.
        parameters: the flat buffer, with the values that training starts from.
        names: of the scales.
    """

    def __init__(self, layout: Layout, parameters: NDArray[np.float32], names: Sequence[str]) -> None:
        self._views = [layout.view(parameters, name) for name in names]
        self._floors = [view * _LEAST for view in self._views]

    @contextmanager
    def positive(self) -> Iterator[None]:
        """The parameters may change while this lasts."""
        least = [np.maximum(v * _LEAST_SHARE, low) for v, low in zip(self._views, self._floors, strict=True)]
        yield
        for view, low in zip(self._views, least, strict=True):
            np.maximum(view, low, out=view)


@dataclass(frozen=True)
class _Placed:
    """A quantiser and what its gradients need.

    Attributes:
        quantiser: the quantiser.
        is_weight: whether it reads a weight.
        scale: the scale's shape.
        data: the data's shape; None where unknown.
        factor: on the scale's gradient.
    """

    quantiser: Quantiser
    is_weight: bool
    scale: tuple[int, ...]
    data: tuple[int | None, ...] | None
    factor: float


class Placeholders:
    """The quantisers of a training graph, out of sight of the gradient's builder.

    Attributes:
        scales: those of ``trained`` that are learned scales, whose gradients ``fill`` writes.

    Args:
        model: the graph with its loss, shapes inferred with quantisers as the identity; it is changed: a FakeQuant
            stands for each quantiser.
        trained: what gradients are wanted for.

    Raises:
        UserError: when a learned scale's data are of unknown size.
    """

    def __init__(self, model: onnx.ModelProto, trained: Sequence[str]) -> None:
        self.scales: tuple[str, ...] = ()
        self._placed: list[_Placed] = []
        if not any(is_quantiser(node) for node in model.graph.node):
            return
        sizes, constants, opset = _sizes(model), constants_of(model), opset_of(model)
        read_by_quantiser = {n.input[1] for n in model.graph.node if is_quantiser(n)}
        self.scales = tuple(name for name in trained if name in read_by_quantiser)
        weights, moving = {*trained, *constants}, set(trained)
        self._expansion = before = Expansion(opset)
        for node in _without_relus(model):
            moves = not moving.isdisjoint(node.input)
            if is_quantiser(node) and node.input[0] in moving:
                quantiser = read(node, constants)
                placed = self._place(quantiser, quantiser.data in weights, sizes)
                before.nodes.append(self._placeholder(len(self._placed), quantiser))
                self._placed.append(placed)
            elif is_quantiser(node):
                before.quantise(read(node, constants))
            else:
                before.nodes.append(node)
            if moves:
                moving.update(node.output)
        del model.graph.node[:]
        model.graph.node.extend(before.nodes)
        model.graph.initializer.extend(before.constants.values())
        import_domain(model, _MICROSOFT)
        self._expansion = Expansion(opset)

    def fill(self, built: onnx.ModelProto, suffix: str) -> onnx.ModelProto:
        """The gradient graph with real nodes, and an output ``scale + suffix`` for each of ``scales``."""
        if not self._placed:
            return built
        expansion, filled = self._expansion, onnx.ModelProto()
        filled.CopyFrom(built)
        within: dict[str, tuple[_Placed, Expanded]] = {}
        parts: dict[str, list[str]] = {name: [] for name in self.scales}
        for node in built.graph.node:
            if node.op_type == "FakeQuant" and node.domain == _MICROSOFT:
                placed = self._placed[next(a.i for a in node.attribute if a.name == "quant_min")]
                within[node.output[1]] = placed, expansion.quantise(placed.quantiser)
            elif node.op_type == "FakeQuantGrad" and node.input[1] in within:
                placed, inner = within[node.input[1]]
                gradient, result = node.input[0], node.output[0]
                self._data_gradient(placed, inner, gradient, result)
                if placed.quantiser.scale in parts:
                    parts[placed.quantiser.scale].append(self._scale_part(placed, inner, gradient, result))
            else:
                expansion.nodes.append(node)
        shapes = {p.quantiser.scale: p.scale for p in self._placed}
        for scale, summands in parts.items():
            if not summands:
                raise UserError(f"No gradient reaches the quantisers of scale {scale!r}; keep it with `freeze`.")
            self._total(summands, scale + suffix, shapes[scale])
            filled.graph.output.append(
                helper.make_tensor_value_info(scale + suffix, onnx.TensorProto.FLOAT, shapes[scale])
            )
        for placed in self._placed:
            if placed.is_weight:  # who rewrites convolutions wants to know its shape
                name, kind = placed.quantiser.output, onnx.TensorProto.FLOAT
                filled.graph.value_info.append(helper.make_tensor_value_info(name, kind, placed.data))
        del filled.graph.node[:]
        filled.graph.node.extend(expansion.nodes)
        have = {i.name for i in filled.graph.initializer}
        filled.graph.initializer.extend(c for n, c in expansion.constants.items() if n not in have)
        return filled

    def _place(self, quantiser: Quantiser, is_weight: bool, sizes: Mapping[str, tuple[int | None, ...]]) -> _Placed:
        scale, data = (sizes.get(name) for name in (quantiser.scale, quantiser.data))
        if quantiser.scale not in self.scales:
            return _Placed(quantiser, is_weight, (), data, 0.0)
        counted = [*(data or [None])][0 if is_weight else 1 :]
        values = math.prod(d for d in counted if d is not None)
        if data is None or None in counted:
            raise UserError(
                f"The size of {quantiser.data!r}, which {quantiser.node.name or quantiser.output!r} quantises, is "
                "unknown and its scale's gradient depends on it; fix the model's input size."
            )
        shape = tuple(d for d in scale or () if d is not None)
        highest = max(1, quantiser.limits[1]) if quantiser.limits else 1
        return _Placed(quantiser, is_weight, shape, data, 1 / math.sqrt(values / math.prod(shape) * highest))

    def _placeholder(self, number: int, quantiser: Quantiser) -> onnx.NodeProto:
        # Its number keeps the runtime from merging it with another of the same data.
        one, zero = self._expansion.constant(1), self._expansion.constant(0)
        outputs = [quantiser.output, f"{quantiser.output}/open"]
        inputs, name = [quantiser.data, one, zero], quantiser.node.name or quantiser.output
        return helper.make_node(
            "FakeQuant", inputs, outputs, name=name, domain=_MICROSOFT, quant_min=number, quant_max=number + 1
        )

    def _data_gradient(self, placed: _Placed, inner: Expanded, gradient: str, result: str) -> None:
        add, name = self._expansion.add, result
        if placed.quantiser.limits is not None:
            inside = add("Equal", [inner.shifted, inner.clipped], f"{name}/inside")
        elif placed.is_weight:
            add("Identity", [gradient], result)
            return
        else:
            size = add("Abs", [placed.quantiser.data], f"{name}/size")
            beyond = add("Greater", [size, placed.quantiser.scale], f"{name}/beyond")
            inside = add("Not", [beyond], f"{name}/inside")
        add("FakeQuantGrad", [gradient, inside], result, _MICROSOFT)

    def _scale_part(self, placed: _Placed, inner: Expanded, gradient: str, data_gradient: str) -> str:
        """The gradient of the scale by one quantiser, of the scale's rank or a scalar."""
        expansion, name = self._expansion, f"{data_gradient}/scale"
        terms = expansion.add("Mul", [gradient, inner.levels], f"{name}/levels")
        if placed.quantiser.limits is not None:
            inside = expansion.add("Mul", [data_gradient, inner.scaled], f"{name}/inside")
            terms = expansion.add("Sub", [terms, inside], f"{name}/terms")
        shape = placed.scale
        if math.prod(shape) == 1:
            summed = expansion.add("ReduceSum", [terms], f"{name}/sum", keepdims=0)
        else:
            whole = (1,) * (len(placed.data or ()) - len(shape)) + shape
            axes = expansion.constant([k for k, size in enumerate(whole) if size == 1], np.int64)
            summed = expansion.add("ReduceSum", [terms, axes], f"{name}/sum", keepdims=1)
        return expansion.add("Mul", [summed, expansion.constant(placed.factor)], f"{name}/part")

    def _total(self, parts: Sequence[str], result: str, shape: tuple[int, ...]) -> None:
        total = parts[0]
        for k, part in enumerate(parts[1:]):
            total = self._expansion.add("Add", [total, part], f"{result}/sum{k}")
        self._expansion.add("Reshape", [total, self._expansion.constant(shape, np.int64)], result)


def _without_relus(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The model's nodes without each Relu that only an unsigned quantiser reads: that clips at 0 as well."""
    readers = Counter(name for node in model.graph.node for name in node.input)
    readers.update(o.name for o in model.graph.output)
    makers = {o: node for node in model.graph.node for o in node.output}
    constants = constants_of(model)
    gone: set[str] = set()
    for node in model.graph.node:
        maker = makers.get(node.input[0]) if is_quantiser(node) else None
        if maker is None or maker.op_type != "Relu" or readers[node.input[0]] > 1:
            continue
        quantiser = read(node, constants)
        if quantiser.zero is None and quantiser.limits is not None and quantiser.limits[0] == 0:
            gone.add(node.input[0])
            node.input[0] = maker.input[0]
    return [_copy(node) for node in model.graph.node if not gone.intersection(node.output)]


def _sizes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    found: dict[str, tuple[int | None, ...]] = {i.name: tuple(i.dims) for i in model.graph.initializer}
    for value in [*model.graph.value_info, *model.graph.input]:
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            found[value.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    return found


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    return onnx.NodeProto.FromString(node.SerializeToString())
