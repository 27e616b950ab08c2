"""Intervals hold every value that a tensor takes, and are as narrow as a merge needs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from passes.graph import Editor
from passes.ranges import Range, Ranges
from tests.passes.net import Net, feeds, run

INF = math.inf
Make = Callable[[Net, str], str]


def range_of(net: Net, tensor: str) -> Range:
    """The interval of ``tensor``, which holds every value that random inputs give."""
    net.output(tensor)
    model = net.model()
    editor = Editor(model)
    found = Ranges(editor).of(editor.tensor(tensor))
    for seed in range(3):
        (values,) = run(model, feeds(model, seed))
        assert found.low - 1e-6 <= values.min()
        assert values.max() <= found.high + 1e-6
    return found


def unary(kind: str, **attributes: object) -> Make:
    return lambda net, x: net.op(kind, [x], **attributes)


def clipped(low: float, high: float, then: Make) -> Make:
    return lambda net, x: then(net, net.clip(x, low, high))


@pytest.mark.parametrize(
    ("make", "low", "high"),
    [
        (unary("Identity"), -INF, INF),
        (unary("Relu"), 0, INF),
        (unary("Sigmoid"), 0, 1),
        (unary("HardSigmoid"), 0, 1),
        (unary("Softmax", axis=1), 0, 1),
        (unary("Tanh"), -1, 1),
        (unary("Softsign"), -1, 1),
        (unary("Erf"), -1, 1),
        (unary("Softplus"), 0, INF),
        (unary("Exp"), 0, INF),
        (unary("Abs"), 0, INF),
        (unary("HardSwish"), -0.375, INF),
        (unary("Elu", alpha=0.5), -0.5, INF),
        (unary("Celu", alpha=0.5), -0.5, INF),
        (unary("Selu", alpha=2.0, gamma=1.5), -3, INF),
        (unary("Selu"), -1.6732632 * 1.0507010, INF),
        (unary("Elu", alpha=-1.0), -INF, INF),
        (unary("LeakyRelu"), -INF, INF),
        (unary("ReduceL1", axes=[2]), 0, INF),
        (lambda net, x: net.clip(x, -1.0, 2.0), -1, 2),
        (clipped(5, 6, lambda net, x: net.clip(x, -1.0, 2.0)), 2, 2),
        (clipped(-1, 2, unary("LeakyRelu", alpha=0.5)), -0.5, 2),
        (clipped(-2, -1, unary("LeakyRelu", alpha=-0.5)), 0.5, 1),
        (clipped(-1, 2, unary("Abs")), 0, 2),
        (clipped(-1, 2, unary("Neg")), -2, 1),
        (clipped(-1, 2, lambda net, x: net.op("Mul", [x, x])), 0, 4),
        (clipped(1, 2, lambda net, x: net.op("Mul", [x, x])), 1, 4),
        (clipped(-1, 2, lambda net, x: net.op("Mul", [x, net.constant(-3.0)])), -6, 3),
        (lambda net, x: net.op("Mul", [x, net.constant(0.0)]), 0, 0),
        (clipped(-1, 2, lambda net, x: net.op("Div", [x, net.constant([2.0, 4.0, 8.0])])), -0.5, 1),
        (clipped(1, 2, lambda net, x: net.op("Div", [net.constant(1.0), x])), 0.5, 1),
        (clipped(-1, 2, lambda net, x: net.op("Div", [net.constant(1.0), net.op("Exp", [x])])), -INF, INF),
        (clipped(-1, 2, lambda net, x: net.op("Add", [x, net.constant([1.0, 2.0, 5.0])])), 0, 7),
        (clipped(-1, 2, lambda net, x: net.op("Sub", [net.constant(2.0), x])), 0, 3),
        (clipped(-1, 2, lambda net, x: net.op("Sum", [x, x, net.constant(2.0)])), 0, 6),
        (clipped(-1, 2, lambda net, x: net.op("Max", [x, net.constant(0.5)])), 0.5, 2),
        (clipped(-1, 2, lambda net, x: net.op("Min", [x, net.constant(0.5)])), -1, 0.5),
        (clipped(-1, 2, lambda net, x: net.op("Pow", [x, net.constant(2.0)])), 0, INF),
        (clipped(-1, 2, lambda net, x: net.op("Pow", [x, net.constant(3.0)])), -INF, INF),
        (clipped(1, 2, lambda net, x: net.op("Pow", [x, net.constant(-0.5)])), 0, INF),
        (clipped(1, 2, lambda net, x: net.op("Concat", [x, net.op("Neg", [x])], axis=1)), -2, 2),
        (clipped(1, 2, lambda net, x: net.pad(x, [0, 0, 1, 1, 0, 0, 1, 1])), 0, 2),
        (clipped(1, 2, lambda net, x: net.pad(x, [0, 0, 1, 1, 0, 0, 1, 1], 5.0)), 1, 5),
        (clipped(1, 2, unary("MaxPool", kernel_shape=[2, 2], pads=[1, 1, 1, 1])), 1, 2),
        (clipped(1, 2, unary("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1])), 1, 2),
        (clipped(1, 2, unary("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)), 0, 2),
        (clipped(1, 2, unary("GlobalAveragePool")), 1, 2),
        (clipped(1, 2, lambda net, x: net.op("ReduceSum", [x, net.constant(np.array([2]))])), 0, INF),
        (clipped(-2, -1, lambda net, x: net.op("ReduceSum", [x, net.constant(np.array([2]))])), -INF, 0),
        (clipped(1, 2, lambda net, x: net.op("Where", [net.constant(np.array(True)), net.constant(5.0), x])), 1, 5),
        (clipped(1, 2, lambda net, x: net.op("Resize", [x, "", net.constant([1, 1, 2, 2.0])])), 1, 2),
        (clipped(1, 2, lambda n, x: n.op("Resize", [x, "", n.constant([1, 1, 2, 2.0])], mode="cubic")), -INF, INF),
        (clipped(1, 2, unary("Transpose", perm=[0, 3, 1, 2])), 1, 2),
        (clipped(-1, 2, lambda net, x: net.op("PRelu", [x, net.constant([0.5, -1.0, 2.0])])), -2, 2),
        (lambda net, x: net.prelu(x, 4), -INF, INF),
        (lambda net, x: net.conv(net.relu(x), 4, 2), -INF, INF),
    ],
)
def test_operators(make: Make, low: float, high: float) -> None:
    net = Net()
    found = range_of(net, make(net, net.input(["N", 4, 5, 3])))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("opset", [9, 13])
def test_clip_and_pad_of_old_opsets(opset: int) -> None:
    net = Net(opset=opset)
    found = range_of(net, net.pad(net.clip(net.input(["N", 4, 5, 5]), 1.0, 2.0), [0, 0, 1, 1, 0, 0, 1, 1], -3.0))
    assert (found.low, found.high) == (-3, 2)


def test_batch_norm() -> None:
    net = Net()
    x = net.clip(net.input(["N", 2, 5, 5]), 0.0, 1.0)
    values = ([2.0, -1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0])
    found = range_of(net, net.op("BatchNormalization", [x, *map(net.constant, values)], epsilon=0.0))
    assert (found.low, found.high) == (0, 2)


@pytest.mark.parametrize(("by_way_of", "low", "high"), [("UINT8", 0, 255), ("INT8", -128, 127)])
def test_types(by_way_of: str, low: float, high: float) -> None:
    net = Net()
    x = net.op("Cast", [net.input(["N", 300], dtype=np.uint8)], to=onnx.TensorProto.DataType.Value(by_way_of))
    found = range_of(net, net.op("Cast", [x], to=onnx.TensorProto.FLOAT))
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize(
    ("kind", "zero", "low", "high"),
    [(np.uint8, 0, 0, 25.5), (np.int8, 0, -12.8, 12.7), (np.uint8, 128, -12.8, 12.7), (np.int8, -28, -10, 15.5)],
)
def test_quantisers(kind: type, zero: int, low: float, high: float) -> None:
    net = Net(opset=13)
    parts = [net.constant(0.1), net.constant_as(zero, kind)]
    found = range_of(net, net.op("DequantizeLinear", [net.op("QuantizeLinear", [net.input(["N", 3]), *parts]), *parts]))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)


def test_what_onnxruntimes_own_quantiser_makes_of_bytes_may_be_negative() -> None:
    net = Net(opset=13)
    parts = [net.input(["N", 3], dtype=np.uint8), net.constant(0.1), net.constant_as(128, np.uint8)]
    made = net.op("DequantizeLinear", parts, domain="com.microsoft")
    graph = helper.make_graph(net.nodes, "net", net.inputs, [], net.constants)
    editor = Editor(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    assert Ranges(editor).of(editor.tensor(made)) == Range(-INF, INF)


@pytest.mark.parametrize(
    ("bits", "signed", "narrow", "zero", "low", "high"),
    [
        (4, 0, 0, 0, 0, 7.5),
        (4, 0, 0, 3, -1.5, 6),
        (4, 0, 1, 0, 0, 7),
        (4, 1, 0, 0, -4, 3.5),
        (4, 1, 1, 0, -3.5, 3.5),
        (1, 0, 0, 0, 0, 0.5),
        (1, 1, 0, 0, -0.5, 0.5),
        (1, 1, 1, 0, -0.5, 0.5),
        (None, 1, 0, 0, -0.5, 0.5),
    ],
)
def test_quantisers_of_qonnx(bits: int | None, signed: int, narrow: int, zero: int, low: float, high: float) -> None:
    """Without bits it is a BipolarQuant."""

    def found(domain: str) -> Range:
        net = Net()
        parts = [net.input(["N", 3]), net.constant(0.5)]
        if bits is None:
            made = net.op("BipolarQuant", parts, domain=domain)
        else:
            parts += [net.constant(float(zero)), net.constant(float(bits))]
            made = net.op("Quant", parts, domain=domain, signed=signed, narrow=narrow, rounding_mode="ROUND")
        graph = helper.make_graph(net.nodes, "net", net.inputs, [], net.constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
        editor = Editor(helper.make_model(graph, opset_imports=opsets))
        return Ranges(editor).of(editor.tensor(made))

    assert found("qonnx.custom_op.general") == Range(low, high)
    assert found("somebody.else") == Range(-INF, INF)


def test_second_outputs_are_other_things() -> None:
    net = Net()
    x = net.clip(net.input(["N", 2, 5, 5]), 1.0, 2.0)
    net.op("MaxPool", [x], name="pool", outputs=2, kernel_shape=[2, 2])
    found = range_of(net, net.op("Cast", ["pool.out1"], to=onnx.TensorProto.FLOAT))
    assert found.high > 49


def test_dropout_in_training_makes_what_stays_larger() -> None:
    def found(training: bool) -> Range:
        net = Net()
        x = net.clip(net.input(["N", 40]), 1.0, 2.0)
        return range_of(net, net.op("Dropout", [x, net.constant(0.5), net.constant(np.array(training))]))

    assert found(False) == Range(1, 2)
    assert found(True) == Range(0, INF)


def test_long_chains_do_not_overflow_the_stack() -> None:
    net = Net()
    x = net.input(["N", 2])
    for _ in range(3000):
        x = net.relu(x)
    graph = helper.make_graph(net.nodes, "net", net.inputs, [], [])
    editor = Editor(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert Ranges(editor).of(editor.tensor(x)) == Range(0, INF)
