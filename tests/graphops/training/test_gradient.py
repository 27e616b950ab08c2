"""The gradient graph: right for every operator it takes, a sentence for every other."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphops.training import mend, runtime
from graphops.training.engine import Engine
from graphops.training.gradient import SUFFIX, gradient_graph
from graphops.training.loss import LABELS, LOSS, Loss, add_loss
from graphops.training.prepare import prepare
from passes import UserError
from tests.graphops.training.nets import he, net, normalised, small, value


def number(x: float) -> np.ndarray:
    return np.array(x, np.float32)


def whole(*x: int) -> np.ndarray:
    return np.array(x, np.int64)


# From y [2, 4, 6, 6] to z, with what it takes besides.
OPERATORS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "Relu": ("z = Relu(y)", {}),
    "LeakyRelu": ("z = LeakyRelu(y)", {}),
    "Clip": ("z = Clip(y, low, high)", {"low": number(-0.2), "high": number(0.3)}),
    "Sigmoid": ("z = Sigmoid(y)", {}),
    "swish": ("s = Sigmoid(y) z = Mul(y, s)", {}),
    "Gelu by tanh": ('d = Add(y, y) z = Gelu <approximate = "tanh"> (d)', {}),
    "Abs": ("z = Abs(y)", {}),
    "Exp and Log": ("e = Exp(y) f = Add(e, e) z = Log(f)", {}),
    "Softmax": ("z = Softmax <axis = 1> (y)", {}),
    "LogSoftmax": ("z = LogSoftmax (y)", {}),
    "Conv": (
        "z = Conv <group = 2, dilations = [2,2], strides = [2,1], pads = [1,0,2,1]> (y, w)",
        {"w": he(4, 2, 3, 3)},
    ),
    "Conv without kernel_shape": ("z = Conv (y, w)", {"w": he(3, 4, 3, 2)}),
    "Conv SAME_UPPER": ('z = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (y, w)', {"w": he(3, 4, 3, 3)}),
    "Conv SAME_LOWER": ('z = Conv <auto_pad = "SAME_LOWER"> (y, w)', {"w": he(3, 4, 2, 2)}),
    "Gemm": (
        "f = Flatten(y) z = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (f, w, bias)",
        {"w": he(5, 144), "bias": he(1, 5)},
    ),
    "MatMul": ("z = MatMul(w, y)", {"w": he(5, 6)}),
    "MatMul by a vector": ("z = MatMul(y, w)", {"w": he(6)}),
    "MatMul of a vector": (
        "v = ReduceMean<keepdims = 0> (y, axes) z = MatMul(v, w)",
        {"axes": whole(0, 1, 2), "w": he(2, 6, 3)},
    ),
    "MatMul of two vectors": (
        "v = ReduceMean<keepdims = 0> (y, axes) z = MatMul(v, w)",
        {"axes": whole(0, 1, 2), "w": he(6)},
    ),
    "Add": ("p = GlobalAveragePool(y) z = Add(y, p)", {}),
    "Sub": ("p = GlobalAveragePool(y) z = Sub(p, y)", {}),
    "Mul": ("z = Mul(y, w)", {"w": he(4, 1, 1)}),
    "Div": ("e = Exp(y) z = Div(y, e)", {}),
    "Pow": ("z = Pow(y, two)", {"two": number(2)}),
    "Pow of one pixel": (
        "p = GlobalAveragePool(y) e = Exp(p) z = Pow(e, powers)",
        {"powers": np.linspace(1, 3, 36, dtype=np.float32).reshape(6, 6)},
    ),
    "Max": ("z = Max(y, x)", {}),
    "Min": ("z = Min(y, w)", {"w": he(4, 1, 1)}),
    "Sum of one": ("z = Sum(y)", {}),
    "Sum of three": ("t = Tanh(y) z = Sum(y, t, x)", {}),
    "Concat": ("z = Concat <axis = -3> (y, x, y)", {}),
    "Pad": ("z = Pad(y, pads)", {"pads": whole(0, 2, 1, 0, 0, 0, 0, 1)}),
    "Pad of two axes": ("z = Pad(y, pads, , axes)", {"pads": whole(1, 0, 2, 1), "axes": whole(-1, 2)}),
    "Slice": (
        "z = Slice(y, from, to, axes, steps)",
        {"from": whole(0, 1), "to": whole(99, 99), "axes": whole(2, -1), "steps": whole(2, 2)},
    ),
    "Split": ("z1, z2 = Split <axis = 1, num_outputs = 2> (y) z = Mul(z1, z2)", {}),
    "Split with an unused output": ("q, z, rest = Split <axis = -3> (y, sizes)", {"sizes": whole(1, 2, 1)}),
    "Split whose part gives but its shape": (
        "z1, z2 = Split <axis = 1, num_outputs = 2> (y) s = Shape(z2) z = Reshape(z1, s)",
        {},
    ),
    "Slices of which one gives but its shape": (
        "z1 = Slice(y, zero, two, one) z2 = Slice(y, two, four, one) s = Shape(z2) z = Reshape(z1, s)",
        {"zero": whole(0), "one": whole(1), "two": whole(2), "four": whole(4)},
    ),
    "MaxPool": ("z = MaxPool <kernel_shape = [3,3], strides = [2,2], pads = [0,1,1,0]> (y)", {}),
    "MaxPool SAME": ('z = MaxPool <kernel_shape = [3,3], strides = [2,2], auto_pad = "SAME_UPPER"> (y)', {}),
    "MaxPool column-major": ("z = MaxPool <kernel_shape = [2,2], storage_order = 1> (y)", {}),
    "MaxPool column-major with places": ("z, places = MaxPool <kernel_shape = [2,2], storage_order = 1> (y)", {}),
    "AveragePool": ("z = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1], strides = [2,2]> (y)", {}),
    "AveragePool over a part": ("z = AveragePool <kernel_shape = [3,2], strides = [2,2], ceil_mode = 1> (y)", {}),
    "AveragePool of one dimension": (
        "f = Reshape(y, shape) z = AveragePool <kernel_shape = [3], pads = [1,0], count_include_pad = 1> (f)",
        {"shape": whole(0, 4, 36)},
    ),
    "AveragePool over all": ("z = AveragePool <kernel_shape = [6,6]> (y)", {}),
    "AveragePool with dilations": (
        "z = AveragePool <kernel_shape = [2,2], dilations = [2,2], pads = [1,1,1,1]> (y)",
        {},
    ),
    "AveragePool SAME": ('z = AveragePool <kernel_shape = [3,3], auto_pad = "SAME_LOWER", strides = [2,2]> (y)', {}),
    "ReduceMean": ("z = ReduceMean <keepdims = 0> (y, axes)", {"axes": whole(2, -1)}),
    "ReduceSum": ("z = ReduceSum (y, axes)", {"axes": whole(1)}),
    "Reshape": ("z = Reshape(y, shape)", {"shape": whole(0, -1)}),
    "Reshape by a computed size": (
        "p = GlobalAveragePool(y) s = Shape(y) first = Slice(s, zero, two) size = Concat <axis = 0> (first, one, one) "
        "gate = Reshape(p, size) z = Mul(y, gate)",
        {"zero": whole(0), "one": whole(1), "two": whole(2)},
    ),
    "Transpose": ("t = Transpose(y) z = Mul(t, t)", {}),
    "Gather": ("z = Gather <axis = 1> (y, places)", {"places": whole(2, 0, 2)}),
    "Dropout": ("z = Dropout(y)", {}),
    "Where": ("m = Greater(x, k0) s = Sigmoid(y) z = Where(m, y, s)", {"k0": number(0.1)}),
    "Where of one pixel": ("m = Greater(x, k0) p = GlobalAveragePool(y) z = Where(m, p, y)", {"k0": number(0.1)}),
    "Where of a condition for all channels": (
        "p = ReduceMean (x, axes) m = Greater(p, k0) z = Where(m, y, k0)",
        {"axes": whole(1), "k0": number(0.1)},
    ),
    "LayerNormalization": ("z = LayerNormalization <axis = 1> (y, s)", {"s": he(4, 6, 6)}),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_gradient_equals_differences_of_the_reference_in_float64(name: str) -> None:
    body, more = OPERATORS[name]
    model = net(
        f"c = Conv <pads = [1,1,1,1]> (x, w0) y = Tanh(c) {body} r = Mul(z, k) loss = ReduceMean <keepdims = 0> (r)",
        {"w0": he(4, 4, 3, 3), **more},
        given="float[2,4,6,6] x",
        wanted="float loss",
        opset=20,
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    shape = mend.shapes_of(model)["z"]
    model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), "k"))

    weight = value(model, "w0")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"  # as in training
    mend.name_nodes(copy)
    mend.mend(copy, mend.shapes_of(copy))
    built = gradient_graph(copy, "loss", ["w0"])
    session = onnxruntime.InferenceSession(built.SerializeToString(), runtime.session_options())
    gradient = session.run(["w0" + SUFFIX], {"x": x, "w0": weight})[0].astype(np.float64)

    exact = _in_float64(model)

    def loss(w: np.ndarray) -> float:
        return float(exact.run(["loss"], {"x": x.astype(np.float64), "w0": w})[0])

    for _ in range(3):
        direction = rng.standard_normal(weight.shape)
        difference = (loss(weight + 1e-6 * direction) - loss(weight - 1e-6 * direction)) / 2e-6
        assert (gradient * direction).sum() == pytest.approx(difference, rel=1e-4, abs=1e-6)


def _in_float64(model: onnx.ModelProto) -> ReferenceEvaluator:
    """The model in float64, with the weight ``w0`` as a further input."""
    exact = onnx.ModelProto()
    exact.CopyFrom(model)
    kept = []
    for tensor in exact.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name != "w0":
            wide = array.astype(np.float64) if array.dtype == np.float32 else array
            kept.append(numpy_helper.from_array(wide, tensor.name))
    del exact.graph.initializer[:]
    exact.graph.initializer.extend(kept)
    exact.graph.input.append(helper.make_tensor_value_info("w0", TensorProto.DOUBLE, [4, 4, 3, 3]))
    return ReferenceEvaluator(exact)


UNTRAINABLE = {
    "Elu": "b = Elu(a)",
    "PRelu": "b = PRelu(a, slope)",
    "HardSwish": "b = HardSwish(a)",
    "HardSigmoid": "b = HardSigmoid(a)",
    "Softplus": "b = Softplus(a)",
    "InstanceNormalization": "b = InstanceNormalization(a, four, four)",
    "ConvTranspose": "b = ConvTranspose(a, w)",
    "Resize": 'b = Resize <mode = "nearest"> (a, , scales)',
    "Round": "b = Round(a)",
    "Floor": "b = Floor(a)",
    "Sign": "b = Sign(a)",
    "ReduceMax": "m = ReduceMax(a) b = Mul(a, m)",
    "Pad": 'b = Pad <mode = "reflect"> (a, pads)',
    "Einsum": 'b = Einsum <equation = "nchw->nchw"> (a)',
    "LSTM": "s = Reshape(a, sequence) t, h, c = LSTM <hidden_size = 8> (s, lstm_w, lstm_r, , , start, start) "
    "b = Reshape(t, image)",
    "LeakyRelu": "b = LeakyRelu <alpha = -0.5> (a)",
    "ScatterND": 'b = ScatterND <reduction = "add"> (a, place, patch)',
    "LayerNormalization": "n, mean, deviation = LayerNormalization (a, eight, eight) b = Mul(n, deviation)",
    "Clip": "m = ReduceMean <keepdims = 0> (a) b = Clip(a, , m)",
    "If": "b = If (yes) <then_branch = t () => (float[N,4,8,8] p) { p = Relu(a) }, "
    "else_branch = e () => (float[N,4,8,8] q) { q = Tanh(a) }>",
}
MORE = {
    "slope": he(4, 1, 1),
    "four": he(4),
    "w": he(4, 4, 3, 3),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "pads": whole(0, 0, 1, 1, 0, 0, 1, 1),
    "yes": np.array(True),
    "sequence": whole(-1, 4, 64),
    "lstm_w": he(1, 32, 64),
    "lstm_r": he(1, 32, 8),
    "start": np.zeros((1, 4, 8), np.float32),
    "image": whole(-1, 4, 8, 1),
    "place": whole(0).reshape(1, 1),
    "patch": he(1, 4, 8, 8),
    "eight": he(8),
}


@pytest.mark.parametrize("kind", UNTRAINABLE)
def test_an_operator_without_gradient_is_named_with_its_node_and_the_way_out(kind: str) -> None:
    model = small(UNTRAINABLE[kind], MORE, opset=19)
    at_fault = next(n for n in model.graph.node if n.op_type == kind.split(" ")[0])
    at_fault.name = "the one"
    with pytest.raises(UserError) as caught:
        _engine(model)
    said = str(caught.value)
    assert said.startswith(f"Node 'the one' ({kind}) has no gradient")
    assert "freeze" in said
    assert "\n" not in said


def _engine(model: onnx.ModelProto, batch: int = 8) -> Engine:
    """Everything between a model and its first step, with one worker and the graph as the runtime builds it."""
    prepared = prepare(model)
    graph = add_loss(prepared.model, prepared.logits, Loss())
    feeds = {"x": (np.float32, (1, 8, 8)), LABELS: (np.int64, ())}
    return Engine(graph, prepared.logits, prepared.roles, feeds, classes=10, batch=batch, workers=1, rewrites=())


@pytest.mark.parametrize("frozen", [("conv_w",), ("conv*",)])
def test_an_operator_without_gradient_is_no_matter_where_nothing_before_it_is_trained(frozen: tuple[str, ...]) -> None:
    prepared = prepare(small("b = Elu(a)"), freeze=frozen)
    graph = add_loss(prepared.model, prepared.logits, Loss())
    built = gradient_graph(graph.model, LOSS, prepared.roles.trained)
    assert [o.name for o in built.graph.output][-2:] == ["fc_w" + SUFFIX, "fc_b" + SUFFIX]


def test_gradients_and_statistics_equal_those_of_onnxruntimes_own_module(tmp_path: Path) -> None:
    """``onnxruntime.training.api.Module`` on the same batch, to the bit."""
    model = normalised()
    prepared = prepare(model)
    rng = np.random.default_rng(2)
    x, labels = rng.standard_normal((8, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 8)
    theirs = _module(model, prepared.roles.trained, prepared.roles.statistics, tmp_path)
    loss = float(theirs(x, labels))

    engine = _engine(model)
    ours = engine.step({"x": x, LABELS: labels})
    assert ours.terms["loss"] == loss
    parameters = theirs._state.parameters
    for name in prepared.roles.trained:
        assert engine.layout.view(ours.gradient, name).tobytes() == parameters[name].grad.tobytes(), name
    for name, statistic in engine.statistics().items():
        assert statistic.tobytes() == parameters[name].data.tobytes(), name
        assert (statistic != value(model, name)).all()


def _module(model: onnx.ModelProto, trained: tuple[str, ...], kept: tuple[str, ...], folder: Path):
    # The package wants torch for two modules that are not needed here.
    sys.modules.setdefault("onnxruntime.training.optim", types.ModuleType("onnxruntime.training.optim"))
    sys.modules.setdefault("onnxruntime.training.ortmodule", None)  # type: ignore[arg-type]
    from onnxruntime.training import artifacts
    from onnxruntime.training.api import CheckpointState, Module

    with runtime.silent_stderr():
        artifacts.generate_artifacts(
            model,
            requires_grad=list(trained),
            frozen_params=list(kept),
            loss=artifacts.LossType.CrossEntropyLoss,
            artifact_directory=folder,
        )
        state = CheckpointState.load_checkpoint(folder / "checkpoint")
        module = Module(folder / "training_model.onnx", state, session_options=runtime.session_options())
    module.train()
    return module
