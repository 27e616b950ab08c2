"""Rewrites of the gradient graph that make it faster, and which of them a training uses.

``relu-gradients`` changes no bit. The blocked ones change the order of sums, and with it the last bits; so what a
training began with stands in its checkpoints, and it goes on with that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper

from graphops.training import runtime
from graphops.training.blocked import blocked_convolutions, blocked_weight_gradients

HUGE = 3.4e38  # just below the largest float32

RELU = "relu-gradients"
CONVOLUTIONS = "blocked-convolutions"
WEIGHTS = "blocked-weight-gradients"


def chosen(shares: Sequence[int]) -> tuple[str, ...]:
    """The rewrites that this processor gains from, for shares of a batch of these many images.

    Which are faster was measured by ``examples/benchmarks``; a measurement at each start would not repeat to the bit.
    """
    block = block_size()
    if not block:
        return (RELU,)
    whole = all(share % block == 0 for share in shares)
    return (RELU, f"{CONVOLUTIONS}/{block}", *([f"{WEIGHTS}/{block}"] if whole else []))


def of_checkpoint(header: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The rewrites that a checkpoint's training began with; None where this processor has no such blocks."""
    before = header["rewrites"] if "rewrites" in header else _before_names(header["block"])
    blocks = {int(name.partition("/")[2]) for name in before if "/" in name}
    return tuple(before) if blocks <= {block_size()} else None


def _before_names(block: int) -> list[str]:
    """What a training used whose checkpoints name only the block."""
    return [RELU, f"{CONVOLUTIONS}/{block}"] if block else [RELU]


def rewritten(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """``model`` after the rewrites of these names, in the order that fits them together."""
    sizes = {name.partition("/")[0]: int(name.partition("/")[2] or 0) for name in names}
    if RELU in sizes:
        model = relu_gradients(model)
    if WEIGHTS in sizes:  # before the next, which takes the nodes apart that this one reads
        model = blocked_weight_gradients(model, sizes[WEIGHTS])
    return blocked_convolutions(model, sizes[CONVOLUTIONS]) if CONVOLUTIONS in sizes else model


def relu_gradients(model: onnx.ModelProto) -> onnx.ModelProto:
    """ReluGrad(dY, Y) as dY * min(1, HUGE * Y): Y is never negative, and these are vectorised where ReluGrad is not.

    HardSigmoid is max(0, min(1, alpha x + beta)) in one pass. Results are the same to the bit unless a value of Y lies
    between 0 and 3e-39.
    """
    nodes = []
    for node in model.graph.node:
        if node.op_type == "ReluGrad" and node.domain == "com.microsoft":
            gradient, result = node.input
            open_, name = f"{node.output[0]}/open", f"{node.name}/open"
            nodes.append(helper.make_node("HardSigmoid", [result], [open_], name=name, alpha=HUGE, beta=0.0))
            nodes.append(helper.make_node("Mul", [gradient, open_], node.output, name=node.name))
        else:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    faster = onnx.ModelProto()
    faster.CopyFrom(model)
    del faster.graph.node[:]
    faster.graph.node.extend(nodes)
    return faster


@cache
def block_size() -> int:
    """Channels in a block on this processor, found by comparing with a plain Conv; 0 where there is no such layout."""
    import onnxruntime

    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((1, 16, 4, 4)).astype(np.float32),
        "w": rng.standard_normal((16, 16, 3, 3)).astype(np.float32),
    }
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, a.shape) for n, a in feeds.items()]
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", kernel_shape=[3, 3])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 16, 2, 2])
    graph = helper.make_graph([conv], "probe", values, [result])
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def run(model: onnx.ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), runtime.session_options())
        return session.run(None, feeds)[0]

    for block in (16, 8):
        try:
            if np.allclose(run(blocked_convolutions(plain, block)), run(plain), atol=1e-4):
                return block
        except Exception:  # this build or processor has no blocked layout
            return 0
    return 0
