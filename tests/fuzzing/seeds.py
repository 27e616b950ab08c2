"""Small valid models that between them hold everything ONNX has: what is mutated has to be worth it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

from graphops import external
from graphops.models import build
from passes import GateSkips, HalfWeights, IntegerWeights, Quantize, RemoveSkips, ShortenSkips

MODEL = "model.onnx"


@dataclass(frozen=True)
class Seed:
    """A model, and the files beside it.

    Attributes:
        model: what ``model.onnx`` holds.
        files: the data files, by name.
    """

    model: onnx.ModelProto
    files: Mapping[str, bytes] = field(default_factory=dict)


def seeds() -> dict[str, Seed]:
    """Every seed by name, the same each time."""
    small = build("resnet", depth=8, width=2, classes=3, image=(1, 8, 8), seed=1)
    found = {
        "resnet": Seed(small),
        "gated": Seed(GateSkips().apply(small).model),
        "staged": Seed(RemoveSkips(stage=1).apply(small).model),
        "shortened": Seed(ShortenSkips(keep="each").apply(small).model),
        "halved": Seed(HalfWeights(above=8).apply(small).model),
        "integers": Seed(_integers(small)),
        "perceptron": Seed(_perceptron()),
        "computed": Seed(_computed()),
        "quantised": Seed(_quantised()),
        "qonnx": Seed(_qonnx()),
        "functions": Seed(_functions()),
        "branches": Seed(_branches()),
        "transformer": Seed(_transformer()),
        "oddities": Seed(_oddities()),
        "external": _external(),
    }
    for seed in found.values():
        if not seed.files:
            onnx.checker.check_model(seed.model)
    return found


def _parsed(text: str, **weights: tuple[int, ...]) -> onnx.ModelProto:
    """The model that ``text`` says, with random float weights of the shapes given by name."""
    model = parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in weights.items():
        value = rng.normal(scale=0.3, size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def _integers(floats: onnx.ModelProto) -> onnx.ModelProto:
    """Weights stored as integers in front of QONNX quantisers."""
    rewriter = Quantize(weights=2, acts=2)
    ranges = {name: (-3.0 if signed else 0.0, 3.0) for name, (_, signed) in rewriter.points(floats).items()}
    return IntegerWeights(above=8).apply(rewriter.calibrated(ranges).apply(floats).model).model


def _perceptron() -> onnx.ModelProto:
    """Gemm, MatMul, Sum and nested skips; the weights are inputs too, as in old files."""
    model = _parsed(
        """
        <ir_version: 3, opset_import: ["" : 12], producer_name: "seed", doc_string: "text">
        net (float[N, 6] x, float[6, 6] a, float[6, 6] b, float[6] c) => (float[N, 6] y, float[N, 6] inner) {
            one = Gemm <transB = 1> (x, a, c)
            two = Relu (one)
            three = MatMul (two, b)
            inner = Add (three, two)
            four = MatMul (inner, a)
            five = LeakyRelu <alpha = 0.1> (four)
            y = Sum (five, x)
        }
        """,
        a=(6, 6),
        b=(6, 6),
        c=(6,),
    )
    for number, node in enumerate(model.graph.node):
        node.name = f"node{number}"
    model.metadata_props.add(key="graphops.normalisation", value="none")
    return model


def _computed() -> onnx.ModelProto:
    """Weights, pads, slices and shapes that are computed."""
    return parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 2, 8, 8] x) => (float[N, C, H, W] y)
        <int64[4] wide = {2, 2, 3, 3}, int64[4] pads = {0, 0, 0, 0}, int64[1] zero = {0}, int64[1] two = {2},
         int64[4] repeats = {1, 1, 1, 1}, float start = {0}, float stop = {2}, float step = {0.5}> {
            ones = ConstantOfShape <value = float[1] {0.1}> (wide)
            steps = Range (start, stop, step)
            square = Constant <value = int64[4] {2, 2, 1, 1}> ()
            four = Reshape (steps, square)
            tall = Expand (four, wide)
            w = Mul (ones, tall)
            sizes = Shape (x)
            last = Gather <axis = 0> (sizes, two)
            begin = Slice (sizes, zero, two)
            whole = Concat <axis = 0> (begin, last, last)
            c = Conv <pads = [1, 1, 1, 1]> (x, w)
            r = Relu (c)
            d = Conv <pads = [1, 1, 1, 1]> (r, w)
            all = Concat <axis = 0> (pads, pads)
            padded = Pad (x, all)
            same = Reshape (padded, whole)
            tiled = Tile (same, repeats)
            y = Add (d, tiled)
        }
        """
    )


def _quantised() -> onnx.ModelProto:
    """QuantizeLinear and DequantizeLinear around a convolution and on both paths."""
    model = _parsed(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y)
        <float scale = {0.05}, int8 zero = {0}> {
            q = QuantizeLinear (x, scale, zero)
            d = DequantizeLinear (q, scale, zero)
            weight = DequantizeLinear (wq, scale, zero)
            wq = QuantizeLinear (w, scale, zero)
            c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (d, weight)
            cq = QuantizeLinear (c, scale, zero)
            cd = DequantizeLinear (cq, scale, zero)
            s = Add (cd, d)
            y = Clip (s, low, high)
        }
        """,
        w=(2, 2, 3, 3),
        low=(),
        high=(),
    )
    nodes = list(model.graph.node)
    nodes[2], nodes[3] = nodes[3], nodes[2]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    annotation = model.graph.quantization_annotation.add(tensor_name="c")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    return model


def _qonnx() -> onnx.ModelProto:
    """Quant and BipolarQuant of QONNX's own domain."""
    return _parsed(
        """
        <ir_version: 8, opset_import: ["" : 13, "qonnx.custom_op.general" : 2]>
        net (float[1, 4] x) => (float[1, 4] y)
        <float scale = {0.125}, float zero = {0}, float bits = {4}> {
            q = qonnx.custom_op.general.Quant <signed = 1, narrow = 0, rounding_mode = "ROUND"> (x, scale, zero, bits)
            b = qonnx.custom_op.general.BipolarQuant (w, scale)
            m = MatMul (q, b)
            n = BatchNormalization (m, g, e, u, v)
            s = qonnx.custom_op.general.Quant <signed = 1, narrow = 0, rounding_mode = "ROUND"> (n, scale, zero, bits)
            y = Add (s, q)
        }
        """,
        w=(4, 4),
        g=(4,),
        e=(4,),
        u=(4,),
        v=(4,),
    )


def _functions() -> onnx.ModelProto:
    """Functions that call each other, with attributes of their own."""
    return _parsed(
        """
        <ir_version: 10, opset_import: ["" : 20, "local" : 1]>
        net (float[N, 4] x) => (float[N, 4] y) {
            h = local.block <slope = 0.2> (x, w)
            k = local.block <slope = 0.1> (h, w)
            y = Add (k, h)
        }
        <domain: "local", opset_import: ["" : 20, "local" : 1]>
        block <slope> (x, w) => (y) {
            m = local.layer (x, w)
            a = LeakyRelu <alpha : float = @slope> (m)
            y = Add (a, x)
        }
        <domain: "local", opset_import: ["" : 20]>
        layer (x, w) => (y) {
            y = MatMul (x, w)
        }
        """,
        w=(4, 4),
    )


def _branches() -> onnx.ModelProto:
    """If, Loop and Scan, whose bodies read what lies outside."""
    return _parsed(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[3, 4] x, bool on) => (float[3, 4] y, float[3, 4] kept)
        <int64 times = {2}, bool yes = {1}> {
            m = MatMul (x, w)
            s = Add (m, x)
            chosen = If (on) <
                then_branch = yes_branch () => (float[3, 4] t) { t = Add (s, x) },
                else_branch = no_branch () => (float[3, 4] e) { n = MatMul (s, w) e = Add (n, s) }
            >
            looped = Loop (times, yes, chosen) <
                body = step (int64 i, bool go, float[3, 4] have) => (bool on_, float[3, 4] next) {
                    on_ = Identity (go)
                    more = MatMul (have, w)
                    next = Add (more, have)
                }
            >
            last, rows = Scan <num_scan_inputs = 1, body = row (float[4] state, float[4] line)
                => (float[4] state_, float[4] line_) {
                    state_ = Add (state, line)
                    line_ = Identity (state_)
                }> (first, looped)
            y = Add (rows, looped)
            kept = Identity (s)
        }
        """,
        w=(4, 4),
        first=(4,),
    )


def _transformer() -> onnx.ModelProto:
    """One encoder layer: attention and a perceptron, each with a skip."""
    return _parsed(
        """
        <ir_version: 9, opset_import: ["" : 18]>
        net (int64[N, T] ids, float[N, T] mask) => (float[N, T, 8] y)
        <int64[2] last = {-1, 0}, int64[1] axis = {-1}, float eight = {8}> {
            x = Gather (table, ids)
            q = MatMul (x, wq)
            k = MatMul (x, wk)
            v = MatMul (x, wv)
            kt = Transpose <perm = [0, 2, 1]> (k)
            qk = MatMul (q, kt)
            root = Sqrt (eight)
            scaled = Div (qk, root)
            line = Unsqueeze (mask, axis)
            row = Transpose <perm = [0, 2, 1]> (line)
            masked = Add (scaled, row)
            p = Softmax <axis = -1> (masked)
            a = MatMul (p, v)
            o = MatMul (a, wo)
            s = Add (o, x)
            n = LayerNormalization <axis = -1> (s, g, b)
            u = MatMul (n, wi)
            r = Tanh (u)
            d = MatMul (r, wd)
            y = Add (d, n)
        }
        """,
        table=(5, 8),
        wq=(8, 8),
        wk=(8, 8),
        wv=(8, 8),
        wo=(8, 8),
        g=(8,),
        b=(8,),
        wi=(8, 16),
        wd=(16, 8),
    )


def _oddities() -> onnx.ModelProto:
    """Strings, sequences, optionals, sparse weights, small floats, training info, nodes without names."""
    value = helper.make_tensor_value_info
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("sparse_indices", TensorProto.INT64, [2], [0, 5]),
        [4, 4],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "sparse"], ["m"]),
            helper.make_node("Dropout", ["m", "", ""], ["dropped", ""]),
            helper.make_node("Cast", ["low"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["dropped", "wide"], ["scaled"]),
            helper.make_node("Add", ["scaled", "x"], ["y"]),
            helper.make_node("SequenceConstruct", ["y", "x"], ["both"]),
            helper.make_node("Identity", ["words"], ["said"]),
            helper.make_node("Optional", ["x"], ["maybe"]),
        ],
        "oddities",
        [value("x", TensorProto.FLOAT, [None, 4])],
        [
            value("y", TensorProto.FLOAT, [None, 4]),
            helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, None),
            value("said", TensorProto.STRING, [2]),
            helper.make_value_info(
                "maybe", helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [None, 4]))
            ),
        ],
        [
            helper.make_tensor("words", TensorProto.STRING, [2], [b"one", b"\xff\xfe"]),
            helper.make_tensor("low", TensorProto.BFLOAT16, [4], [1.0, 2.0, 3.0, 4.0]),
            helper.make_tensor("tiny", TensorProto.INT4, [3], [1, -2, 3]),
        ],
        doc_string="oddities",
        sparse_initializer=[sparse],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    step = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "training", [], [])
    info = model.training_info.add()
    info.algorithm.CopyFrom(step)
    return model


def _external() -> Seed:
    """Weights in two files, one in a folder below."""
    model = _perceptron()
    files: dict[str, bytes] = {}
    for tensor, location in zip(model.graph.initializer, ("a.bin", "below/b.bin", "a.bin"), strict=True):
        before = files.get(location, b"")
        files[location] = before + tensor.raw_data
        onnx.external_data_helper.set_external_data(tensor, location, len(before), len(tensor.raw_data))
        tensor.ClearField("raw_data")
    assert len(external.external_tensors(model)) == 3
    return Seed(model, files)
