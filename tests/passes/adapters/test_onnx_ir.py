"""Passes in onnx_ir's pass managers, beside onnxscript's rewriter, with weights in memory and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from onnx_ir.passes import common
from onnxscript.rewriter import RewritePass, pattern

from examples.adapters.network import image, joins, residual, run
from passes import (
    FoldConstants,
    FoldSkips,
    GateSkips,
    InlineFunctions,
    MergeSkips,
    RemoveSkips,
    ShortenSkips,
    UserError,
)
from passes.adapters.onnx_ir import AsIrPass
from passes.base import Pass

IMAGES = [image(seed) for seed in range(4)]


@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("rewriter", [RemoveSkips(), RemoveSkips(stage=2), ShortenSkips(), GateSkips()])
def test_the_model_given_becomes_what_the_pass_makes(bits: int, rewriter: Pass) -> None:
    model = ir.from_proto(residual(bits))
    result = AsIrPass(rewriter)(model)
    assert result.model is model
    assert result.modified
    made, plain = ir.to_proto(model), rewriter.apply(residual(bits)).model
    onnx.checker.check_model(made)
    assert joins(made) == joins(plain)
    np.testing.assert_array_equal(run(made, *IMAGES), run(plain, *IMAGES))
    assert model.metadata_props == {p.key: p.value for p in plain.metadata_props}
    assert [node.name for node in model.graph] == [node.name for node in plain.graph.node]


def test_a_second_time_changes_nothing() -> None:
    model = ir.from_proto(residual())
    remove = AsIrPass(RemoveSkips())
    assert remove(model).modified
    graph = model.graph
    assert not remove(model).modified
    assert model.graph is graph


def relu_of_relu() -> RewritePass:
    """onnxscript's rewriter with the rule Relu(Relu(x)) = Relu(x)."""
    rule = pattern.RewriteRule(lambda op, x: op.Relu(op.Relu(x)), lambda op, x: op.Relu(x))
    return RewritePass(pattern.RewriteRuleSet([rule]))


def test_it_runs_in_a_pass_manager_next_to_the_rewriter() -> None:
    proto = residual()
    relu = next(node for node in proto.graph.node if node.op_type == "Relu")
    proto.graph.node.insert(
        list(proto.graph.node).index(relu) + 1, onnx.helper.make_node("Relu", relu.output, ["twice"], name="twice")
    )
    for node in proto.graph.node:
        if node.name != "twice":
            node.input[:] = ["twice" if t == relu.output[0] else t for t in node.input]
    model = ir.from_proto(proto)
    manager = ir.passes.PassManager(
        [
            relu_of_relu(),
            AsIrPass(RemoveSkips(stage=1)),
            common.RemoveUnusedNodesPass(),
            AsIrPass(RemoveSkips(stage=3)),
            common.TopologicalSortPass(),
            common.CheckerPass(),
        ],
        steps=2,
    )
    result = manager(model)
    assert result.modified
    made = ir.to_proto(result.model)
    assert joins(made) == 0
    assert sum(node.op_type == "Relu" for node in made.graph.node) == sum(
        node.op_type == "Relu" for node in residual().graph.node
    )
    expected = run(RemoveSkips().apply(residual()).model, *IMAGES)
    np.testing.assert_allclose(run(made, *IMAGES), expected, rtol=1e-5)


def test_a_manager_may_repeat_a_pass_that_must_leave_a_skip() -> None:
    short = ShortenSkips(skips=("1", "2")).apply(residual()).model
    result = ir.passes.PassManager([AsIrPass(FoldSkips())], steps=3)(ir.from_proto(short))
    assert result.modified
    assert joins(ir.to_proto(result.model)) == 1


def test_weights_go_on_as_the_same_objects() -> None:
    model = ir.from_proto(residual(blocks=((32, 1), (32, 1))))
    big = {name: v.const_value for name, v in model.graph.initializers.items() if v.const_value.size > 1024}
    assert len(big) == 4
    AsIrPass(RemoveSkips())(model)
    assert {name: model.graph.initializers[name].const_value for name in big} == big
    assert all(model.graph.initializers[name].const_value is tensor for name, tensor in big.items())


@pytest.fixture
def in_files(tmp_path: Path) -> Path:
    """A model all of whose weights lie in a file beside it."""
    onnx.save(
        residual(blocks=((32, 1), (32, 1))),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    return tmp_path / "model.onnx"


def test_rewiring_needs_no_weights_file(in_files: Path) -> None:
    model = ir.load(in_files)
    (in_files.parent / "weights.bin").rename(in_files.parent / "away.bin")
    AsIrPass(RemoveSkips())(model)
    (in_files.parent / "away.bin").rename(in_files.parent / "weights.bin")
    assert all(isinstance(v.const_value, ir.ExternalTensor) for v in model.graph.initializers.values())
    ir.save(model, in_files.parent / "out.onnx")
    session = onnxruntime.InferenceSession(in_files.parent / "out.onnx")
    plain = RemoveSkips().apply(residual(blocks=((32, 1), (32, 1)))).model
    np.testing.assert_allclose(session.run(None, {"image": IMAGES[0]})[0], run(plain, IMAGES[0]), rtol=1e-4, atol=1e-5)


def test_a_pass_that_reads_weights_reads_them_from_files(in_files: Path) -> None:
    proto = onnx.load(in_files, load_external_data=False)
    classifier = proto.graph.node[-1]
    proto.graph.node.insert(-1, onnx.helper.make_node("Neg", [classifier.input[1]], ["negated"], name="neg"))
    proto.graph.node[-1].input[1] = "negated"
    onnx.save(proto, in_files)
    model = ir.load(in_files)
    before = dict(model.graph.initializers)
    assert AsIrPass(FoldConstants())(model).modified
    np.testing.assert_array_equal(
        model.graph.initializers["negated"].const_value.numpy(), -before["classifier_w"].const_value.numpy()
    )


@pytest.mark.parametrize("rewriter", [RemoveSkips(), MergeSkips()])
def test_weights_of_subgraphs_and_constants_stay_in_their_files(rewriter: Pass, tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[N,2] x, bool flag) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}> {
            f = Relu (x) c = MatMul (f, w) d = Relu (c) e = MatMul (d, w) j = Add (e, f)
            u = Constant <value = float[2] {1, 2}> ()
            y = If (flag) <then_branch = t () => (float[N,2] a) <float[2,2] v = {5, 6, 7, 8}> { a = MatMul (j, v) },
                           else_branch = s () => (float[N,2] b) { b = Add (j, u) }>
        }""")
    branch, constant = model.graph.node[-1].attribute[0].g, model.graph.node[-2].attribute[0].t
    for tensor in (*model.graph.initializer, *branch.initializer, constant):  # onnx moves raw data alone into files
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    options = {"save_as_external_data": True, "size_threshold": 0, "convert_attribute": True}
    onnx.save(model, tmp_path / "model.onnx", location="weights.bin", **options)
    loaded = ir.load(tmp_path / "model.onnx")
    assert AsIrPass(rewriter)(loaded).modified
    nodes = {node.op_type: node.attributes for node in loaded.graph}
    weight = nodes["If"]["then_branch"].as_graph().initializers["v"].const_value
    for tensor, values in ((weight, [[5, 6], [7, 8]]), (nodes["Constant"]["value"].value, [1, 2])):
        assert isinstance(tensor, ir.ExternalTensor)
        np.testing.assert_array_equal(tensor.numpy(), values)


def test_a_refusal_leaves_the_model_as_it_was() -> None:
    model = ir.from_proto(residual(blocks=((32, 1), (32, 1))))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    with pytest.raises(UserError, match="the graph has no such skip"):
        AsIrPass(RemoveSkips(skips=("9",)))(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_functions_and_annotations_go_along() -> None:
    proto = residual()
    relu = next(node for node in proto.graph.node if node.op_type == "Relu")
    body = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    opset = onnx.helper.make_opsetid("", 17)
    proto.functions.append(onnx.helper.make_function("acme", "Act", ["x"], ["y"], body, [opset]))
    proto.opset_import.append(onnx.helper.make_opsetid("acme", 1))
    relu.op_type, relu.domain = "Act", "acme"
    annotation = proto.graph.quantization_annotation.add(tensor_name=proto.graph.input[0].name)
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="classifier_w")
    proto.graph.node[0].metadata_props.add(key="who", value="acme")
    model = ir.from_proto(proto)
    AsIrPass(RemoveSkips())(model)
    made = ir.to_proto(model)
    assert [function.name for function in made.functions] == ["Act"]
    assert [a.tensor_name for a in made.graph.quantization_annotation] == [proto.graph.input[0].name]
    assert made.graph.node[0].metadata_props[0].value == "acme"
    AsIrPass(InlineFunctions())(model)
    assert not model.functions
