"""The loss as part of the training graph: cross-entropy, and distillation against a teacher's values fed as inputs.

    loss = (1 - a) * cross-entropy + a * distillation + b * sum over features of mean((student - teacher)^2)

The distillation on logits is the mean of (s - t)^2 over all logits (``mse``), or T^2 times the batch mean of
KL(softmax(t / T) || softmax(s / T)) (``kl``; Hinton, Vinyals, Dean 2015). Every term is a mean over the batch, so that
the loss of a batch is the mean of its equal shares' losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PREFIX = "graphops_loss/"
LOSS = PREFIX + "loss"
LABELS = PREFIX + "labels"
TEACHER = PREFIX + "teacher/"


@dataclass(frozen=True)
class Loss:
    """What to minimise; ``distill_weight`` 0 and no features is plain cross-entropy."""

    distill_weight: float = 0.0
    distill: str = "mse"
    temperature: float = 4.0
    features: tuple[str, ...] = ()
    feature_weight: float = 1.0


@dataclass(frozen=True)
class LossGraph:
    """A graph with a loss.

    Attributes:
        model: inputs: the model's, ``LABELS`` (int64 [N]), and ``TEACHER + tensor`` for each of ``wanted``; outputs:
            ``LOSS``, the other terms, the logits.
        terms: tensor of each term by name, ``loss`` first; all are float32 scalars.
        wanted: tensors of the student that the teacher's values are needed for, the logits first.
    """

    model: onnx.ModelProto
    terms: dict[str, str]
    wanted: tuple[str, ...]


def add_loss(model: onnx.ModelProto, logits: str, loss: Loss) -> LossGraph:
    """A copy of ``model`` (whose tensor ``logits`` is [N, classes]) with the loss behind it."""
    graph = _Graph(model)
    terms: dict[str, str] = {}
    parts: list[tuple[float, str]] = []
    wanted: list[str] = []
    if loss.distill_weight < 1:
        graph.take_input(LABELS, TensorProto.INT64, ["N"])
        terms["cross_entropy"] = graph.cross_entropy(logits)
        parts.append((1 - loss.distill_weight, terms["cross_entropy"]))
    if loss.distill_weight > 0:
        teacher = graph.teacher(logits, rank=2)
        made = (
            graph.squared_error(logits, teacher, "distillation")
            if loss.distill == "mse"
            else graph.divergence(logits, teacher, loss.temperature)
        )
        terms["distillation"] = made
        parts.append((loss.distill_weight, made))
        wanted.append(logits)
    for number, feature in enumerate(dict.fromkeys(loss.features)):
        made = graph.squared_error(feature, graph.teacher(feature), f"feature{number}")
        terms[f"feature {feature}"] = made
        parts.append((loss.feature_weight, made))
        wanted.append(feature)
    graph.total(parts)
    graph.outputs([LOSS, *terms.values(), logits])
    return LossGraph(graph.model, {"loss": LOSS, **terms}, tuple(dict.fromkeys(wanted)))


class _Graph:
    """Appends loss nodes to a copy of a model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)

    def node(self, kind: str, inputs: Sequence[str], name: str, *others: str, **attributes: Any) -> str:
        outputs = [PREFIX + name, *(PREFIX + o for o in others)]
        self.model.graph.node.append(helper.make_node(kind, list(inputs), outputs, name=PREFIX + name, **attributes))
        return outputs[0]

    def constant(self, value: object, name: str, kind: type = np.float32) -> str:
        self.model.graph.initializer.append(numpy_helper.from_array(np.array(value, kind), PREFIX + name))
        return PREFIX + name

    def take_input(self, name: str, kind: int, shape: Sequence[str | int] | None) -> str:
        self.model.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def teacher(self, tensor: str, rank: int | None = None) -> str:
        if any(i.name == TEACHER + tensor for i in self.model.graph.input):
            return TEACHER + tensor  # the logits may be a feature as well
        shape = [f"{TEACHER}{tensor}/{k}" for k in range(rank)] if rank else None
        return self.take_input(TEACHER + tensor, TensorProto.FLOAT, shape)

    def cross_entropy(self, logits: str) -> str:
        # Its gradient reads the second output, so that must be declared.
        return self.node(
            "SoftmaxCrossEntropyLoss", [logits, LABELS], "cross_entropy", "log_probabilities", reduction="mean"
        )

    def squared_error(self, tensor: str, teacher: str, name: str) -> str:
        difference = self.node("Sub", [tensor, teacher], f"{name}/difference")
        square = self.node("Mul", [difference, difference], f"{name}/square")
        return self.node("ReduceMean", [square], name, keepdims=0)

    def divergence(self, logits: str, teacher: str, temperature: float) -> str:
        t = self.constant(temperature, "temperature")
        log_s = self.node("LogSoftmax", [self.node("Div", [logits, t], "student/soft")], "student/log", axis=-1)
        log_t = self.node("LogSoftmax", [self.node("Div", [teacher, t], "divergence/soft")], "divergence/log", axis=-1)
        difference = self.node("Sub", [log_t, log_s], "divergence/difference")
        terms = self.node("Mul", [self.node("Exp", [log_t], "divergence/p"), difference], "divergence/terms")
        rows = self.node("ReduceSum", [terms, self.constant([1], "axis", np.int64)], "divergence/rows", keepdims=0)
        mean = self.node("ReduceMean", [rows], "divergence/mean", keepdims=0)
        return self.node("Mul", [mean, self.constant(temperature**2, "temperature2")], "distillation")

    def total(self, parts: Sequence[tuple[float, str]]) -> None:
        if len(parts) == 1 and parts[0][0] == 1:
            self.node("Identity", [parts[0][1]], "loss")
            return
        weighted = [
            self.node("Mul", [part, self.constant(weight, f"weight{k}")], f"weighted{k}")
            for k, (weight, part) in enumerate(parts)
        ]
        while len(weighted) > 1:
            name = "loss" if len(weighted) == 2 else f"sum{len(weighted)}"
            weighted = [self.node("Add", weighted[:2], name), *weighted[2:]]
        if weighted[0] != LOSS:
            self.node("Identity", weighted, "loss")

    def outputs(self, names: Sequence[str]) -> None:
        del self.model.graph.output[:]
        self.model.graph.output.extend(
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [] if n.startswith(PREFIX) else None) for n in names
        )
