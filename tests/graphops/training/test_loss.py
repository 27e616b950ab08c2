"""Losses and their gradients against numpy."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from graphops.training import runtime
from graphops.training.gradient import SUFFIX, gradient_graph
from graphops.training.loss import LABELS, TEACHER, Loss, add_loss
from tests.graphops.training.nets import he, net

# Logits are the trained bias plus the input, so that the bias' gradient is the sum of the logits' gradients.
MODEL = net("y = Add(x, bias)", {"bias": he(5)}, given="float[N,5] x", wanted="float[N,5] y")
RNG = np.random.default_rng(3)
X, T = RNG.standard_normal((7, 5)), RNG.standard_normal((7, 5))
LABEL = RNG.integers(0, 5, 7)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(s: np.ndarray) -> tuple[float, np.ndarray]:
    p = softmax(s)
    return float(-np.log(p[np.arange(7), LABEL]).mean()), (p - np.eye(5)[LABEL]) / 7


def squared(s: np.ndarray) -> tuple[float, np.ndarray]:
    return float(((s - T) ** 2).mean()), 2 * (s - T) / s.size


def divergence(s: np.ndarray, t: float) -> tuple[float, np.ndarray]:
    p, q = softmax(s / t), softmax(T / t)
    return float(t**2 * (q * np.log(q / p)).sum(1).mean()), t * (p - q) / 7


def built(loss: Loss) -> tuple[dict[str, float], np.ndarray, tuple[str, ...]]:
    """The terms, the bias' gradient, and what the teacher is asked for."""
    graph = add_loss(MODEL, "y", loss)
    model = gradient_graph(graph.model, graph.terms["loss"], ["bias"])
    session = onnxruntime.InferenceSession(model.SerializeToString(), runtime.session_options())
    feeds = {"x": X.astype(np.float32), LABELS: LABEL, TEACHER + "y": T.astype(np.float32), "bias": he(5)}
    feeds = {i.name: feeds[i.name] for i in session.get_inputs()}
    *terms, gradient = session.run([*graph.terms.values(), "bias" + SUFFIX], feeds)
    return dict(zip(graph.terms, map(float, terms), strict=True)), gradient, graph.wanted


S = X.astype(np.float32).astype(np.float64) + he(5)


def test_without_a_teacher_the_loss_is_the_cross_entropy() -> None:
    terms, gradient, wanted = built(Loss())
    expected, slope = cross_entropy(S)
    assert terms == {"loss": pytest.approx(expected, rel=1e-5), "cross_entropy": pytest.approx(expected, rel=1e-5)}
    np.testing.assert_allclose(gradient, slope.sum(0), atol=1e-6)
    assert wanted == ()


@pytest.mark.parametrize("weight", [0.35, 1.0])
def test_distillation_by_squared_error(weight: float) -> None:
    terms, gradient, wanted = built(Loss(distill_weight=weight))
    (hard, hard_slope), (soft, soft_slope) = cross_entropy(S), squared(S)
    assert terms["distillation"] == pytest.approx(soft, rel=1e-5)
    assert terms["loss"] == pytest.approx((1 - weight) * hard + weight * soft, rel=1e-5)
    np.testing.assert_allclose(gradient, ((1 - weight) * hard_slope + weight * soft_slope).sum(0), atol=1e-6)
    assert wanted == ("y",)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_by_divergence(temperature: float) -> None:
    terms, gradient, _ = built(Loss(distill_weight=0.5, distill="kl", temperature=temperature))
    (hard, hard_slope), (soft, soft_slope) = cross_entropy(S), divergence(S, temperature)
    assert terms["distillation"] == pytest.approx(soft, rel=1e-4)
    assert terms["loss"] == pytest.approx(0.5 * (hard + soft), rel=1e-5)
    np.testing.assert_allclose(gradient, 0.5 * (hard_slope + soft_slope).sum(0), atol=1e-6)


def test_features_follow_the_teachers_and_are_added() -> None:
    terms, gradient, wanted = built(Loss(distill_weight=0.5, features=("y",), feature_weight=2.0))
    (hard, hard_slope), (soft, soft_slope) = cross_entropy(S), squared(S)
    assert terms["feature y"] == pytest.approx(soft, rel=1e-5)
    assert terms["loss"] == pytest.approx(0.5 * hard + 2.5 * soft, rel=1e-5)
    np.testing.assert_allclose(gradient, (0.5 * hard_slope + 2.5 * soft_slope).sum(0), atol=1e-6)
    assert wanted == ("y",)


def test_features_may_have_any_name() -> None:
    body = "soft = Relu(x) log = Relu(soft) p = Relu(log) y = Add(p, bias)"
    model = net(body, {"bias": he(5)}, given="float[N,5] x", wanted="float[N,5] y")
    graph = add_loss(model, "y", Loss(0.5, "kl", features=("soft", "log", "p"))).model.graph
    defined = [i.name for i in graph.input] + [o for n in graph.node for o in n.output]
    assert len(defined) == len(set(defined))
