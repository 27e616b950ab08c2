"""Faster forms of the gradient graph compute the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from graphops.training import runtime
from graphops.training.blocked import DOMAIN, blocked_convolutions, blocked_weight_gradients
from graphops.training.gradient import gradient_graph
from graphops.training.loss import LABELS, LOSS, Loss, add_loss
from graphops.training.prepare import prepare
from graphops.training.rewrites import block_size, chosen, of_checkpoint, relu_gradients, rewritten
from tests.graphops.training.nets import HEAD, he, net, normalised, value, zeros


def built(model: onnx.ModelProto, images: int = 4) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The gradient graph as the runtime builds it, and inputs for it."""
    prepared = prepare(model)
    graph = add_loss(prepared.model, prepared.logits, Loss())
    rng = np.random.default_rng(1)
    feeds = {n: value(prepared.source, n) for n in prepared.roles.trained}
    feeds |= {"x": rng.standard_normal((images, 1, 8, 8)).astype(np.float32)}
    feeds |= {LABELS: rng.integers(0, 10, images)}
    return gradient_graph(graph.model, LOSS, prepared.roles.trained), feeds


def outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), runtime.session_options())
    return session.run(None, feeds)


def count(model: onnx.ModelProto, kind: str, domain: str = "") -> int:
    return sum(n.op_type == kind and n.domain == domain for n in model.graph.node)


def test_relu_gradients_without_changing_a_bit() -> None:
    plain, feeds = built(normalised())
    fast = relu_gradients(plain)
    assert (count(plain, "ReluGrad", "com.microsoft"), count(fast, "ReluGrad", "com.microsoft")) == (2, 0)
    for one, other in zip(outputs(plain, feeds), outputs(fast, feeds), strict=True):
        assert one.tobytes() == other.tobytes()


# Attributes of a Conv of 16 to 32 channels, its weights, its bias, and how many operators become blocked: two where
# the input's gradient does so too.
CONVOLUTIONS = {
    "3x3": ("pads = [1,1,1,1]", (32, 16, 3, 3), False, 2),
    "1x1": ("", (32, 16, 1, 1), False, 2),
    "with bias": ("pads = [1,1,1,1]", (32, 16, 3, 3), True, 2),
    "one-sided pads": ("pads = [2,0,1,2]", (32, 16, 3, 3), False, 2),
    "oblong, dilated": ("dilations = [2,1], pads = [1,1,0,1]", (32, 16, 2, 3), False, 2),
    "strided": ("strides = [2,2], pads = [1,1,1,1]", (32, 16, 3, 3), False, 1),
    "pads beyond the kernel": ("pads = [2,2,2,2]", (32, 16, 2, 2), False, 1),
    "grouped": ("group = 2", (32, 8, 3, 3), False, 0),
    "odd channels": ("", (12, 16, 3, 3), False, 0),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_blocked_convolutions_equal_plain_ones(case: str) -> None:
    attributes, shape, bias, expected = CONVOLUTIONS[case]
    weights: dict[str, object] = {"w0": he(16, 1, 3, 3), "w": he(*shape), "fc_w": he(10, shape[0]), "fc_b": zeros(10)}
    weights |= {"bias": he(shape[0])} if bias else {}
    body = (
        f"a = Conv <pads = [1,1,1,1]> (x, w0) r = Relu(a) c = Conv <{attributes}> (r, w{', bias' * bias}) b = Relu(c)"
    )
    plain, feeds = built(net(body.replace("<>", "") + HEAD, weights))
    fast = blocked_convolutions(plain, block_size())
    assert count(fast, "Conv", DOMAIN) == expected
    for one, other in zip(outputs(plain, feeds), outputs(fast, feeds), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5 * np.abs(one).max())


# Attributes of a Conv of 16 to 32 channels behind one of 16, its weights, and whether its weights' gradient is blocked.
WEIGHTS = {
    "3x3": ("pads = [1,1,1,1]", (32, 16, 3, 3), True),
    "without pads": ("", (32, 16, 3, 3), True),
    "one-sided pads, oblong": ("pads = [2,0,1,2]", (32, 16, 3, 2), True),
    "dilated": ("dilations = [2,1], pads = [1,1,0,1]", (32, 16, 2, 3), True),
    "odd input channels": ("pads = [1,1,1,1]", (32, 12, 3, 3), True),
    "odd channels": ("pads = [1,1,1,1]", (12, 16, 3, 3), False),
    "1x1": ("", (32, 16, 1, 1), False),
    "strided": ("strides = [2,2], pads = [1,1,1,1]", (32, 16, 3, 3), False),
    "grouped": ("group = 2", (32, 8, 3, 3), False),
}


@pytest.mark.parametrize("case", WEIGHTS)
@pytest.mark.parametrize("blocked_too", [False, True])
def test_blocked_weight_gradients_equal_plain_ones(case: str, blocked_too: bool) -> None:
    attributes, shape, expected = WEIGHTS[case]
    inner = 16 if "group" in attributes else shape[1]
    weights = {"w0": he(inner, 1, 3, 3), "w": he(*shape), "fc_w": he(10, shape[0]), "fc_b": zeros(10)}
    body = f"a = Conv <pads = [1,1,1,1]> (x, w0) r = Relu(a) c = Conv <{attributes}> (r, w) b = Relu(c)"
    plain, feeds = built(net(body.replace("<>", "") + HEAD, weights), images=16)
    fast = blocked_weight_gradients(plain, block_size())
    assert any(n.name.endswith("Grad_0/weight") and "w_grad" in n.output[0] for n in fast.graph.node) == expected
    if blocked_too:
        fast = blocked_convolutions(fast, block_size())
    for one, other in zip(outputs(plain, feeds), outputs(fast, feeds), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5 * np.abs(one).max())


def test_weight_gradients_are_blocked_where_each_share_is_whole_blocks() -> None:
    block = block_size()
    assert f"blocked-weight-gradients/{block}" in chosen([2 * block, 4 * block])
    assert f"blocked-weight-gradients/{block}" not in chosen([2 * block, 2 * block + 1])


def test_a_checkpoint_of_before_the_rewrites_had_names() -> None:
    block = block_size()
    assert of_checkpoint({"block": block}) == ("relu-gradients", f"blocked-convolutions/{block}")
    assert of_checkpoint({"block": 3}) is None
    assert of_checkpoint({"rewrites": []}) == ()


def test_no_rewrites_leave_the_graph_as_it_is() -> None:
    plain, _ = built(normalised())
    assert rewritten(plain, ()) == plain


def test_each_tensor_is_reordered_once() -> None:
    weights = {"w0": he(16, 1, 3, 3), "w1": he(16, 16, 1, 1), "w2": he(16, 16, 1, 1, seed=1)}
    body = "a = Conv(x, w0) c = Conv(a, w1) d = Conv(a, w2) b = Add(c, d)"
    plain, _ = built(net(body + HEAD, {**weights, "fc_w": he(10, 16), "fc_b": zeros(10)}))
    reordered = [n.input[0] for n in blocked_convolutions(plain, 8).graph.node if n.op_type == "ReorderInput"]
    assert len(reordered) == len(set(reordered))


def test_the_block_is_one_that_processors_have() -> None:
    assert block_size() in (8, 16)
