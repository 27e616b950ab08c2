"""Quantised networks: QONNX and QDQ of Brevitas, QDQ and QLinear operators of onnxruntime; both paths' quantisers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from hls_backend.qonnx_execution import execute as by_qonnx
from passes import (
    FoldBatchNorm,
    FoldSkips,
    GateSkips,
    MergeSkips,
    PassError,
    Quantize,
    RemoveSkips,
    ShortenSkips,
    find_skips,
)
from tests.passes.net import count, feeds, run
from tests.passes.proof import applied, assert_equal

ROOT = Path(__file__).resolve().parents[2]
BREVITAS = sorted((ROOT / "examples/corpus/exports/quantised").glob("*.onnx"))
QUANTISERS = ("Quant", "QuantizeLinear")


@pytest.fixture(scope="module")
def by_onnxruntime(tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnx.ModelProto]:
    """The digits' ResNet8 by onnxruntime's static quantisation, in both forms; batch norms are folded before."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [np.random.default_rng(i).standard_normal((4, 1, 8, 8)).astype(np.float32) for i in range(3)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"input": self.left.pop()} if self.left else None

    folder = tmp_path_factory.mktemp("quantised")
    model = FoldBatchNorm().apply(onnx.load(ROOT / "examples/models/digits-resnet8.onnx")).model
    onnx.save(model, folder / "float.onnx")
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(folder / "float.onnx", folder / f"{form.name}.onnx", Images(), quant_format=form)
    return {form: onnx.load(folder / f"{form}.onnx") for form in ("QDQ", "QOperator")}


def execute(model: onnx.ModelProto) -> list[np.ndarray]:
    """By onnxruntime, or by qonnx where there are operators of its own."""
    inputs = feeds(model, batch=1)
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    copy.ir_version = 10  # Brevitas writes 14, which this onnxruntime does not know
    if not count(model, "Quant"):
        return run(copy, inputs)
    (images,) = inputs.values()
    made = by_qonnx(copy, images)
    return [made[output.name] for output in model.graph.output]


def doubled(model: onnx.ModelProto) -> Iterator[str]:
    """Quantisers that round what another has just rounded, be there an activation or not."""
    makers = {o: n for n in model.graph.node for o in n.output}
    for node in model.graph.node:
        if node.op_type in QUANTISERS and node.input[0] in makers:
            before = makers[node.input[0]]
            while before.op_type in ("Relu", "Clip", "Identity") and before.input[0] in makers:
                before = makers[before.input[0]]
            if before.op_type in (*QUANTISERS, "DequantizeLinear"):
                yield node.name


# -- real exports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BREVITAS, ids=lambda path: path.stem)
def test_brevitas(path: Path) -> None:
    """Three blocks, the second with a projection. With the joins go the quantisers that prepared the additions."""
    model = onnx.load(path)
    assert [(s.kind, s.span) for s in find_skips(model)] == [("identity", 2), ("projection", 2), ("identity", 2)]
    before = set(doubled(model))
    rest = applied(RemoveSkips(), model, runs=False).model
    assert find_skips(rest) == []
    assert count(rest, "Add") == 0
    assert set(doubled(rest)) <= before
    kind = "Quant" if count(model, "Quant") else "QuantizeLinear"
    # Two a join: one on each path; the projection's weights have one more.
    assert count(model, kind) - count(rest, kind) == (7 if kind == "Quant" else 6 + (count(model, kind) > 12))
    assert all(np.isfinite(o).all() and np.ptp(o) > 0 for o in execute(rest))


@pytest.mark.parametrize("path", BREVITAS, ids=lambda path: path.stem)
def test_brevitas_by_stages(path: Path) -> None:
    model = staged = onnx.load(path)
    for stage in (1, 2, 3):
        staged = RemoveSkips(stage=stage).apply(staged).model
        assert staged == RemoveSkips(stage=stage).apply(model).model
    assert staged.graph == RemoveSkips().apply(model).model.graph


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_onnxruntime(by_onnxruntime: dict[str, onnx.ModelProto], form: str) -> None:
    model = by_onnxruntime[form]
    assert [(s.kind, s.span) for s in find_skips(model)] == [("identity", 2), ("padding", 2), ("padding", 2)]
    rest = applied(RemoveSkips(), model).model
    assert find_skips(rest) == []
    assert count(rest, "Add") == count(rest, "QLinearAdd") == count(rest, "Slice") == 0
    assert not set(doubled(rest)) - set(doubled(model))


def test_both_forms_come_to_the_same(by_onnxruntime: dict[str, onnx.ModelProto]) -> None:
    """The quantised classes are as near to each other without skips as with them."""

    def apart(models: list[onnx.ModelProto]) -> float:
        inputs = feeds(models[0], batch=4)
        one, other = (run(model, inputs)[0] for model in models)
        return float(np.abs(one - other).max() / np.abs(one).max())

    forms = [by_onnxruntime["QDQ"], by_onnxruntime["QOperator"]]
    assert apart(forms) < 0.05
    assert apart([RemoveSkips().apply(model).model for model in forms]) < 0.05


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_stages_of_onnxruntimes(by_onnxruntime: dict[str, onnx.ModelProto], form: str) -> None:
    model = staged = by_onnxruntime[form]
    for stage in (1, 2, 3):
        staged = applied(RemoveSkips(stage=stage), staged).model
        assert staged == RemoveSkips(stage=stage).apply(model).model


def test_short_skips_of_brevitas_stay_on_the_main_paths_grid() -> None:
    """One quantiser for both paths: it now rounds the second layer's input."""
    model = onnx.load(next(path for path in BREVITAS if path.stem == "brevitas-4-bits.qonnx"))
    rest = applied(ShortenSkips(), model, runs=False).model
    values = {i.name: numpy_helper.to_array(i) for i in rest.graph.initializer}
    makers = {o: n for n in rest.graph.node for o in n.output}
    for node in rest.graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for join in (n for n in rest.graph.node if n.op_type == "Add"):
        scales = [values[makers[name].input[1]] for name in join.input]
        assert scales[0] == scales[1]
    assert [s.span for s in find_skips(rest)] == [1, 1, 1]
    assert all(np.isfinite(o).all() for o in execute(rest))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_short_skips_of_onnxruntimes(by_onnxruntime: dict[str, onnx.ModelProto], form: str) -> None:
    rest = applied(ShortenSkips(), by_onnxruntime[form]).model
    assert [(s.kind, s.span) for s in find_skips(rest)] == [("identity", 1)] * 3


def test_integers_are_added_where_they_were(by_onnxruntime: dict[str, onnx.ModelProto]) -> None:
    with pytest.raises(PassError, match="a join elsewhere would need a grid that nobody has measured"):
        ShortenSkips(keep="each", skips=("1",)).apply(by_onnxruntime["QOperator"])


def test_what_rounding_forbids_is_refused(by_onnxruntime: dict[str, onnx.ModelProto]) -> None:
    """No weight of its own grid takes a skip in, and integers know no gate between 0 and 1."""
    qdq, integers = by_onnxruntime["QDQ"], by_onnxruntime["QOperator"]
    short = ShortenSkips().apply(qdq).model
    with pytest.raises(PassError, match="is quantised, and other weights would leave its grid"):
        FoldSkips().apply(short)
    with pytest.raises(PassError, match="is quantised, and other weights would leave its grid"):
        MergeSkips().apply(qdq)
    for rewriter in (FoldSkips(), MergeSkips()):
        with pytest.raises(PassError, match="adds integers on grids; do this before the network is quantised"):
            rewriter.apply(ShortenSkips().apply(integers).model)
    with pytest.raises(PassError, match="whole numbers, which no gate can fade"):
        GateSkips().apply(integers)


def test_gates_of_dequantised_numbers(by_onnxruntime: dict[str, onnx.ModelProto]) -> None:
    model = by_onnxruntime["QDQ"]
    gated = applied(GateSkips(), model).model
    np.testing.assert_array_equal(run(gated, feeds(model))[0], run(model, feeds(model))[0])
    assert_equal(RemoveSkips().apply(gated).model, RemoveSkips().apply(model).model)


def test_faded_skips_of_dequantised_numbers_go_exactly(by_onnxruntime: dict[str, onnx.ModelProto]) -> None:
    """The quantiser in front of the addition stays, as training has seen it."""
    model = GateSkips().apply(by_onnxruntime["QDQ"]).model
    for initializer in model.graph.initializer:
        if initializer.name in {s.gate for s in find_skips(model)}:
            initializer.CopyFrom(numpy_helper.from_array(np.array(0, np.float32), initializer.name))
    rest = applied(RemoveSkips(faded=True), model).model
    assert find_skips(rest) == []
    np.testing.assert_array_equal(run(rest, feeds(model))[0], run(model, feeds(model))[0])


def test_what_is_joined_to_gated_integers_is_gated_by_nothing() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[N,1,1,2] x) => (float[N,2,1,2] y)
        <float[2,1,1,1] w = {1, 2}, float gate = {0}, float s = {0.1}, uint8 z = {100}, uint8[1,1,1,2] k = {1, 2}> {
            c = Conv (x, w) m = Mul (x, gate) q = QuantizeLinear (m, s, z)
            t = com.microsoft.QLinearConcat <axis = 1> (s, z, q, s, z, k, s, z)
            d = DequantizeLinear (t, s, z) y = Add (c, d) }""")
    assert [(skip.kind, skip.gate) for skip in find_skips(model)] == [("padding", None)]


def test_quantised_layers_keep_their_batch_norms() -> None:
    """Folded weights would lie on no grid."""
    model = onnx.load(next(path for path in BREVITAS if "qcdq" in path.stem))
    result = applied(FoldBatchNorm(), model)
    assert not result.changed
    assert all("is quantised, and other weights would leave its grid" in note for note in result.notes)


@pytest.mark.parametrize(
    "layer",
    [
        "m = MaxPool <kernel_shape = [2, 2]> (d) v = DequantizeLinear (w, s, z) c = Conv (m, v)",
        "f = Flatten (d) r = Reshape (w, shape) v = DequantizeLinear (r, s, z) t = Transpose (v) c = MatMul (f, t)",
    ],
)
def test_layers_are_quantised_whatever_moves_the_numbers_in_between(layer: str) -> None:
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,2,2] x) => (y)
        <int8[1,2,2,2] w = {{1, 2, 3, 4, 5, 6, 7, 8}}, int64[2] shape = {{1, 8}}, float s = {{0.1}}, int8 z = {{0}},
         float[1] one = {{1}}, float[1] half = {{0.5}}>
        {{ q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) {layer}
           y = BatchNormalization (c, half, half, half, one) }}""")
    (note,) = FoldBatchNorm().apply(model).notes
    assert "is quantised, and other weights would leave its grid" in note
    assert Quantize().apply(model).notes == ("The network is quantised already; nothing was changed.",)


# -- single joins -------------------------------------------------------------------------------------------------


def block(nodes: str, inputs: str = "", outputs: str = "") -> onnx.ModelProto:
    """A convolution c of x and what ``nodes`` make of the two."""
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1, "qonnx.custom_op.general" : 1]>
        g (float[N,1,4,4] x{inputs}) => (float[N,1,4,4] y{outputs})
        <float[1,1,1,1] w = {{0.7}}, float s = {{0.1}}, float t = {{0.2}}, uint8 u = {{0}}, int8 i = {{0}},
         uint8 v = {{100}}, int8 low = {{0}}, int8 high = {{7}},
         float zero = {{0}}, float bits = {{4}}>
        {{ c = Conv (x, w) {nodes} }}""")
    for initializer in list(model.graph.initializer):
        if not any(initializer.name in node.input for node in model.graph.node):
            model.graph.initializer.remove(initializer)
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}"
    onnx.checker.check_model(model, full_check=True)
    return model


def left(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in applied(RemoveSkips(), model).model.graph.node]


def rounded(zero: str, behind: str = "") -> onnx.ModelProto:
    after = f"r = {behind} (a)" if behind else ""
    return block(f"""q = QuantizeLinear (c, s, {zero}) d = DequantizeLinear (q, s, {zero}) a = Add (d, x) {after}
        e = QuantizeLinear ({"r" if behind else "a"}, t, u) y = DequantizeLinear (e, t, u)""")


@pytest.mark.parametrize("zero", ["i", "v"])
@pytest.mark.parametrize("behind", ["", "Relu", "Clip", "Identity"])
def test_the_first_of_two_quantisers_goes(zero: str, behind: str) -> None:
    expected = ["Conv", behind, "QuantizeLinear", "DequantizeLinear"]
    assert left(rounded(zero, behind)) == [op for op in expected if op]


def test_one_that_may_be_an_activation_stays() -> None:
    """Without a sign it takes negative numbers for 0, as the Relu did that was folded into it."""
    assert left(rounded("u")) == ["Conv", *["QuantizeLinear", "DequantizeLinear"] * 2]


@pytest.mark.parametrize(("signed", "left_over"), [(1, 1), (0, 2)])
def test_of_two_of_qonnx_the_first_stays_if_it_has_no_sign(signed: int, left_over: int) -> None:
    quant = "qonnx.custom_op.general.Quant"
    model = block(f"""q = {quant} <signed = {signed}> (c, s, zero, bits) a = Add (q, x)
        y = {quant} <signed = 0> (a, t, zero, bits)""")
    assert [n.op_type for n in RemoveSkips().apply(model).model.graph.node] == ["Conv", *["Quant"] * left_over]


def test_one_that_a_clip_leaves_no_negative_numbers_stays() -> None:
    model = block("""q = QuantizeLinear (c, s, i) k = Clip (q, low, high) d = DequantizeLinear (k, s, i)
        a = Add (d, x) e = QuantizeLinear (a, t, u) y = DequantizeLinear (e, t, u)""")
    assert left(model) == [
        "Conv",
        "QuantizeLinear",
        "Clip",
        *["DequantizeLinear", "QuantizeLinear"],
        "DequantizeLinear",
    ]


def test_the_only_one_stays() -> None:
    model = block("q = QuantizeLinear (c, s, i) d = DequantizeLinear (q, s, i) y = Add (d, x)")
    assert left(model) == ["Conv", "QuantizeLinear", "DequantizeLinear"]


def test_one_that_others_need_stays() -> None:
    """The join, or what was rounded for it, is read unrounded elsewhere."""
    after = "e = QuantizeLinear (a, t, u) y = DequantizeLinear (e, t, u)"
    before = "q = QuantizeLinear (c, s, i) d = DequantizeLinear (q, s, i) a = Add (d, x)"
    other = ", float[N,1,4,4] z"
    assert left(block(f"{before} {after} z = Exp (a)", outputs=other)).count("QuantizeLinear") == 2
    assert left(block(f"{before} {after} z = Exp (d)", outputs=other)).count("QuantizeLinear") == 2


def test_a_quantiser_in_front_of_which_nothing_is_known_stays() -> None:
    """Its zero point is computed from an input."""
    model = block(
        """z = Cast <to = 3> (given) q = QuantizeLinear (c, s, z) d = DequantizeLinear (q, s, z) a = Add (d, x)
        e = QuantizeLinear (a, t, u) y = DequantizeLinear (e, t, u)""",
        inputs=", float given",
    )
    assert left(model).count("QuantizeLinear") == 2


def integers(
    grid: str, middle: str = "q = QuantizeLinear (c, s, v) m = Identity (q)", outputs: str = ""
) -> onnx.ModelProto:
    """x and c as integers, added by QLinearAdd to a tensor on ``grid``."""
    return block(
        f"""p = QuantizeLinear (x, s, v) {middle}
        a = com.microsoft.QLinearAdd (m, s, v, p, s, v, {grid}) y = DequantizeLinear (a, {grid})""",
        outputs=outputs,
    )


def test_integers_on_the_results_grid_stay_as_they_are() -> None:
    assert left(integers("s, v")) == ["Conv", "QuantizeLinear", "Identity", "DequantizeLinear"]


def test_integers_that_only_the_join_read_are_made_on_the_results_grid() -> None:
    model = integers("t, u", "m = QuantizeLinear (c, s, v)")
    rest = applied(RemoveSkips(), model).model
    assert [(n.op_type, list(n.input)) for n in rest.graph.node] == [
        ("Conv", ["x", "w"]),
        ("QuantizeLinear", ["c", "t", "u"]),
        ("DequantizeLinear", ["m", "t", "u"]),
    ]


def test_other_integers_move_to_the_results_grid() -> None:
    """What makes them has no grid to change, or others read them, or it makes 0 of what is negative."""
    moved = ["DequantizeLinear", "QuantizeLinear", "DequantizeLinear"]
    assert left(integers("t, u")) == ["Conv", "QuantizeLinear", "Identity", *moved]
    model = integers("t, u", "m = QuantizeLinear (c, s, v) z = DequantizeLinear (m, s, v)", ", float[N,1,4,4] z")
    assert sorted(left(model)) == sorted(["Conv", "QuantizeLinear", "DequantizeLinear", *moved])
    model = block("""p = QuantizeLinear (x, s, v) m = QuantizeLinear (c, s, u)
        a = com.microsoft.QLinearAdd (m, s, u, p, s, v, t, v) y = DequantizeLinear (a, t, v)""")
    assert left(model) == ["Conv", "QuantizeLinear", *moved]


@pytest.mark.parametrize(("zero", "least"), [("v", 0.0), ("i", -np.inf)])
@pytest.mark.parametrize(
    "middle", ["m = QuantizeLinear (c, s, {0})", "q = QuantizeLinear (c, s, {0}) m = Identity (q)"]
)
def test_a_result_without_a_zero_point_has_its_zero_at_0(middle: str, zero: str, least: float) -> None:
    model = block(f"""p = QuantizeLinear (x, s, {zero}) {middle.format(zero)}
        a = com.microsoft.QLinearAdd (m, s, {zero}, p, s, {zero}, t) y = DequantizeLinear (a, t)""")
    rest = applied(RemoveSkips(), model).model
    inputs = feeds(rest)
    expected = np.maximum(0.7 * inputs["x"], least)
    assert np.abs(run(rest, inputs)[0] - expected).max() < 0.2


def test_a_join_of_integers_that_is_an_output_keeps_its_name() -> None:
    model = block(
        """p = QuantizeLinear (x, s, v) q = QuantizeLinear (c, s, v)
        a = com.microsoft.QLinearAdd (q, s, v, p, s, v, t, u) y = DequantizeLinear (a, t, u)""",
        outputs=", uint8[N,1,4,4] a",
    )
    rest = applied(RemoveSkips(), model).model
    assert [list(n.output) for n in rest.graph.node] == [["c"], ["a"], ["y"]]


def test_layers_that_add_up_integers_get_no_short_skip() -> None:
    """As onnxruntime quantises dynamically: 8-bit integers go in and 32-bit ones come out."""
    layer = (
        "{1}q, {1}s, {1}z = DynamicQuantizeLinear ({0}) {1}i = ConvInteger ({1}q, w, {1}z) {1} = Cast <to = 1> ({1}i)"
    )
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]> g (float[N,1,4,4] x) => (float[N,1,4,4] y)
        <uint8[1,1,1,1] w = {{3}}> {{ {layer.format("x", "m")} {layer.format("m", "n")} y = Add (n, x) }}""")
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(PassError, match="none certainly has an input of its output's shape"):
        ShortenSkips().apply(model)


@pytest.mark.parametrize("keep", ["last", "each"])
def test_a_clip_to_fewer_bits_belongs_to_the_quantiser(keep: str) -> None:
    """As Brevitas writes four bits: QuantizeLinear, Clip, DequantizeLinear."""
    grid = "{1} = QuantizeLinear ({0}, s, i) {1}k = Clip ({1}, low, high) {1}d = DequantizeLinear ({1}k, s, i)"
    nodes = [
        grid.format("x", "p"),
        "m = Conv (pd, w)",
        grid.format("m", "q"),
        "n = Conv (qd, w)",
        grid.format("n", "r"),
    ]
    model = block("\n".join([*nodes, grid.format("pd", "o"), "y = Add (rd, od)"]))
    (skip,) = find_skips(model)
    assert (skip.kind, skip.map_bits) == ("identity", 3 * 16)
    short = ShortenSkips(keep=keep).apply(model).model
    assert [(s.kind, s.span) for s in find_skips(short)] == [("identity", 1)] * (1 if keep == "last" else 2)
    assert np.isfinite(execute(short)[0]).all()  # it runs: no join lies between integers and floats
