"""Random residual blocks: an exact pass refuses them or keeps their function, and leaves the graph in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

from passes import FoldBatchNorm, FoldSkips, MergeSkips, Pass, PassError, find_skips
from tests.passes.net import Net, assert_same_function, feeds, run

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]


def one_of(draw: Draw[Any], *choices: Any) -> Any:
    return draw(st.sampled_from(choices))


class Blocks:
    """Draws networks of residual blocks over images of one or two axes.

    Kernels, strides, dilations and pads are drawn at random; what the skip path brings is cropped or padded to the main
    path's size, so that the two stand on the same pixels in some draws and shifted against each other in others.
    """

    def __init__(self, draw: Draw[Any]) -> None:
        self.draw = draw
        self.rank = one_of(draw, 1, 1, 2)
        self.net = Net(
            seed=draw(st.integers(0, 99)),
            opset=one_of(draw, 9, 13, 17, 21),
            weights=one_of(draw, "initializer", "initializer", "constant", "half"),
        )

    def model(self) -> onnx.ModelProto:
        net, draw = self.net, self.draw
        channels = one_of(draw, 2, 4)
        x = net.input(["N", channels, *[draw(st.integers(4, 9)) for _ in range(self.rank)]])
        for _ in range(draw(st.integers(1, 2))):
            x, channels = self.block(*self.activated(x, channels))
        net.output(x)
        try:
            return net.model()
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
            assume(False)  # a kernel larger than its image
            raise

    def activated(self, x: str, channels: int) -> tuple[str, int]:
        kind = one_of(self.draw, "Relu", "Relu", "Relu", "Sigmoid", "Clip", "PRelu", "Tanh", "")
        return self.bend(x, channels, kind), channels

    def bend(self, x: str, channels: int, kind: str) -> str:
        net = self.net
        if kind == "Clip":
            return net.clip(x, 0.0, one_of(self.draw, 1.0, 6.0))
        if kind == "PRelu":
            return net.prelu(x, channels, self.rank)
        return net.op(kind, [x]) if kind else x

    def block(self, fork: str, channels: int) -> tuple[str, int]:
        net, draw = self.net, self.draw
        layers = draw(st.integers(1, 3))
        x, width, stride = fork, channels, 1
        if one_of(draw, 0, 0, 0, 1):
            x = net.bn(x, width)
        for i in range(layers):
            x, width, step = self.layer(x, width, last=i == layers - 1, outputs=channels)
            stride *= step
            if i < layers - 1:
                x = self.bend(x, width, one_of(draw, "Relu", "Relu", "Relu", "Clip", "PRelu", "LeakyRelu", ""))
        aside = self.aside(fork, channels, width, stride, x)
        paths = [x, aside] if one_of(draw, True, False) else [aside, x]
        joined = net.op(one_of(draw, "Add", "Add", "Sum"), paths)
        return joined, width

    def layer(self, x: str, inputs: int, last: bool, outputs: int) -> tuple[str, int, int]:
        net, draw = self.net, self.draw
        outputs = outputs if last and one_of(draw, True, True, False) else one_of(draw, 2, 4, 6)
        kernel, spread, stride = one_of(draw, 1, 2, 3, 3), one_of(draw, 1, 1, 2), one_of(draw, 1, 1, 1, 2)
        group = one_of(draw, *[g for g in (1, 1, 2, inputs) if inputs % g == 0 and outputs % g == 0])
        if one_of(draw, 0, 0, 0, 1):
            width = one_of(draw, 1, 2)
            x = net.pad(x, [0, 0, *[width] * self.rank] * 2)
        if one_of(draw, True, True, True, False):
            reach = spread * (kernel - 1)
            pads = {"pads": [reach // 2] * self.rank + [reach - reach // 2] * self.rank}
        elif spread == 1 and one_of(draw, True, False):
            pads = {"auto_pad": one_of(draw, "SAME_UPPER", "SAME_LOWER", "VALID")}
        else:
            pads = {"pads": [draw(st.integers(0, 2)) for _ in range(2 * self.rank)]}
        x = net.conv(
            x,
            inputs,
            outputs,
            kernel,
            rank=self.rank,
            group=group,
            bias=one_of(draw, True, False),
            strides=[stride] * self.rank,
            dilations=[spread] * self.rank,
            **pads,
        )
        if one_of(draw, True, False):
            x = net.bn(x, outputs)
        elif one_of(draw, 0, 0, 1):
            x = net.op("Mul", [x, net.constant(net.random.standard_normal([outputs] + [1] * self.rank))])
        return x, outputs, stride

    def aside(self, x: str, channels: int, wanted: int, stride: int, main: str) -> str:
        """What the skip path brings, with the channels and the size of ``main``."""
        net, draw, rank = self.net, self.draw, self.rank
        axes = list(range(2, 2 + rank))
        if stride > 1 and net.opset >= 10 and one_of(draw, True, False):
            first = draw(st.integers(0, 1))
            x = net.slice(x, [first] * rank, [2**62] * rank, axes, [stride] * rank)
        elif stride > 1 and one_of(draw, True, False):
            x = net.conv(x, channels, wanted, 1, rank=rank, strides=[stride] * rank)
            channels = wanted
        elif stride > 1 or one_of(draw, 0, 0, 0, 0, 1):
            kernel = one_of(draw, 1, 2, 3)
            pads = (
                [draw(st.integers(0, kernel - 1)) for _ in range(2 * rank)] if one_of(draw, 0, 0, 1) else [0] * 2 * rank
            )
            more = {"count_include_pad": one_of(draw, 0, 1)}
            if net.opset >= 10:
                more["ceil_mode"] = one_of(draw, 0, 1)
            shape = {"kernel_shape": [kernel] * rank, "strides": [stride] * rank, "pads": pads}
            x = net.op("AveragePool", [x], **shape, **more)
        if one_of(draw, 0, 0, 0, 1):
            x = net.bn(x, channels)
        x = self.with_channels(x, channels, wanted)
        if one_of(draw, 0, 0, 0, 1):
            x = net.op("Mul", [x, net.constant(one_of(draw, 0.0, 0.5, -1.0))])
        return self.with_size(x, main, axes)

    def with_channels(self, x: str, channels: int, wanted: int) -> str:
        net, draw, rank = self.net, self.draw, self.rank
        if channels == wanted:
            return x
        if one_of(draw, True, False):
            return net.conv(x, channels, wanted, 1, rank=rank)
        if channels > wanted:
            order = draw(st.permutations(range(channels)))[:wanted]
            return net.op("Gather", [x, net.constant(np.array(order))], axis=1)
        before = draw(st.integers(0, wanted - channels))
        return net.pad(x, [0, before, *[0] * rank, 0, wanted - channels - before, *[0] * rank])

    def with_size(self, x: str, main: str, axes: list[int]) -> str:
        """Crops or pads ``x`` to the size of ``main``."""
        net, draw = self.net, self.draw
        have, want = self.size(x), self.size(main)
        assume(have is not None and want is not None and min(want) > 0)
        assert have is not None
        assert want is not None
        starts, ends, pads = [], [], []
        for a, b in zip(have, want, strict=True):
            shift = draw(st.integers(0, abs(a - b)))
            starts.append(shift if a > b else 0)
            ends.append(shift + b if a > b else a)
            pads.append((shift, b - a - shift) if b > a else (0, 0))
        if any(a > b for a, b in zip(have, want, strict=True)):
            x = net.slice(x, starts, ends, axes, [1] * len(axes))
        if any(map(any, pads)):
            x = net.pad(x, [0, 0, *[p[0] for p in pads], 0, 0, *[p[1] for p in pads]])
        return x

    def size(self, tensor: str) -> list[int] | None:
        net = self.net
        outputs, net.outputs = net.outputs, []
        net.output(tensor)
        try:
            made = net.model().graph.output[0].type.tensor_type.shape.dim
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
            return None
        finally:
            net.outputs = outputs
        return [d.dim_value for d in made[2:]]


def is_sound(model: onnx.ModelProto) -> bool:
    """Whether every window fits into its image, and none sees nothing but padding."""
    try:
        return all(np.isfinite(y).all() for y in run(model, feeds(model)))
    except (Fail, InvalidArgument):
        return False


@pytest.mark.parametrize("exact", [FoldSkips(), MergeSkips(), FoldBatchNorm()], ids=lambda p: p.name)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_refuses_or_keeps_the_function(exact: Pass, data: st.DataObject) -> None:
    model = Blocks(data.draw).model()
    if not find_skips(model):
        event("no skip")
        return
    try:
        result = exact.apply(model)
    except PassError as refusal:
        event(refusal.reason.split("'")[0])
        return
    assume(is_sound(model))
    event(f"changed, with {len(result.notes)} notes")
    assert_same_function(model, result.model, tolerance=5e-5)
    try:
        again = exact.apply(result.model)
    except PassError:
        return  # what it refused the first time it refuses again
    assert not again.changed
