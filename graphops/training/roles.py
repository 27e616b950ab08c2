"""Which of a graph's initialisers are trained, which are running statistics, and which keep their values.

Trained: float weights and biases of layers, normalisation scales and biases, and per-channel constants that are
added or multiplied behind the first layer. Kept: everything that is not float32, single numbers (Clip bounds,
epsilons), the gates of skip connections (the schedule sets them), masks of -inf, and constants before the first layer,
which normalise the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from graphops.training.quantisers import learned_scales
from passes.errors import UserError

# Operators with weights, and the places of their trained inputs.
PLACES = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "PRelu": (1,),
    # What a quantiser on a weight reads. Scales: `quantisers.learned_scales`.
    "Quant": (0,),
    "IntQuant": (0,),
    "BipolarQuant": (0,),
}
STATISTICS = {"BatchNormalization": (3, 4)}
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


@dataclass(frozen=True)
class Normalisation:
    """The running statistics of one BatchNormalization; ``momentum`` is the share of the old value in an update."""

    mean: str
    variance: str
    momentum: float


@dataclass(frozen=True)
class Roles:
    """Names of initialisers by what training does with them, in the graph's order; ``scales`` are trained too."""

    trained: tuple[str, ...]
    normalisations: tuple[Normalisation, ...]
    gates: tuple[str, ...]
    scales: tuple[str, ...] = ()

    @property
    def statistics(self) -> tuple[str, ...]:
        return tuple(name for n in self.normalisations for name in (n.mean, n.variance))


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether ``name`` is one of ``patterns``, in which * and ? stand for others; exporters write [ in names."""
    return any(fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns)


def roles(model: onnx.ModelProto, gates: Sequence[str] = (), freeze: Sequence[str] = ()) -> Roles:
    """The roles of the initialisers of a flat graph; ``freeze`` holds name patterns of initialisers to keep.

    Raises:
        UserError: when one running statistic of a BatchNormalization is kept and the other is not.
    """
    initialisers = {i.name: i for i in model.graph.initializer}
    frozen = {name for name in initialisers if matches(name, freeze)}
    trained: set[str] = set()
    normalisations: dict[str, Normalisation] = {}
    behind: set[str] = set()  # tensors behind a layer
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and (node.input[3] in frozen) != (node.input[4] in frozen):
            raise UserError(
                f"`freeze` keeps one of the running statistics {node.input[3]!r} and {node.input[4]!r} and not the "
                "other; keep both or none."
            )
        trained.update(node.input[p] for p in PLACES.get(node.op_type, ()) if p < len(node.input))
        if node.op_type in ("Add", "Mul") and any(i in behind for i in node.input):
            trained.update(i for i in node.input if i in initialisers and _is_trainable(initialisers[i]))
        if node.op_type == "BatchNormalization" and node.input[3] not in frozen:
            momentum = next((a.f for a in node.attribute if a.name == "momentum"), 0.9)
            normalisations.setdefault(node.input[3], Normalisation(node.input[3], node.input[4], momentum))
        if node.op_type in LAYERS or any(i in behind for i in node.input):
            behind.update(node.output)
    statistics = {name for n in normalisations.values() for name in (n.mean, n.variance)}
    kept = statistics | set(gates) | frozen
    trained -= kept
    trained = {n for n in trained if n in initialisers and initialisers[n].data_type == TensorProto.FLOAT}
    scales = learned_scales(model, trained) - kept
    return Roles(
        tuple(name for name in initialisers if name in trained | scales),
        tuple(normalisations.values()),
        tuple(g for g in gates if g in initialisers and g not in frozen),
        tuple(name for name in initialisers if name in scales),
    )


def _is_trainable(constant: onnx.TensorProto) -> bool:
    """Whether a constant that is added or multiplied may be trained; a mask of -inf would become NaN by its decay."""
    return math.prod(constant.dims) > 1 and bool(np.isfinite(numpy_helper.to_array(constant)).all())


def weights(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Each operator with weights and the tensor at each of its weight places, running statistics included."""
    return [
        (node, node.input[place])
        for node in model.graph.node
        for place in PLACES.get(node.op_type, ()) + STATISTICS.get(node.op_type, ())
        if place < len(node.input) and node.input[place]
    ]
