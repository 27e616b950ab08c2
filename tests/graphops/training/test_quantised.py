"""Gradients through quantisers: straight through the rounding, and LSQ's for the scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from graphops.training.engine import Engine
from graphops.training.flat import Layout
from graphops.training.loss import LABELS, Loss, add_loss
from graphops.training.prepare import prepare
from graphops.training.quantisers import Scales
from hls_backend.qonnx_execution import execute
from passes import FoldConstants, UserError
from tests.graphops.training.nets import he, net, value, zeros

DOMAINS = ', "qonnx.custom_op.general" : 1'
Q = "qonnx.custom_op.general.Quant"
BODY = f"""
qx = {Q} <signed = 1, narrow = 0> (x, input_scale, zero, bits8)
qw = {Q} <signed = 1, narrow = 1> (conv_w, conv_scale, zero, bits3)
c = Conv <pads = [1,1,1,1]> (qx, qw, conv_b)
r = Relu(c)
a = {Q} <signed = 0, narrow = 0> (r, act_scale, zero, bits2)
qv = MIDDLE
d = Conv <pads = [1,1,1,1]> (a, qv)
e = {Q} <signed = 1, narrow = 0> (d, act_scale, zero, bits4)
j = Add(a, e)
p = GlobalAveragePool(j)
q = {Q} <signed = 1, narrow = 0> (p, pool_scale, zero, bits8)
f = Flatten(q)
qf = {Q} <signed = 1, narrow = 1> (fc_w, fc_scale, zero, bits8)
bias_scale = Mul(pool_scale, fc_scale)
qb = {Q} <signed = 1, narrow = 0> (fc_b, bias_scale, zero, bits24)
y = Gemm <transB = 1> (f, qf, qb)
"""
ROUNDED = f"{Q} <signed = 1, narrow = 1> (conv2_w, conv2_scale, zero, bits2)"
SIGNS = "qonnx.custom_op.general.BipolarQuant (conv2_w, conv2_scale)"

Arrays = dict[str, NDArray[np.float32]]


def number(x: float) -> NDArray[np.float32]:
    return np.array(x, np.float32)


def quantised(middle: str = ROUNDED, **more: object) -> onnx.ModelProto:
    """Two convolutions of 4 channels, a join whose two quantisers share a scale, and a classifier.

    No scale is a round number of another: then sums would lie on boundaries, and float rounding would decide.
    """
    weights: dict[str, object] = {
        "conv_w": he(4, 1, 3, 3),
        "conv_b": np.linspace(-0.3, 0.3, 4, dtype=np.float32),
        "conv2_w": he(4, 4, 3, 3),
        "fc_w": he(10, 4),
        "fc_b": np.linspace(-1, 1, 10, dtype=np.float32),
        "input_scale": number(0.0471),
        "conv_scale": np.linspace(0.2013, 0.3171, 4, dtype=np.float32).reshape(4, 1, 1, 1),
        "conv2_scale": np.linspace(0.1037, 0.2119, 4, dtype=np.float32).reshape(4, 1, 1, 1),
        "fc_scale": number(0.0193),
        "act_scale": number(0.3977),
        "pool_scale": np.array([0.0137], np.float32),
        "zero": number(0),
    }
    weights |= {f"bits{n}": number(n) for n in (2, 3, 4, 8, 24)} | more
    model = net(BODY.replace("MIDDLE", middle), weights, domains=DOMAINS)
    used = {name for node in model.graph.node for name in node.input}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def images(count: int = 8) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(count, 1, 8, 8)).astype(np.float32)


def gradients(
    model: onnx.ModelProto, x: NDArray[np.float32], workers: int = 1, freeze: Sequence[str] = ()
) -> tuple[Arrays, float]:
    """The gradient of the cross-entropy by each trained value, as the trainer computes it, and the loss."""
    prepared = prepare(model, freeze=freeze)
    graph = add_loss(prepared.model, prepared.logits, Loss())
    feeds = {"x": (np.dtype(np.float32), x.shape[1:]), LABELS: (np.dtype(np.int64), ())}
    engine = Engine(graph, prepared.logits, prepared.roles, feeds, 10, len(x), workers)
    found = engine.step({"x": x, LABELS: np.arange(len(x)) % 10})
    engine.close()
    return engine.layout.unpack(found.gradient), found.terms["loss"]


class Formula:
    """The same network and its gradients in float64, by hand."""

    def __init__(self, model: onnx.ModelProto, x: NDArray[np.float32]) -> None:
        self.v = {i.name: numpy_helper.to_array(i).astype(np.float64) for i in model.graph.initializer}
        self.signs = any(n.op_type == "BipolarQuant" for n in model.graph.node)
        self.x, self.found = x, dict[str, NDArray]()

    def gradients(self) -> Mapping[str, NDArray]:
        v = self.v
        count = len(self.x)
        qx = self.quant(self.x, v["input_scale"], -128, 127)
        qw = self.quant(v["conv_w"], v["conv_scale"], -3, 3)
        c = self.conv(qx, qw) + v["conv_b"].reshape(1, 4, 1, 1)
        r = np.maximum(c, 0)
        a = self.quant(r, v["act_scale"], 0, 3)
        signed = np.where(v["conv2_w"] >= 0, 1, -1) * v["conv2_scale"]
        qv = signed if self.signs else self.quant(v["conv2_w"], v["conv2_scale"], -1, 1)
        d = self.conv(a, qv)
        e = self.quant(d, v["act_scale"], -8, 7)
        p = (a + e).mean(axis=(2, 3))
        q = self.quant(p, v["pool_scale"], -128, 127)
        qf = self.quant(v["fc_w"], v["fc_scale"], -127, 127)
        qb = self.quant(v["fc_b"], v["pool_scale"] * v["fc_scale"], -(2**23), 2**23 - 1)
        y = q @ qf.T + qb
        odds = np.exp(y - y.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        gy = (odds - np.eye(10)[np.arange(count) % 10]) / count
        self.found["fc_b"] = gy.sum(axis=0)
        gf = self.back(gy.T @ q, "fc_w", "fc_scale", -127, 127)
        assert gf.shape == (10, 4)
        gp = self.back_act(gy @ qf, p, "pool_scale", -128, 127)
        gj = np.broadcast_to(gp[:, :, None, None] / 64, a.shape)
        gd = self.back_act(gj, d, "act_scale", -8, 7)
        gv = self.conv_weight(a, gd)
        if self.signs:
            self.found["conv2_w"] = gv
            levels = signed / v["conv2_scale"]
            self.found["conv2_scale"] = (gv * levels).sum(axis=(1, 2, 3), keepdims=True) / np.sqrt(36)
        else:
            self.back(gv, "conv2_w", "conv2_scale", -1, 1)
        ga = gj + self.conv_data(gd, qv)
        gr = self.back_act(ga, r, "act_scale", 0, 3)
        gc = gr * (c > 0)
        self.found["conv_b"] = gc.sum(axis=(0, 2, 3))
        self.back(self.conv_weight(qx, gc), "conv_w", "conv_scale", -3, 3)
        return self.found

    def quant(self, x: NDArray, s: NDArray, low: int, high: int) -> NDArray:
        # At a boundary float32 decides: the values are those of the runtime.
        t = x.astype(np.float32) / s.astype(np.float32)
        return np.round(np.clip(t, low, high)).astype(np.float64) * s

    def back(self, g: NDArray, weight: str, scale: str, low: int, high: int) -> NDArray:
        """LSQ's equations for a weight; the sum is over what shares a scale."""
        w, s = self.v[weight], self.v[scale]
        inside, slope = self.slope(w, s, low, high)
        axes = tuple(k for k, n in enumerate(s.shape) if n == 1) if s.ndim else None
        values = w.size / s.size
        self.found[weight] = g * inside
        self.found[scale] = (g * slope).sum(axis=axes, keepdims=bool(s.ndim)) / np.sqrt(values * high)
        return self.found[weight]

    def back_act(self, g: NDArray, x: NDArray, scale: str, low: int, high: int) -> NDArray:
        inside, slope = self.slope(x, self.v[scale], low, high)
        part = (g * slope).sum().reshape(self.v[scale].shape) / np.sqrt(x[0].size * high)
        self.found[scale] = self.found.get(scale, np.zeros_like(part)) + part
        return g * inside

    @staticmethod
    def slope(x: NDArray, s: NDArray, low: int, high: int) -> tuple[NDArray, NDArray]:
        t = x / s
        inside = (low <= t) & (t <= high)
        levels = np.round(np.clip((x.astype(np.float32) / s.astype(np.float32)), low, high))
        return inside, np.where(inside, levels - t, levels)

    @staticmethod
    def windows(x: NDArray) -> NDArray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))  # type: ignore[no-any-return,call-overload]

    def conv(self, x: NDArray, w: NDArray) -> NDArray:
        return np.einsum("nchwij,ocij->nohw", self.windows(x), w)

    def conv_weight(self, x: NDArray, g: NDArray) -> NDArray:
        return np.einsum("nchwij,nohw->ocij", self.windows(x), g)

    def conv_data(self, g: NDArray, w: NDArray) -> NDArray:
        return self.conv(g, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))


@pytest.mark.parametrize("middle", [ROUNDED, SIGNS], ids=["rounded", "signs"])
@pytest.mark.parametrize("workers", [1, 2])
def test_gradients_are_those_of_the_straight_through_estimator_and_lsq(middle: str, workers: int) -> None:
    model, x = quantised(middle), images()
    found, loss = gradients(model, x, workers)
    expected = Formula(model, x).gradients()
    assert set(found) == set(expected), "the input's scale has no gradient, zero points and bits are no parameters"
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max(), err_msg=name)
    logits = execute(model, x)["y"].astype(np.float64)
    log_odds = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-log_odds[np.arange(8), np.arange(8)].mean(), rel=1e-5)


def test_a_zero_point_stays_and_moves_the_limits() -> None:
    body = f"""
    c = Conv <pads = [1,1,1,1]> (x, conv_w)
    b = {Q} <signed = 0, narrow = 0> (c, scale, zero, bits)
    p = GlobalAveragePool(b)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, fc_w)
    """
    weights = {"conv_w": he(4, 1, 3, 3), "fc_w": he(10, 4), "scale": number(0.4), "zero": number(2), "bits": number(3)}
    model, x = net(body, weights, domains=DOMAINS), images()
    found, _ = gradients(model, x)
    assert set(found) == {"conv_w", "fc_w", "scale"}
    own = Formula(model, x)
    c = own.conv(x.astype(np.float64), own.v["conv_w"])
    b = own.quant(c, own.v["scale"], -2, 5)
    y = b.mean(axis=(2, 3)) @ own.v["fc_w"].T
    odds = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    gy = (odds - np.eye(10)[np.arange(8)]) / 8
    gb = np.broadcast_to((gy @ own.v["fc_w"])[:, :, None, None] / 64, c.shape)
    inside, slope = own.slope(c, own.v["scale"], -2, 5)
    np.testing.assert_allclose(found["scale"], (gb * slope).sum() / np.sqrt(256 * 7), rtol=1e-4)
    np.testing.assert_allclose(found["conv_w"], own.conv_weight(x, gb * inside), rtol=1e-4, atol=1e-6)


def test_a_scale_that_is_computed_from_a_constant_stays() -> None:
    body = f"""
    c = Conv <pads = [1,1,1,1]> (x, conv_w)
    SCALE b = {Q} <signed = 0, narrow = 0> (c, scale, zero, bits)
    p = GlobalAveragePool(b)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, fc_w)
    """
    weights = {"conv_w": he(4, 1, 3, 3), "fc_w": he(10, 4), "zero": number(0), "bits": number(3)}
    stored = net(body.replace("SCALE", ""), {**weights, "scale": number(0.25)}, domains=DOMAINS)
    computed = net(body.replace("SCALE", "scale = Mul(s, s)"), {**weights, "s": number(-0.5)}, domains=DOMAINS)
    expected, loss = gradients(stored, images(), freeze=["scale"])
    found, same = gradients(computed, images())
    assert same == loss
    assert set(found) == {"conv_w", "fc_w"}
    for name, gradient in expected.items():
        np.testing.assert_array_equal(found[name], gradient)


def test_signs_of_activations_pass_gradients_within_the_scale_alone() -> None:
    body = """
    c = Conv <pads = [1,1,1,1]> (x, conv_w)
    b = qonnx.custom_op.general.BipolarQuant (c, scale)
    p = GlobalAveragePool(b)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, fc_w)
    """
    model = net(body, {"conv_w": he(4, 1, 3, 3), "fc_w": he(10, 4), "scale": number(0.7)}, domains=DOMAINS)
    x = images()
    found, _ = gradients(model, x)
    own = Formula(model, x)
    c = own.conv(x.astype(np.float64), own.v["conv_w"])
    signs = np.where(c >= 0, 1.0, -1.0)
    y = (0.7 * signs).mean(axis=(2, 3)) @ own.v["fc_w"].T
    odds = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    gy = (odds - np.eye(10)[np.arange(8)]) / 8
    gb = np.broadcast_to((gy @ own.v["fc_w"])[:, :, None, None] / 64, c.shape)
    np.testing.assert_allclose(found["conv_w"], own.conv_weight(x, gb * (np.abs(c) <= 0.7)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["scale"], (gb * signs).sum() / np.sqrt(256), rtol=1e-4)


def test_frozen_weights_are_rounded_but_neither_they_nor_their_scale_move() -> None:
    model = quantised()
    found = prepare(model, freeze=["conv_*"]).roles
    assert set(found.trained) == {"conv2_w", "fc_w", "fc_b", "conv2_scale", "fc_scale", "pool_scale"}, (
        "act_scale is that of the first layer's output as well"
    )
    assert set(found.scales) == {"conv2_scale", "fc_scale", "pool_scale"}
    assert set(prepare(model, freeze=["*_scale"]).roles.trained) == {"conv_w", "conv_b", "conv2_w", "fc_w", "fc_b"}

    x = images()
    found_all, loss = gradients(model, x)
    for patterns in (["conv_*"], ["*_scale"], ["conv_w", "input_scale", "conv_scale"]):
        found_rest, same = gradients(model, x, freeze=patterns)
        assert same == loss
        for name, gradient in found_rest.items():
            np.testing.assert_array_equal(gradient, found_all[name])


def test_a_weight_that_the_graph_computes_from_integers_becomes_one_and_the_bias_grid_stays_computed() -> None:
    whole, model = quantised(), quantised(conv2_w=np.round(he(4, 4, 3, 3) * 4).astype(np.int8), quarter=number(0.25))
    nodes = [
        onnx.helper.make_node("Cast", ["conv2_w"], ["floats"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Mul", ["floats", "quarter"], ["conv2_floats"]),
    ]
    next(n for n in model.graph.node if "conv2_w" in n.input).input[0] = "conv2_floats"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.25), "quarter"))
    prepared = prepare(model)
    assert "conv2_floats" in prepared.roles.trained
    np.testing.assert_array_equal(value(prepared.source, "conv2_floats"), np.round(he(4, 4, 3, 3) * 4) / 4)
    assert [n.op_type for n in prepared.source.graph.node] == [n.op_type for n in whole.graph.node]


def test_constant_nodes_and_weights_that_are_turned_after_their_quantiser() -> None:
    """As Brevitas writes them."""
    body = f"""
    c = Conv <pads = [1,1,1,1]> (x, conv_w)
    p = GlobalAveragePool(c)
    f = Flatten(p)
    s = Constant <value = float {{0.15}}> ()
    bits = Constant <value = float {{3}}> ()
    zero = Constant <value = float {{0}}> ()
    q = {Q} <signed = 1, narrow = 1> (fc_w, s, zero, bits)
    turned = Transpose <perm = [1, 0]> (q)
    y = MatMul(f, turned)
    """
    model, x = net(body, {"conv_w": he(4, 1, 3, 3), "fc_w": he(10, 4)}, domains=DOMAINS), images()
    prepared = prepare(model)
    assert set(prepared.roles.trained) == {"conv_w", "fc_w", "s"}
    assert value(prepared.with_values({"s": number(0.25)}), "s") == 0.25
    found, _ = gradients(model, x)
    own = Formula(model, x)
    own.v["s"] = np.array(np.float32(0.15), np.float64)
    f = own.conv(x.astype(np.float64), own.v["conv_w"]).mean(axis=(2, 3))
    y = f @ own.quant(own.v["fc_w"], own.v["s"], -3, 3).T
    odds = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    gradient = ((odds - np.eye(10)[np.arange(8)]) / 8).T @ f
    own.back(gradient, "fc_w", "s", -3, 3)
    for name in ("fc_w", "s"):
        np.testing.assert_allclose(found[name], own.found[name], rtol=1e-4, atol=1e-6)


def test_the_grid_of_a_bias_is_not_learned_where_it_was_folded_to_a_constant() -> None:
    folded = FoldConstants().apply(quantised()).model
    assert "Mul" not in {n.op_type for n in folded.graph.node}
    assert set(prepare(folded).roles.trained) == set(prepare(quantised()).roles.trained)
    (found, loss), (computed, same) = gradients(folded, images()), gradients(quantised(), images())
    assert loss == same
    np.testing.assert_array_equal(found["conv_w"], computed["conv_w"])


def test_a_constant_that_is_a_scale_here_and_a_bit_width_there_is_not_learned() -> None:
    model = quantised()
    next(n for n in model.graph.node if n.output[0] == "qf").input[1] = "bits2"
    assert "bits2" not in prepare(model).roles.trained
    assert "fc_w" in gradients(model, images())[0]


def test_scales_stay_positive_and_at_least_half_remains_after_a_step() -> None:
    layout = Layout({"w": (3,), "s": (2,), "t": ()})
    parameters = layout.pack({"w": zeros(3), "s": np.array([1, 2], np.float32), "t": number(4)})
    scales = Scales(layout, parameters, ["s", "t"])
    with scales.positive():
        parameters -= 1.5
    assert layout.unpack(parameters)["s"].tolist() == [0.5, 1.0]
    assert layout.unpack(parameters)["t"] == 2.5
    assert layout.unpack(parameters)["w"].tolist() == [-1.5] * 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"act_scale": number(0)}, "The scale 'act_scale' is not positive; calibrate the quantisers again."),
        ({"conv_scale": np.array([1, 1, -1, 1], np.float32).reshape(4, 1, 1, 1)}, "'conv_scale' is not positive"),
        ({"bits3": number(2.5)}, r"has the bit width \[2.5\]"),
    ],
)
def test_quantisers_that_make_no_grid_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        gradients(quantised(**change), images())


def test_a_scale_that_every_step_lowers_does_not_reach_zero() -> None:
    layout, parameters = Layout({"s": (2,)}), np.array([6e-5, 1], np.float32)
    scales = Scales(layout, parameters, ["s"])
    for _ in range(200):
        with scales.positive():
            parameters -= 1
    np.testing.assert_array_equal(parameters, np.array([6e-5, 1], np.float32) / 1024)


def test_a_learned_scale_needs_the_size_of_what_it_scales() -> None:
    model = quantised()
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "any"
    with pytest.raises(UserError, match=r"The size of 'c', which .* quantises, is unknown .* fix the model's input"):
        gradients(model, images())


def test_other_quantisers_are_refused() -> None:
    model = quantised()
    model.graph.node[4].op_type = "MultiThreshold"
    with pytest.raises(UserError, match=r"MultiThreshold, which has no gradient"):
        prepare(model)


def test_a_batch_norm_between_quantisers_keeps_its_statistics_in_training() -> None:
    body = f"""
    qw = {Q} <signed = 1, narrow = 1> (conv_w, scale, zero, bits)
    c = Conv <pads = [1,1,1,1]> (x, qw)
    n = BatchNormalization (c, gamma, beta, mean, variance)
    r = Relu(n)
    b = {Q} <signed = 0, narrow = 0> (r, act_scale, zero, bits)
    p = GlobalAveragePool(b)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, fc_w)
    """
    weights: dict[str, object] = {"conv_w": he(4, 1, 3, 3), "fc_w": he(10, 4), "scale": number(0.2)}
    weights |= {"act_scale": number(0.4), "zero": number(0), "bits": number(3)}
    weights |= {"gamma": zeros(4) + 1, "beta": zeros(4), "mean": zeros(4), "variance": zeros(4) + 1}
    model, x = net(body, weights, domains=DOMAINS), images()
    prepared = prepare(model)
    graph = add_loss(prepared.model, prepared.logits, Loss())
    feeds = {"x": (np.dtype(np.float32), x.shape[1:]), LABELS: (np.dtype(np.int64), ())}
    engine = Engine(graph, prepared.logits, prepared.roles, feeds, 10, len(x), 1)
    found = engine.layout.unpack(engine.step({"x": x, LABELS: np.arange(8)}).gradient)
    engine.close()
    assert set(found) == {"conv_w", "fc_w", "scale", "act_scale", "gamma", "beta"}
    assert all(gradient.any() for gradient in found.values())
    own = Formula(model, x)
    c = own.conv(x.astype(np.float64), own.quant(own.v["conv_w"], own.v["scale"], -3, 3))
    np.testing.assert_allclose(engine.statistics()["mean"], 0.1 * c.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(engine.statistics()["variance"], 0.9 + 0.1 * c.var(axis=(0, 2, 3)), rtol=1e-4)
