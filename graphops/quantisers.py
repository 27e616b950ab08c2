"""QONNX's quantisers in standard operators, so that any runtime computes them, many images at once.

The arithmetic is that of qonnx's own execution, operation by operation: what differs from it is the order of sums in
the layers between two quantisers. Quant and IntQuant of any rounding mode and BipolarQuant are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from passes.errors import ModelError
from passes.operators import DEFAULT_DOMAINS
from passes.protobufs import read_value

KINDS = {"Quant": 4, "IntQuant": 4, "BipolarQuant": 2}
"""The quantisers that are known here, and how many inputs each has."""

_MAGIC = 1.5 * 2**23
"""Added to a float32 below 2**22 and taken away again it rounds half to even, several times faster than Round."""

_ROUNDINGS: dict[str, tuple[tuple[str, float], ...]] = {
    "ROUND": (("Round", 0),),
    "HALF_EVEN": (("Round", 0),),
    "CEIL": (("Ceil", 0),),
    "FLOOR": (("Floor", 0),),
    # Those below are of the magnitude, after so much is added to it.
    "UP": (("Abs", 0), ("Ceil", 0)),
    "DOWN": (("Abs", 0), ("Floor", 0)),
    "HALF_UP": (("Abs", 0.5), ("Floor", 0)),
    "HALF_DOWN": (("Abs", -0.5), ("Ceil", 0)),
}


def is_quantiser(node: onnx.NodeProto) -> bool:
    """Whether the node is a quantiser that is known here."""
    wanted = KINDS.get(node.op_type)
    whole = wanted == len(node.input) and len(node.output) == 1 and all((*node.input, *node.output))
    return whole and node.domain not in DEFAULT_DOMAINS


@dataclass(frozen=True)
class Quantiser:
    """A quantiser node, read.

    Attributes:
        node: the node.
        data, scale, output: its tensors.
        zero: the zero point, which broadcasts with the data; None for 0.
        limits: the least and the greatest level; None where it takes the sign: the levels are -1 and 1.
        rounding: the mode's name, in capitals.
        bits: the width of a level.
        divides: whether the data are divided by the scale; BipolarQuant takes the sign alone.
    """

    node: onnx.NodeProto
    zero: np.ndarray | None
    limits: tuple[int, int] | None
    rounding: str = "ROUND"
    bits: int = 1
    divides: bool = True

    @property
    def data(self) -> str:
        return str(self.node.input[0])

    @property
    def scale(self) -> str:
        return str(self.node.input[1])

    @property
    def output(self) -> str:
        return str(self.node.output[0])


def read(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> Quantiser:
    """The quantiser that ``node`` is; ``constants`` are the model's, by name.

    Raises:
        ModelError: when its zero point or bit width is no constant number, or an attribute is unknown.
    """
    if node.op_type == "BipolarQuant":
        return Quantiser(node, None, None, divides=False)
    zero = _constant(node, 2, "zero point", constants)
    bits = np.unique(_constant(node, 3, "bit width", constants))
    if bits.size != 1 or not 1 <= bits[0] <= 32 or bits[0] % 1:
        raise ModelError(f"{_label(node)} has the bit width {bits[:8].tolist()}; give it one whole number of bits.")
    texts = {a.name: a.s.decode(errors="replace").upper() for a in node.attribute}
    mode = texts.get("rounding_mode", "ROUND")
    if mode not in _ROUNDINGS:
        raise ModelError(f"{_label(node)} rounds by {mode[:20]!r}, which qonnx does not know; give it ROUND.")
    flags = {a.name: int(a.i != 0) for a in node.attribute}
    width, signed, narrow = int(bits[0]), flags.get("signed", 1), flags.get("narrow", 0)
    limits = (-(2 ** (width - 1)) + narrow, 2 ** (width - 1) - 1) if signed else (0, 2**width - 1 - narrow)
    by_sign = width == 1 and signed
    return Quantiser(node, zero if zero.any() else None, None if by_sign else limits, mode, width)


@dataclass
class Expansion:
    """Nodes in place of quantisers, and the constants that they read.

    Attributes:
        nodes, constants: what was written so far.
        opset: of the model they are for.
    """

    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def add(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Write one node; returns its output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def constant(self, value: object, kind: type = np.float32) -> str:
        """The name of a constant; equal ones are one."""
        array: np.ndarray = np.asarray(value, kind)
        name = f"graphops_constant/{array.dtype}{list(array.shape)}/{array.tobytes().hex()}"
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def quantise(self, quantiser: Quantiser) -> Expanded:
        """Write the quantiser's nodes; its output keeps its name."""
        name, scale = quantiser.output, quantiser.scale
        scaled = self.add("Div", [quantiser.data, scale], f"{name}/scaled") if quantiser.divides else quantiser.data
        shifted = scaled
        if quantiser.zero is not None:
            zero = self.constant(quantiser.zero)
            shifted = self.add("Add", [scaled, zero], f"{name}/shifted")
        if quantiser.limits is None:
            clipped, levels = shifted, self._sign(shifted, name)
        else:
            clipped = self._clip(shifted, quantiser.limits, name)
            levels = self._round(clipped, quantiser, name)
        if quantiser.zero is not None:
            levels = self.add("Sub", [levels, zero], f"{name}/centred")
        self.add("Mul", [levels, scale], name)
        return Expanded(scaled, shifted, clipped, levels)

    def _clip(self, data: str, limits: tuple[int, int], name: str) -> str:
        if self.opset < 11:  # where limits were attributes
            return self.add("Clip", [data], f"{name}/clipped", min=float(limits[0]), max=float(limits[1]))
        return self.add("Clip", [data, *map(self.constant, limits)], f"{name}/clipped")

    def _sign(self, data: str, name: str) -> str:
        """1 where ``data`` is 0 or more, else -1."""
        negative = self.add("Less", [data, self.constant(0)], f"{name}/negative")
        others = self.add("Not", [negative], f"{name}/others")
        ones = self.add("Cast", [others], f"{name}/ones", to=TensorProto.FLOAT)
        doubled = self.add("Add", [ones, ones], f"{name}/doubled")
        return self.add("Sub", [doubled, self.constant(1)], f"{name}/levels")

    def _round(self, data: str, quantiser: Quantiser, name: str) -> str:
        steps = _ROUNDINGS[quantiser.rounding]
        assert quantiser.limits is not None
        if steps[0][0] == "Round" and max(map(abs, quantiser.limits)) < 2**22:
            magic = self.constant(_MAGIC)
            raised = self.add("Add", [data, magic], f"{name}/raised")
            return self.add("Sub", [raised, magic], f"{name}/levels")
        if len(steps) == 1:
            return self.add(steps[0][0], [data], f"{name}/levels")
        (_, shift), (kind, _) = steps
        size = self.add("Abs", [data], f"{name}/size")
        moved = self.add("Add", [size, self.constant(shift)], f"{name}/moved") if shift else size
        rounded = self.add(kind, [moved], f"{name}/rounded")
        return self.add("Mul", [self.add("Sign", [data], f"{name}/sign"), rounded], f"{name}/levels")


@dataclass(frozen=True)
class Expanded:
    """Tensors within an expanded quantiser.

    Attributes:
        scaled: the data by the scale (where it divides).
        shifted: those, and the zero point.
        clipped: those, between the limits; ``shifted`` itself where there are none.
        levels: the integers, less the zero point.
    """

    scaled: str
    shifted: str
    clipped: str
    levels: str


def standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with its quantisers in standard operators; itself where there are none.

    Raises:
        ModelError: when a quantiser cannot be read.
    """
    if not any(is_quantiser(node) for node in model.graph.node):
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    constants = constants_of(plain)
    expansion = Expansion(opset_of(plain))
    for node in model.graph.node:
        if is_quantiser(node):
            expansion.quantise(read(node, constants))
        else:
            expansion.nodes.append(node)
    del plain.graph.node[:]
    plain.graph.node.extend(expansion.nodes)
    plain.graph.initializer.extend(expansion.constants.values())
    return plain


def with_shapes(model: onnx.ModelProto, data_prop: bool = False) -> onnx.ModelProto:
    """``model`` with the shapes that onnx infers, quantisers taken for the identity."""
    places = [k for k, node in enumerate(model.graph.node) if is_quantiser(node)]
    if not places:
        return onnx.shape_inference.infer_shapes(model, data_prop=data_prop)
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for k in places:
        node = plain.graph.node[k]
        node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output, name=node.name))
    inferred = onnx.shape_inference.infer_shapes(plain, data_prop=data_prop)
    for k in places:
        inferred.graph.node[k].CopyFrom(model.graph.node[k])
    return inferred


def constants_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Initialisers, and what Constant nodes make, by name."""
    found = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators."""
    return next((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), 1)


def import_domain(model: onnx.ModelProto, domain: str) -> None:
    """Say that ``model`` has operators of ``domain``, once."""
    if not any(opset.domain == domain for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _constant(node: onnx.NodeProto, slot: int, what: str, constants: dict[str, onnx.TensorProto]) -> np.ndarray:
    if node.input[slot] not in constants:
        raise ModelError(f"{_label(node)} has a {what} that is not constant; freeze the quantisers before export.")
    value = read_value(constants[node.input[slot]])
    if value.dtype.kind not in "fiu":
        raise ModelError(f"{_label(node)} has a {what} that is no number; export the model again.")
    return value


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}"
