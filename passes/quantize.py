"""Quantisers for a float network, so that it can be trained, and run, in integers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from passes.base import Pass, PassResult, register
from passes.batchnorm import FoldBatchNorm
from passes.constants import FoldConstants
from passes.errors import PassError
from passes.graph import QUANTISERS, Editor, Node, label
from passes.grids import DOMAIN, Grids, Point, WeightedLayer, find_grids
from passes.inline import InlineFunctions
from passes.layers import bias_add, is_rounded, need_weights

_INPUT_BITS = 8
_BIAS_BITS = 24  # float32 holds every integer of so many bits
_SEARCHED = 64  # scales that a weight's is chosen from


@register
@dataclass(frozen=True)
class Quantize(Pass):
    """Puts QONNX quantisers into a float network; training with them then makes up for what rounding costs.

    Weights get a scale an output channel, the classifier's one for all; weights of one bit are
    BipolarQuant. Activations get one scale a tensor, from ``ranges``, and one Quant however many read them. What a join
    adds shares one scale initialiser, so that training keeps both on one grid. The input is a signed Quant of 8 bits;
    the classifier's bias lies on the grid of its products.

    Options:
        weights: bits of weights.
        acts: bits of activations; where they can be negative, at least 2.
        first_last: bits of the first and the last layer's weights, and of what the last layer reads.
        join_acts: bits of what is quantised for a join alone; 0 means acts + 2.
        batchnorm: ``fold`` them into the weights first, or ``keep`` them, so that training normalises: a network of two
            bits that has no skips hardly learns without. In hardware they become part of the thresholds.
        ranges: what the activations span, each as tensor=low:high; ``graphops quantize --data`` measures the rest.
    """

    name: ClassVar[str] = "quantize"
    exact: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = True

    weights: int = 4
    acts: int = 4
    first_last: int = 8
    join_acts: int = 0
    batchnorm: Literal["fold", "keep"] = "fold"
    ranges: tuple[str, ...] = ()

    def apply(self, model: onnx.ModelProto) -> PassResult:
        if _is_quantised(Editor(model)):
            note = "The network is quantised already; nothing was changed."
            return PassResult(Editor(model).finish()[0], False, (note,))
        ready = _flat(model)
        notes: tuple[str, ...] = ()
        if self.batchnorm == "fold":
            folded = FoldBatchNorm().apply(ready)
            ready, notes = folded.model, folded.notes
        editor = Editor(ready)
        notes = (*notes, *self.rewrite(editor))
        return PassResult(editor.finish()[0], True, notes)

    def rewrite(self, editor: Editor) -> list[str]:
        need_weights(editor)
        grids = find_grids(editor)
        if not grids.layers:
            raise PassError(self.name, "the network", "it has no weighted layer", "quantise a network with weights")
        scales = self._scales(grids)
        writer = _Writer(editor)
        shared = {group: editor.add_constant(f"{name}_scale", scale) for group, (name, scale) in scales.items()}
        groups = {point.tensor: point.group for point in grids.points}
        for layer in grids.layers:
            bits = self.first_last if layer.is_first or layer.is_last else self.weights
            scale = writer.weights(layer, bits)
            if layer.is_last:
                writer.bias(layer, shared[groups[layer.point]], scale)
        for point in grids.points:
            writer.point(point, shared[point.group], self._bits(point))
        return list(grids.notes)

    def points(self, model: onnx.ModelProto) -> dict[str, tuple[int, bool]]:
        """The activations that need ranges, as `prepare` names them: their bits, and whether they are signed."""
        grids = find_grids(Editor(prepare(model)))
        return {point.tensor: (self._bits(point), point.is_signed or point.is_input) for point in grids.points}

    def calibrated(self, ranges: Mapping[str, tuple[float, float]]) -> Quantize:
        """This pass with the ranges given by tensor: the lowest and the highest value worth representing."""
        return replace(
            self, ranges=tuple(f"{name}={float(low)!r}:{float(high)!r}" for name, (low, high) in ranges.items())
        )

    def given(self, points: Iterable[str]) -> dict[str, tuple[float, float]]:
        """The ranges by tensor.

        Raises:
            PassError: when one is no range, or of a tensor that is not among ``points``, which are quantised.
        """
        found, known = {}, list(points)
        for text in self.ranges:
            name, _, span = text.rpartition("=")
            try:
                low, high = (float(number) for number in span.split(":"))
            except ValueError:
                low = high = math.nan
            if not -math.inf < low <= high < math.inf:
                remedy = "write tensor=low:high, e.g. relu1.out=0:3.5"
                raise PassError(self.name, text, "it is no range from one number up to another", remedy)
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0)
                remedy = f"the nearest is {near[0]!r}" if near else "leave it out"
                raise PassError(self.name, text, "no such tensor is quantised", remedy)
            found[name] = (low, high)
        return found

    def __post_init__(self) -> None:
        super().__post_init__()
        bits = {"weights": (self.weights, 1, 8), "acts": (self.acts, 1, 8), "first_last": (self.first_last, 1, 8)}
        bits["join_acts"] = (self.join_acts, 2 if self.join_acts else 0, 10)
        for option, (value, low, high) in bits.items():
            if not low <= value <= high:
                raise PassError(self.name, option, f"{value} bits are out of range", f"give {low} to {high}")

    def _bits(self, point: Point) -> int:
        if point.is_input:
            return _INPUT_BITS
        if point.only_joins:
            return self.join_acts or self.acts + 2
        bits = self.first_last if point.only_last else self.acts
        return max(2, bits) if point.is_signed else bits

    # -- activations -----------------------------------------------------------------------------------------

    def _scales(self, grids: Grids) -> dict[int, tuple[str, np.ndarray]]:
        """By group: the first tensor's name, and the scale.

        Where tensors that more than joins read are in a group, they say its scale: what is quantised for a join alone
        has more bits, and takes it over.
        """
        ranges = self.given(point.tensor for point in grids.points)
        scales: dict[int, tuple[str, np.ndarray]] = {}
        for group in dict.fromkeys(point.group for point in grids.points):
            members = [point for point in grids.points if point.group == group]
            leading = [point for point in members if not point.only_joins] or members
            widest = max(self._scale(point, ranges) for point in leading)
            scales[group] = (leading[0].tensor, np.array(widest, np.float32))
        return scales

    def _scale(self, point: Point, ranges: Mapping[str, tuple[float, float]]) -> float:
        """The least scale whose grid spans the point's range."""
        if point.tensor not in ranges:
            remedy = "measure ranges on data: `graphops quantize --data`, or graphops.calibrate"
            raise PassError(self.name, point.tensor, "its range is not known", remedy)
        (low, high), bits = ranges[point.tensor], self._bits(point)
        if point.is_signed or point.is_input:
            scale = max(-low / 2 ** (bits - 1), high / (2 ** (bits - 1) - 1))
        else:
            scale = high / (2**bits - 1)
        return scale if scale > 0 else 1.0  # a tensor that is always 0


class _Writer:
    """Puts quantisers into a graph; those of equal width share the constants that say it."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._shared: dict[str, gs.Variable] = {}

    def point(self, point: Point, scale: gs.Variable, bits: int) -> None:
        """Everything that reads the point's tensor reads its quantiser."""
        editor, tensor = self._editor, self._editor.tensor(point.tensor)
        others, name = self._parameters(scale, bits), f"{point.tensor}_quant"
        signed = int(point.is_signed or point.is_input)
        if editor.producer(tensor) is not None:
            editor.splice(tensor, "Quant", others, name, domain=DOMAIN, signed=signed, narrow=0, rounding_mode="ROUND")
            return
        readers = editor.consumers(tensor)
        made = self._quant([tensor, *others], name, readers[0], signed, narrow=0)
        for reader in readers:
            for slot, read in enumerate(reader.inputs):
                if read.name == tensor.name:
                    editor.set_input(reader, slot, made)

    def weights(self, layer: WeightedLayer, bits: int) -> gs.Variable:
        """The layer reads quantised weights; returns their scale."""
        editor, tensor = self._editor, layer.node.inputs[layer.weight]
        value = editor.value(tensor)
        axis = None if layer.is_last else _output_axis(editor, layer, value.ndim)
        if value.dtype != np.float32:
            reason = f"its weights are {value.dtype}, and QONNX's quantisers make float32"
            raise PassError(Quantize.name, label(layer.node), reason, "export the network in float32")
        scale = editor.add_constant(f"{tensor.name}_scale", _weight_scale(value, bits, axis))
        name = f"{tensor.name}_quant"
        if bits == 1:
            made = editor.add_node("BipolarQuant", [tensor, scale], name, before=layer.node, domain=DOMAIN)
        else:
            made = self._quant([tensor, *self._parameters(scale, bits)], name, layer.node, signed=1, narrow=1)
        editor.set_input(layer.node, layer.weight, made)
        return scale

    def bias(self, layer: WeightedLayer, data: gs.Variable, weights: gs.Variable) -> None:
        """The layer's bias lies on the grid of its products, whose scale is that of data by that of weights."""
        found = _bias_of(self._editor, layer)
        if found is None:
            return
        reader, slot = found
        bias = reader.inputs[slot]
        scale = self._editor.add_node("Mul", [data, weights], f"{bias.name}_scale", before=reader)
        inputs = [bias, *self._parameters(scale, _BIAS_BITS)]
        self._editor.set_input(reader, slot, self._quant(inputs, f"{bias.name}_quant", reader, signed=1, narrow=0))

    def _quant(self, inputs: list[gs.Variable], name: str, before: Node, signed: int, narrow: int) -> gs.Variable:
        return self._editor.add_node(
            "Quant", inputs, name, before=before, domain=DOMAIN, signed=signed, narrow=narrow, rounding_mode="ROUND"
        )

    def _parameters(self, scale: gs.Variable, bits: int) -> list[gs.Variable]:
        return [scale, self._constant("quant_zero", 0), self._constant(f"quant_bits_{bits}", bits)]

    def _constant(self, name: str, value: int) -> gs.Variable:
        if name not in self._shared:
            self._shared[name] = self._editor.add_constant(name, np.array(value, np.float32))
        return self._shared[name]


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` as `Quantize` sees it: functions inlined, constants and batch norms folded; tensors keep names."""
    return FoldBatchNorm().apply(_flat(model)).model


def _flat(model: onnx.ModelProto) -> onnx.ModelProto:
    return FoldConstants().apply(InlineFunctions().apply(model).model).model


def _is_quantised(editor: Editor) -> bool:
    """Whether every weighted layer is; a PassError where only some are."""
    if not any(node.op in QUANTISERS for node in editor.nodes):
        return False
    floats = []
    for layer in find_grids(editor).layers:
        if not is_rounded(editor, layer.node.inputs[layer.weight]):
            floats.append(layer.node)
    if floats:
        reason = "others are quantised, its weights are not"
        raise PassError(Quantize.name, label(floats[0]), reason, "start from the network without any quantiser")
    return True


def _bias_of(editor: Editor, layer: WeightedLayer) -> tuple[Node, int] | None:
    """Who reads the layer's bias, and where: itself, or an Add after a MatMul; None where there is none."""
    node = layer.node
    if node.op == "MatMul":
        return bias_add(editor, node.outputs[0])
    return (node, 2) if len(node.inputs) > 2 and node.inputs[2].name else None


def _output_axis(editor: Editor, layer: WeightedLayer, rank: int) -> int | None:
    """The axis of the weights, of ``rank``, that counts outputs; None where one scale has to do for all."""
    if layer.node.op == "Conv":
        return 0
    if layer.node.op == "Gemm":
        return 0 if editor.attribute(layer.node, "transB", 0) else 1
    return max(rank - 1, 1) if layer.node.op == "MatMul" and layer.weight == 1 else None


def _weight_scale(value: np.ndarray, bits: int, axis: int | None) -> np.ndarray:
    """The scale, of those tried, with the least squared error; one for each place on ``axis``.

    For one bit it is the mean magnitude (Rastegari et al. 2016, arXiv:1603.05279, which proves it the best).
    """
    axes = tuple(i for i in range(value.ndim) if i != axis)
    value = value.astype(np.float64)
    if bits == 1:
        best = np.abs(value).mean(axis=axes, keepdims=True)
    else:
        reach = 2 ** (bits - 1) - 1
        largest = np.abs(value).max(axis=axes, keepdims=True)
        best, least = largest / reach, np.full(largest.shape, np.inf)
        for share in np.linspace(0.2, 1, _SEARCHED):
            scale = np.where(largest > 0, share * largest / reach, 1)
            error = ((np.clip(np.round(value / scale), -reach, reach) * scale - value) ** 2).sum(
                axis=axes, keepdims=True
            )
            best, least = np.where(error < least, scale, best), np.minimum(error, least)
    best = np.where(best > 0, best, 1).astype(np.float32)
    return best.reshape(()) if axis is None else best
