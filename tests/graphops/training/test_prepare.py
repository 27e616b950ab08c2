"""From a person's graph to its training copy: what is mended, what is refused, and what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from graphops.training.gradient import gradient_graph
from graphops.training.loss import Loss, add_loss
from graphops.training.prepare import Prepared, prepare, probe
from passes import GateSkips, UserError
from tests.graphops.training.nets import HEAD, he, net, normalised, ones, same_values, small, value, zeros


def run(model: onnx.ModelProto, x: np.ndarray, output: str = "") -> np.ndarray:
    readable = onnx.ModelProto()
    readable.CopyFrom(model)
    readable.ir_version = min(10, model.ir_version)
    session = onnxruntime.InferenceSession(readable.SerializeToString())
    return session.run([output or session.get_outputs()[0].name], {session.get_inputs()[0].name: x})[0]


def images(count: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((count, 1, 8, 8)).astype(np.float32)


BODY = f"a = Conv <pads = [1,1,1,1]> (x, conv_w) b = Relu(a) {HEAD}"
WEIGHTS: dict[str, Any] = {"conv_w": he(4, 1, 3, 3), "fc_w": he(10, 4), "fc_b": zeros(10)}
POOLED = "a = Conv <pads = [1,1,1,1]> (x, conv_w) b = Relu(a) pooled = GlobalAveragePool(b)"

MENDED: dict[str, onnx.ModelProto] = {
    "plain": small(),
    "auto_pad": net(f'a = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (x, conv_w) b = Relu(a) {HEAD}', WEIGHTS),
    "Sum": small("r = Relu(a) t = Tanh(a) b = Sum(a, r, t)"),
    "Split": small("one, two = Split <axis = 1> (a) b = Concat <axis = 1> (two, two)"),
    "Dropout": small("b, mask = Dropout(a, ratio)", {"ratio": np.float32(0.5)}),
    "old opset": small(opset=9),
    "new opset": small(opset=23, ir=13),
    "fixed batch in a Reshape": net(
        f"{POOLED} flat = Reshape(pooled, shape) y = Gemm <transB = 1> (flat, fc_w, fc_b)",
        {**WEIGHTS, "shape": np.array([1, -1])},
        given="float[1,1,8,8] x",
        wanted="float[1,10] y",
    ),
    "fixed batch in a Reshape as PyTorch's newer exporter writes it": net(
        f"{POOLED} flat = Reshape <allowzero = 1> (pooled, shape) y = Gemm <transB = 1> (flat, fc_w, fc_b)",
        {**WEIGHTS, "shape": np.array([1, 4])},
        given="float[1,1,8,8] x",
        wanted="float[1,10] y",
    ),
    "fixed batch in a Constant": net(
        f"{POOLED} shape = Constant <value = int64[2] {{1, 4}}> () flat = Reshape(pooled, shape) "
        "y = Gemm <transB = 1> (flat, fc_w, fc_b)",
        WEIGHTS,
        given="float[1,1,8,8] x",
        wanted="float[1,10] y",
    ),
    "fixed batch and a Reshape of constants": small(
        "t = Gather(table, rows) r = Reshape(t, shape) b = Add(a, r)",
        {"table": he(9, 8, 8), "rows": np.arange(4), "shape": np.array([1, 4, 8, 8])},
        given="float[1,1,8,8] x",
        wanted="float[1,10] y",
    ),
    "channels last": net(
        f"c = Transpose <perm = [0,3,1,2]> (x) a = Conv <pads = [1,1,1,1]> (c, conv_w) b = Relu(a) {HEAD}",
        WEIGHTS,
        given="float[N,8,8,1] x",
    ),
    "weights as Constant nodes": net(
        f"c0 = Constant <value = float[4] {{0.5, 0.25, -1.0, 2.0}}> () w1 = Reshape(c0, shape) "
        f"a = Conv(x, w1) b = Relu(a) {HEAD}",
        {"fc_w": he(10, 4), "fc_b": zeros(10), "shape": np.array([4, 1, 1, 1])},
    ),
    "statistics as Constant nodes": small(
        "m = Constant <value = float[4] {0.0, 0.0, 0.0, 0.0}> () "
        "v = Constant <value = float[4] {1.0, 1.0, 1.0, 1.0}> () "
        "n = BatchNormalization (a, s, o, m, v) b = Relu(n)",
        {"s": ones(4), "o": zeros(4)},
    ),
    "half weights": net(
        f"wide = Cast <to = 1> (conv_w) a = Conv <pads = [1,1,1,1]> (x, wide) b = Relu(a) {HEAD}",
        {**WEIGHTS, "conv_w": he(4, 1, 3, 3).astype(np.float16)},
    ),
    "function": net(
        f"a = own.layer(x, conv_w) b = Relu(a) {HEAD}",
        WEIGHTS,
        domains=', "own" : 1',
        functions='<opset_import: ["" : 17], domain: "own"> layer (x, w) => (y) { y = Conv <pads = [1,1,1,1]> (x, w) }',
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_the_training_copy_computes_what_the_model_computes(case: str) -> None:
    model = MENDED[case]
    prepared = prepare(model)
    x = images(3).reshape(3, 8, 8, 1) if case == "channels last" else images(3)
    readable = small() if case == "new opset" else prepared.source  # the same, as the runtime cannot read that one
    one_by_one = np.concatenate([run(readable, x[k : k + 1]) for k in range(3)])
    batch = run(prepared.runnable({}), x)
    np.testing.assert_allclose(batch, one_by_one, atol=1e-6)
    assert set(prepared.roles.trained) >= {"fc_w", "fc_b"}
    assert len(prepared.roles.trained) == 3 + len(prepared.roles.statistics)


def test_the_model_is_not_modified_and_comes_back_with_nothing_changed_but_values() -> None:
    model = normalised()
    helper.set_model_props(model, {"who": "a person"})
    model.doc_string, model.graph.node[0].doc_string, model.graph.initializer[0].doc_string = "m", "n", "i"
    model.graph.value_info.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, None))
    before = model.SerializeToString(deterministic=True)
    prepared = prepare(model)
    back = prepared.with_values({"conv_w": ones(4, 1, 3, 3)})
    assert model.SerializeToString(deterministic=True) == before
    assert (value(back, "conv_w") == 1).all()
    again = prepared.with_values({"conv_w": value(model, "conv_w")})
    assert again.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("closing", "logits"),
    [
        ("p = Softmax <axis = 1> (y)", "y"),
        ("s = LogSoftmax (y) p = Identity(s)", "y"),
        ("s = Softmax <axis = 1> (y) p = Flatten(s)", "y"),
        ("i = Identity(y) p = Flatten(i)", "p"),
    ],
)
def test_a_closing_softmax_is_left_out_of_the_logits(closing: str, logits: str) -> None:
    model = net(f"{BODY} {closing}", WEIGHTS, wanted="float[N,10] p")
    assert prepare(model).logits == logits


def test_numbers_computed_from_sizes_alone_need_no_gradient() -> None:
    prepare(small('d, "" = Dropout(a) s = Size(d) f = Cast <to = 1> (s) c = Clip(d, , f) r = Relu(c) b = Pow(r, f)'))


def test_logits_of_one_pixel_are_flattened() -> None:
    weights = {**WEIGHTS, "fc_w": he(10, 4, 1, 1)}
    prepared = prepare(net(f"{POOLED} y = Conv(pooled, fc_w, fc_b)", weights, wanted="float[N,10,1,1] y"))
    flat, shapes = probe(prepared, images(2), [])
    assert shapes[flat.logits] == (10,)
    assert run(flat.runnable({}), images(2)).shape == (2, 10)
    last = net(f"{POOLED} c = Conv(pooled, fc_w, fc_b) y = Transpose <perm = [0,2,3,1]> (c)", weights)
    assert probe(prepare(last), images(2), [])[1]["y/flat"] == (10,)


def test_a_shared_initialiser_of_statistics_gets_copies() -> None:
    middle = "n = BatchNormalization (a, one, zero, zero, one) b = Relu(n)"
    prepared = prepare(small(middle, {"one": ones(4), "zero": zeros(4)}))
    assert prepared.roles.trained[-2:] == ("one", "zero")
    assert len({*prepared.roles.statistics, "one", "zero"}) == 4
    assert [n for n in prepared.notes if "copy of its own" in n] == list(prepared.notes)


def roles_of(model: onnx.ModelProto, **kwargs: Any) -> tuple[str, ...]:
    return prepare(model, **kwargs).roles.trained


def test_what_is_trained() -> None:
    """Weights, biases, normalisation scales; finite channel constants behind the first layer, not those before it."""
    scaled = net(
        f"shifted = Sub(x, mean) scaled = Mul(shifted, inverse) a = Conv(scaled, conv_w) m = Mul(a, gain) "
        f"p = Add(m, offset) q = Add(p, mask) c = Clip(q, low, high) b = Mul(c, two) {HEAD}",
        {
            **WEIGHTS,
            "mean": zeros(1, 1, 8, 8),
            "inverse": ones(1, 1, 8, 8),
            "gain": ones(4, 1, 1),
            "offset": zeros(4, 1, 1),
            "mask": np.triu(np.full((8, 8), -np.inf, np.float32), 1),
            "low": np.float32(0),
            "high": np.float32(6),
            "two": np.float32(2),
        },
    )
    assert roles_of(scaled) == ("conv_w", "fc_w", "fc_b", "gain", "offset")
    assert roles_of(normalised()) == ("conv_w", "fc_w", "fc_b", "conv2_w", "s1", "b1", "s2", "b2")
    assert roles_of(normalised(), freeze=("s?", "fc_*")) == ("conv_w", "conv2_w", "b1", "b2")
    statistics = prepare(normalised()).roles.normalisations
    assert [(s.mean, s.variance, round(s.momentum, 6)) for s in statistics] == [("m1", "v1", 0.8), ("m2", "v2", 0.9)]


def test_equal_constants_of_two_normalisations_may_be_kept() -> None:
    """The runtime makes one of them, which has no single gradient."""
    model = normalised()
    prepared = prepare(model, freeze=("b?",))
    graph = add_loss(prepared.model, prepared.logits, Loss())
    built = gradient_graph(graph.model, graph.terms["loss"], prepared.roles.trained, prepared.roles.statistics)
    assert {"b1", "b2"} <= {i.name for i in built.graph.initializer}
    assert {"b1", "b2"}.isdisjoint(i.name for i in built.graph.input)


def test_sizes_are_known_of_graphs_from_when_initialisers_were_inputs_too() -> None:
    model = small("b = MaxPool <kernel_shape = [2,2]> (a)", opset=9, ir=3)
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    assert prepare(model).roles.trained == ("conv_w", "fc_w", "fc_b")


def test_names_with_brackets_are_meant_literally() -> None:
    model = small("r = Relu(a) b = Relu(r)")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"r": "blocks[0].out", "conv_w": "blocks[0].weight"}.get(name, name) for name in names]
    model.graph.initializer[0].name = "blocks[0].weight"
    prepared = prepare(model, freeze=("blocks[0]*",), features=("blocks[?].out",))
    assert prepared.roles.trained == ("fc_w", "fc_b")
    assert prepared.features == ("blocks[0].out",)


def test_patterns_for_features_match_neither_shapes_nor_constants_nor_weights() -> None:
    model = small(
        "size = Shape(a) two = Constant <value = float {2}> () k = Tanh(w) s = Mul(k, two) t = Mul(a, s) "
        "r = Clip(t, , two) b = Reshape(r, size)",
        {"w": ones(4, 1, 1)},
    )
    assert prepare(model, features=("*",)).features == ("a", "t", "r", "b", "pooled", "flat", "y")


def test_gates_of_skip_connections_are_not_trained() -> None:
    block = """
    c = Conv <pads = [1,1,1,1]> (a, w1) r = Relu(c) d = Conv <pads = [1,1,1,1]> (r, w2) j = Add(d, a) b = Relu(j)
    """
    model = GateSkips().apply(small(block, {"w1": he(4, 4, 3, 3), "w2": he(4, 4, 3, 3, seed=1)})).model
    roles = prepare(model).roles
    assert len(roles.gates) == 1
    assert roles.trained == ("conv_w", "fc_w", "fc_b", "w1", "w2")
    assert prepare(model, freeze=roles.gates).roles.gates == (), "what is kept does not fade"


def test_weights_that_no_output_needs_are_pruned_from_the_copy_alone() -> None:
    model = small("b = Relu(a) dead = Conv(x, unused)", {"unused": he(2, 1, 3, 3)})
    prepared = prepare(model)
    assert "unused" not in prepared.roles.trained
    assert same_values(prepared.with_values({}), model)


HALF = {k: v.astype(np.float16) for k, v in WEIGHTS.items()}
REFUSED: dict[str, tuple[onnx.ModelProto, dict[str, Any], str]] = {
    "auto_pad without a size": (
        net(f'a = Conv <auto_pad = "SAME_UPPER"> (x, conv_w) b = Relu(a) {HEAD}', WEIGHTS, given="float[N,1,H,W] x"),
        {},
        r"Node 'Conv number 0 \(output a\)' has auto_pad=SAME_UPPER .* explicit pads",
    ),
    "Split without sizes": (
        net(f"a = Conv(x, conv_w) p, q = Split <axis = 2> (a) b = Relu(p) {HEAD}", WEIGHTS, given="float[N,1,H,W] x"),
        {},
        "Node 'Split number 1 .* is a Split into parts of unknown size",
    ),
    "float16": (
        net(BODY, HALF, given="float16[N,1,8,8] x", wanted="float16[N,10] y"),
        {},
        "'a' computes in float16 .* convert the model to float32",
    ),
    "float16 input": (
        net(f"x32 = Cast <to = 1> (x) {BODY.replace('(x,', '(x32,')}", WEIGHTS, given="float16[N,1,8,8] x"),
        {},
        "input 'x' is float16",
    ),
    "nothing to train": (
        net("p = GlobalAveragePool(x) f = Flatten(p) y = Expand(f, s)", {"s": np.array([1, 10])}),
        {},
        "no float32 weights to train; give another model",
    ),
    "all frozen": (small(), {"freeze": ("*",)}, r"besides those that match \*; freeze less"),
    "nothing of that name to freeze": (small(), {"freeze": ("fc_*", "nomatch")}, "no initialiser 'nomatch' to keep"),
    "two outputs": (
        net(BODY, WEIGHTS, wanted="float[N,10] y, float[N,4,8,8] b"),
        {},
        "outputs y, b; say which holds the logits with `output`",
    ),
    "classes for an output": (
        net(f"{BODY} class = ArgMax <axis = 1> (y)", WEIGHTS, wanted="int64[N,1] class"),
        {},
        "output 'class' is int64 and training needs a float a class",
    ),
    "no such output": (small(), {"output": "z"}, "no output 'z'; it has y"),
    "two inputs": (
        small("b = Add(a, x2)", given="float[N,1,8,8] x, float[N,4,8,8] x2"),
        {},
        "the model's inputs are 'x', 'x2'",
    ),
    "no such feature": (small(), {"features": ("c",)}, "no tensor 'c' to distil"),
    "a feature of whole numbers": (small("s = Shape(a) b = Relu(a)"), {"features": ("s",)}, "no tensor 's' to distil"),
    "another quantiser": (
        small(
            "b = qonnx.custom_op.general.Trunc(a, s, z, n, n)",
            {"s": np.float32(0.1), "z": np.float32(0), "n": np.float32(4)},
            domains=', "qonnx.custom_op.general" : 1',
        ),
        {},
        "qonnx.custom_op.general.Trunc, which has no gradient",
    ),
    "weights in QDQ": (
        net(
            f"q = QuantizeLinear(conv_w, s, z) d = DequantizeLinear(q, s, z) a = Conv <pads = [1,1,1,1]> (x, d) "
            f"b = Relu(a) {HEAD}",
            {**WEIGHTS, "s": np.float32(0.1), "z": np.int8(0)},
        ),
        {},
        "computes with weights quantised in QDQ, which cannot be trained; export the network in QONNX",
    ),
    "a computed exponent": (
        small("e = Exp(a) p = Sigmoid(a) b = Pow(e, p)"),
        {},
        r"Node 'Pow number 3 \(output b\)' \(Pow\) has no gradient",
    ),
    "a computed padding": (
        small("m = ReduceMean <keepdims = 0> (a) b = Pad(a, pads, m)", {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}),
        {},
        r"Node 'Pad number 2 \(output b\)' \(Pad\) has no gradient",
    ),
    "column-major places that are read": (
        small(
            "p, i = MaxPool <kernel_shape = [2,2], storage_order = 1> (a) f = Cast <to = 1> (i) b = Mul(p, f)",
        ),
        {},
        r"Node 'MaxPool number 1 \(output p\)' \(MaxPool\) has no gradient",
    ),
    "name of a gradient": (
        net(
            BODY.replace("fc_b", "fc_w_grad"),
            {**{k: v for k, v in WEIGHTS.items() if k != "fc_b"}, "fc_w_grad": zeros(10)},
        ),
        {},
        "'fc_w_grad' bears the name that training gives to the gradient of 'fc_w'; rename it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_sentence(case: str) -> None:
    model, options, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence) as caught:
        prepare(model, **options)
    assert "\n" not in str(caught.value)


def test_weights_in_another_file_are_refused() -> None:
    model = small()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    with pytest.raises(UserError, match="weights of 'conv_w' lie in another file"):
        prepare(model)


@pytest.mark.parametrize(
    ("body", "wanted", "sentence"),
    [
        (f"{POOLED} y = Relu(b)", "float[N,4,8,8] y", "has the shape .* needs a number a class"),
        (f"{POOLED} flat = Reshape(pooled, s) y = Gemm <transB = 1> (flat, fc_w, fc_b)", "float[1,10] y", "2 images"),
    ],
)
def test_an_output_that_is_no_row_an_image_is_refused(body: str, wanted: str, sentence: str) -> None:
    prepared: Prepared = prepare(net(body, {**WEIGHTS, "s": np.array([1, 4])}, wanted=wanted))
    with pytest.raises(UserError, match=sentence):
        probe(prepared, images(2), [])


@pytest.mark.parametrize("middle", ["f = Transpose <perm = [1,0,2,3]> (a)", "f = ReduceMean <keepdims = 0> (a)"])
def test_a_feature_that_is_no_row_an_image_is_refused(middle: str) -> None:
    prepared = prepare(small(f"b = Relu(a) {middle}"), features=("f",))
    with pytest.raises(UserError, match=r"The feature 'f' has the shape .* for 2 images, which is no row an image"):
        probe(prepared, images(2), prepared.features)
