"""What changed between two models, in each of the ways they can differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops import external
from graphops.diff import Change, Diff, diff, with_outputs
from graphops.modelfile import load_model
from passes import RemoveSkips
from passes.errors import UserError
from tests.passes.net import Net

Edit = Callable[[onnx.ModelProto], None]


def network() -> onnx.ModelProto:
    """Two linear layers with a skip over each, the nodes named after what they are."""
    net = Net()
    x = net.input(["N", 8])
    weight = net.constant(np.arange(64.0).reshape(8, 8) / 64, "w")
    a = net.op("MatMul", [x, weight], "first")
    b = net.op("Add", [a, x], "inner")
    c = net.op("LeakyRelu", [b], "bend", alpha=0.1)
    d = net.op("MatMul", [c, weight], "second")
    net.output(net.op("Add", [d, c], "outer"))
    return net.model()


def changed(edit: Edit) -> Diff:
    """What differs between the network and the network after ``edit``."""
    after = network()
    edit(after)
    return diff(network(), after, Path(), Path())


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def test_a_model_does_not_differ_from_itself() -> None:
    assert changed(lambda model: None).is_empty


def test_a_removed_skip_is_a_removed_node_and_a_rewired_one() -> None:
    found = diff(network(), RemoveSkips(skips=("1",)).apply(network()).model, Path(), Path())
    assert found.nodes_removed == ("Add 'inner'",)
    assert found.nodes_added == ()
    assert [(c.node, c.changes) for c in found.rewired] == [("bend", (Change("input 0", "inner.out", "first.out"),))]
    assert found.tensors_removed == ("inner.out",)
    assert [change.name for change in found.model] == ["metadata graphops.skips"]
    assert not found.weights


def test_an_added_node() -> None:
    def end_with_relu(model: onnx.ModelProto) -> None:
        model.graph.node.add(op_type="Relu", name="end", input=["outer.out"], output=["y"])
        model.graph.output[0].name = "y"

    found = changed(end_with_relu)
    assert found.nodes_added == ("Relu 'end'",)
    assert found.tensors_added == ("y",)
    assert [(c.name, c.after) for c in found.model] == [("output outer.out", None), ("output y", "float[N, 8]")]


def test_another_operator_under_the_same_name_is_another_node() -> None:
    def tanh(model: onnx.ModelProto) -> None:
        node(model, "bend").op_type = "Tanh"
        del node(model, "bend").attribute[:]

    found = changed(tanh)
    assert (found.nodes_removed, found.nodes_added) == (("LeakyRelu 'bend'",), ("Tanh 'bend'",))


def test_attributes_before_and_after() -> None:
    found = changed(lambda model: setattr(node(model, "bend").attribute[0], "f", 0.5))
    (change,) = found.attributes
    assert (change.node, change.op) == ("bend", "LeakyRelu")
    assert [(c.name, c.before, c.after) for c in change.changes] == [("alpha", "0.1", "0.5")]


def test_renamed_tensors_and_weights_rewire_nobody() -> None:
    def rename(model: onnx.ModelProto) -> None:
        for each in model.graph.node:
            for names in (each.input, each.output):
                for slot, name in enumerate(names):
                    names[slot] = {"first.out": "t", "w": "v"}.get(name, name)
        model.graph.initializer[0].name = "v"

    found = changed(rename)
    assert found.rewired == found.weights == found.tensors_added == found.tensors_removed == ()
    assert [(c.name, c.after) for c in found.tensors] == [("first.out", "t, float[N, 8]")]


def test_two_weights_that_became_one_are_no_renaming() -> None:
    base, after = with_two_weights(), with_two_weights()
    for name in ("first", "second"):
        node(after, name).input[1] = "v"
    after.graph.initializer[0].name = "v"
    del after.graph.initializer[1]
    found = diff(base, after, Path(), Path())
    assert [(c.node, c.changes) for c in found.rewired] == [("second", (Change("input 1", "w2", "v"),))]
    assert found.weights_removed == (Change("w2", "float[8, 8]", None),)
    back = diff(after, base, Path(), Path())
    assert (back.weights_added, back.weights_removed) == ((Change("w2", None, "float[8, 8]"),), ())


def with_two_weights() -> onnx.ModelProto:
    """The network whose second layer has a weight of its own, with the same values."""
    model = network()
    model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]), "w2"))
    node(model, "second").input[1] = "w2"
    return model


def test_inputs_that_only_one_of_two_nodes_has_are_rewired() -> None:
    found = changed(lambda model: node(model, "bend").input.append("w"))
    assert [(c.node, c.changes) for c in found.rewired] == [("bend", (Change("input 1", None, "w"),))]


def test_nodes_without_names_are_known_by_what_they_make() -> None:
    def anonymous(model: onnx.ModelProto) -> None:
        for each in model.graph.node:
            each.name = ""

    assert changed(anonymous).is_empty


def test_weights_of_other_values_with_their_largest_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphops.weights._PIECE", 64)  # of which the difference is in neither the first nor the last

    def shift(model: onnx.ModelProto) -> None:
        value = numpy_helper.to_array(model.graph.initializer[0]).copy()
        value[3, 4] += 0.25
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(value, "w"))

    (found,) = changed(shift).weights
    assert (found.name, found.before, found.after, found.largest) == ("w", "float[8, 8]", "float[8, 8]", 0.25)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_have_no_difference(value: float) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((8, 8), value, np.float32), "w"))

    (found,) = changed(spoil).weights
    assert found.largest is None
    spoiled = network()
    spoil(spoiled)
    assert diff(spoiled, spoiled, Path(), Path()).is_empty


def test_weights_of_another_type() -> None:
    def halve(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((8, 8), np.float16), "w"))

    (found,) = changed(halve).weights
    assert (found.before, found.after, found.largest) == ("float[8, 8]", "float16[8, 8]", None)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.BFLOAT16, TensorProto.BOOL, TensorProto.COMPLEX64])
def test_weights_of_any_type_are_compared(kind: int) -> None:
    models = [network(), network()]
    for model, value in zip(models, (1, 0), strict=True):
        model.graph.initializer.append(helper.make_tensor("more", kind, [3], [1, 1, value]))
    (found,) = diff(*models, Path(), Path()).weights
    assert found.largest == 1


@pytest.mark.parametrize("values", [["a", "b"], ["a", "c"]])
def test_weights_of_text_are_compared(values: list[str]) -> None:
    models = [network(), network()]
    for model, texts in zip(models, (["a", "b"], values), strict=True):
        model.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [2], texts))
    found = diff(*models, Path(), Path()).weights
    assert [(change.name, change.largest) for change in found] == [("text", None)] * (values[1] == "c")


def test_sparse_weights_are_compared() -> None:
    models = [network(), network()]
    for model, value, place in zip(models, (1.0, 3.0), (5, 6), strict=True):
        values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [value])
        indices = helper.make_tensor("places", TensorProto.INT64, [1], [place])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8]))
    found = diff(*models, Path(), Path()).weights
    assert [(change.name, change.largest) for change in found] == [("sparse", 2), ("sparse (indices)", 1)]


def test_what_a_model_says_besides_its_nodes() -> None:
    def saying(value: str) -> onnx.ModelProto:
        model = network()
        model.metadata_props.add(key="key", value=value)
        annotation = model.graph.quantization_annotation.add(tensor_name="first.out")
        annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=value)
        body = [helper.make_node(value, ["i"], ["o"])]
        model.functions.append(helper.make_function("acme", "F", ["i"], ["o"], body, [helper.make_opsetid("", 17)]))
        return model

    assert diff(saying("Relu"), saying("Relu"), Path(), Path()).is_empty
    *others, function = diff(saying("Relu"), saying("Tanh"), Path(), Path()).model
    assert others == [
        Change("metadata key", "Relu", "Tanh"),
        Change("quantization of first.out", "SCALE_TENSOR=Relu", "SCALE_TENSOR=Tanh"),
    ]
    assert function.name == "function acme.F"


def test_versions_operator_sets_and_inputs() -> None:
    def renew(model: onnx.ModelProto) -> None:
        model.ir_version += 1
        model.opset_import[0].version += 1
        model.opset_import.append(helper.make_opsetid("example.org", 1))
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2

    base = network()
    assert changed(renew).model == (
        Change("IR version", str(base.ir_version), str(base.ir_version + 1)),
        Change("opset ai.onnx", "17", "18"),
        Change("input x", "float[N, 8]", "float[2, 8]"),
        Change("opset example.org", None, "1"),
    )
    assert changed(renew).tensors[0] == Change("first.out", "float[N, 8]", "float[2, 8]")


def test_inputs_and_outputs_in_another_order() -> None:
    def two(*places: int) -> onnx.ModelProto:
        model = network()
        model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 8]))
        model.graph.node.add(op_type="Identity", input=["x"], output=["z"])
        outputs = list(model.graph.output)
        del model.graph.output[:]
        model.graph.output.extend(outputs[place] for place in places)
        return model

    first = network().graph.output[0].name
    found = diff(two(0, 1), two(1, 0), Path(), Path())
    assert found.model == (Change("order of outputs", f"{first}, z", f"z, {first}"),)
    assert [change.name for change in diff(two(0, 1), two(1), Path(), Path()).model] == [f"output {first}"]


# -- weights in other files --------------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The network with its weight in a data file."""
    monkeypatch.setattr(external, "SMALL", 16)
    light = external.split(network(), tmp_path / "a.onnx", force=False)
    onnx.save_model(light, tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


def test_the_same_place_of_one_file_is_not_read(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    light = load_model(beside, weights=False)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    assert diff(light, light, beside.parent, beside.parent).is_empty
    with pytest.raises(AssertionError, match="a file was opened"):
        diff(light, network(), beside.parent, Path())


def test_weights_in_files_are_compared_with_weights_in_memory(beside: Path) -> None:
    light = load_model(beside, weights=False)
    assert diff(light, network(), beside.parent, Path()).is_empty
    data = external.data_file(beside)
    content = np.frombuffer(data.read_bytes(), np.float32).copy()
    content[5] += 2
    data.write_bytes(content.tobytes())
    (found,) = diff(light, network(), beside.parent, Path()).weights
    assert found.largest == 2


def test_weights_beside_each_other_in_one_file_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "SMALL", 16)
    base = with_two_weights()
    base.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.zeros((8, 8), np.float32), "w2"))
    light = external.split(base, tmp_path / "a.onnx", force=False)
    assert diff(light, base, tmp_path, Path()).is_empty
    swapped = onnx.ModelProto()
    swapped.CopyFrom(light)
    for tensor, other in zip(swapped.graph.initializer, ("w2", "w"), strict=True):
        tensor.name = other
    found = diff(light, swapped, tmp_path, tmp_path).weights
    assert {change.name: change.largest for change in found} == {"w": 63 / 64, "w2": 63 / 64}


# -- outputs -----------------------------------------------------------------------------------------------------


def test_outputs_on_random_and_on_given_inputs(beside: Path) -> None:
    light, without = load_model(beside, weights=False), RemoveSkips().apply(network()).model
    found = with_outputs(Diff(), light, without, (beside.parent, Path()), None)
    assert found.outputs is not None
    assert found.outputs.largest > 0
    zeros = {"x": np.zeros((1, 8), np.float32)}
    found = with_outputs(Diff(), light, without, (beside.parent, Path()), zeros)
    assert found.outputs is not None
    assert found.outputs.largest == 0


def test_why_outputs_are_not_compared() -> None:
    strange = network()
    node(strange, "bend").op_type, node(strange, "bend").domain = "Mystery", "example.org"
    strange.opset_import.append(helper.make_opsetid("example.org", 1))
    found = with_outputs(Diff(), network(), strange, (Path(), Path()), None)
    assert found.outputs is None
    assert "Mystery" in (found.not_run or "")
    with pytest.raises(UserError, match="Mystery"):
        with_outputs(Diff(), network(), strange, (Path(), Path()), {"x": np.zeros((1, 8), np.float32)})
