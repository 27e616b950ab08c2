"""The editor: what a pass does not touch stays as it is, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from passes import FoldConstants, GateSkips, InlineFunctions, ModelError, Pass, RemoveSkips, ShortenSkips, find_skips
from passes.graph import Editor
from passes.skips import METADATA
from tests.passes.net import feeds, run
from tests.passes.networks import CORPUS, FLOAT, Net, cifar_resnet
from tests.passes.proof import applied

SHAPE = ["N", 4, 8, 8]


def value(name: str, kind: int = FLOAT, shape: list[int | str] | None = None) -> onnx.ValueInfoProto:
    info = helper.make_tensor_value_info(name, kind, SHAPE if shape is None else shape, f"what {name} is")
    info.metadata_props.add(key="of", value=name)
    return info


def floats(name: str, *shape: int) -> onnx.TensorProto:
    proto = numpy_helper.from_array(np.full(shape, 0.1, np.float32), name)
    proto.doc_string = f"what {name} is"
    proto.metadata_props.add(key="of", value=name)
    return proto


def node(op: str, inputs: list[str], outputs: list[str], **more: object) -> onnx.NodeProto:
    proto = helper.make_node(op, inputs, outputs, doc_string=f"makes {outputs[0]}", **more)  # type: ignore[arg-type]
    proto.metadata_props.add(key="makes", value=outputs[0])
    return proto


def odd_weights() -> list[onnx.TensorProto]:
    """One of each type that numpy or older tools stumble over; nothing reads them."""
    packed = [
        helper.make_tensor(f"odd.{name}", TensorProto.DataType.Value(name), [4], b"\x01" * size, raw=True)
        for name, size in [
            ("BFLOAT16", 8), ("INT4", 2), ("UINT4", 2), ("FLOAT8E4M3FN", 4), ("FLOAT8E5M2FNUZ", 4), ("FLOAT4E2M1", 2),
            ("COMPLEX64", 32), ("BOOL", 4),
        ]
        if hasattr(TensorProto, name)  # onnx 1.17 does not know the newest
    ]  # fmt: skip
    return [helper.make_tensor("odd.STRING", TensorProto.STRING, [2], [b"text", b"\xff\xfe"]), *packed]


def everything() -> onnx.ModelProto:
    """A residual block in a model that carries all that ONNX can say, weights in a file that is not there."""
    external = onnx.TensorProto(name="w1", data_type=FLOAT, dims=[4, 4, 3, 3], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", "weights.bin"), ("offset", "4096"), ("length", "576")):
        external.external_data.add(key=key, value=text)
    branch = [
        helper.make_graph([node(op, ["j"], [f"inner.{op}"])], op, [], [value(f"inner.{op}")]) for op in ("Neg", "Abs")
    ]
    nodes = [
        node("Constant", [], ["c"], name="constant", value=floats("", 1)),
        node("Strange", ["image", ""], ["s", ""], name="strange", domain="somebody", text=b"\xff\xfe", number=3),
        node("Conv", ["image", "w1"], ["a"], name="conv1", pads=[1] * 4),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["image", "wp"], ["p"], name="projection"),
        node("Conv", ["r", "w2"], ["b"], name="conv2", pads=[1] * 4),
        node("Add", ["p", "b"], ["j"], name="join"),
        node("If", ["flag"], ["i"], name="if", then_branch=branch[0], else_branch=branch[1]),
        node("Sum", ["j", "i", "s", "c"], ["sum"], name="sum"),
        node("double", ["sum"], ["y"], name="call", domain="local"),
    ]
    graph = helper.make_graph(
        nodes,
        "everything",
        [value("image"), value("flag", TensorProto.BOOL, [])],
        [value("y")],
        [floats("before", 3), external, floats("w2", 4, 4, 3, 3), floats("wp", 4, 4, 1, 1), floats("wp.scale", 1),
         floats("b.scale", 1), floats("shared.scale", 1), *odd_weights()],
        doc_string="a graph",
        value_info=[*(value(n) for n in "srapbji"), value("nobody"), value("w2", shape=[4, 4, 3, 3])],
    )  # fmt: skip
    sparse = onnx.SparseTensorProto(dims=[4], values=floats("sparse", 1))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([2]), "indices"))
    graph.sparse_initializer.append(sparse)
    graph.metadata_props.add(key="of", value="graph")
    for tensor, parameters in (("wp", ["wp.scale", "shared.scale"]), ("b", ["b.scale"]), ("r", ["shared.scale"])):
        annotation = graph.quantization_annotation.add(tensor_name=tensor)
        for parameter in parameters:
            annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=parameter)
    body = [helper.make_node("Add", ["x", "x"], ["z"], name="body")]
    double, unused = (
        helper.make_function("local", n, ["x"], ["z"], body, [helper.make_opsetid("", 21)])
        for n in ("double", "unused")
    )
    double.metadata_props.add(key="of", value="function")
    model = helper.make_model(
        graph,
        functions=[double, unused],
        opset_imports=[helper.make_opsetid(d, v) for d, v in (("", 21), ("somebody", 7), ("local", 1), ("nobody", 2))],
        ir_version=11,
        producer_name="producer",
        producer_version="1.2",
        domain="some.domain",
        model_version=5,
        doc_string="a model",
    )
    model.metadata_props.add(key="of", value="model")
    training = model.training_info.add()
    training.algorithm.node.append(helper.make_node("Identity", ["w2"], ["w2.new"]))
    training.update_binding.add(key="w2", value="w2.new")
    return model


def edited(change: Callable[[onnx.GraphProto], None]) -> onnx.ModelProto:
    model = everything()
    change(model.graph)
    return model


def drop(graph: onnx.GraphProto, field: str, *names: str) -> None:
    items = getattr(graph, field)
    kept = [i for i in items if (i.tensor_name if field == "quantization_annotation" else i.name) not in names]
    assert len(kept) == len(items) - len(names)
    del items[:]
    items.extend(kept)


def by_name(graph: onnx.GraphProto, name: str) -> onnx.NodeProto:
    return next(n for n in graph.node if n.name == name)


def without_record(model: onnx.ModelProto) -> onnx.ModelProto:
    record = model.metadata_props.pop()
    assert record.key == METADATA
    return model


def test_remove_touches_the_join_and_what_only_the_skip_path_used() -> None:
    """A subgraph reads the join, so that the main path's last node makes it now; the scale that another annotation
    names stays, the one that went with its tensor goes."""

    def change(graph: onnx.GraphProto) -> None:
        drop(graph, "node", "projection", "join")
        by_name(graph, "conv2").output[0] = "j"
        drop(graph, "initializer", "wp", "wp.scale", "b.scale")
        drop(graph, "value_info", "p", "b")
        drop(graph, "quantization_annotation", "wp", "b")

    assert without_record(RemoveSkips().apply(everything()).model) == edited(change)


def test_gate_adds_one_product_and_one_weight() -> None:
    def change(graph: onnx.GraphProto) -> None:
        gated = helper.make_node("Mul", ["p", "j_gate"], ["j_gated_out"], name="j_gated")
        graph.node.insert(6, gated)
        by_name(graph, "join").input[0] = "j_gated_out"
        graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "j_gate"))

    assert without_record(GateSkips().apply(everything()).model) == edited(change)


def test_shorten_moves_the_start_of_the_skip() -> None:
    def change(graph: onnx.GraphProto) -> None:
        drop(graph, "node", "projection")
        by_name(graph, "join").input[0] = "r"
        drop(graph, "initializer", "wp", "wp.scale")
        drop(graph, "value_info", "p")
        drop(graph, "quantization_annotation", "wp")

    assert without_record(ShortenSkips().apply(everything()).model) == edited(change)


def test_weights_of_the_training_information_stay() -> None:
    model = everything()
    model.training_info[0].update_binding.add(key="wp", value="w2.new")
    rest = RemoveSkips().apply(model).model
    assert {"wp", "wp.scale"} <= {i.name for i in rest.graph.initializer}
    assert rest.training_info == model.training_info


def test_what_needs_no_change_is_equal_to_the_byte() -> None:
    model = everything()
    del model.graph.initializer[1:2]  # fold-constants would say that it cannot read this
    model.graph.initializer.append(floats("w1", 4, 4, 3, 3))
    result = FoldConstants().apply(model)
    assert not result.changed
    assert result.model.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def test_names_may_be_anything() -> None:
    """Renaming every tensor and node and running a pass commute."""

    def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
        text = model.SerializeToString()
        result = onnx.ModelProto.FromString(text)
        names: dict[str, str] = {"": ""}

        def new(name: str) -> str:
            return names.setdefault(name, f"{len(names)}/ü {name[::-1]}")

        def rename(graph: onnx.GraphProto) -> None:
            for each in graph.node:
                each.name = new(each.name)
                each.input[:], each.output[:] = [new(n) for n in each.input], [new(n) for n in each.output]
                for attribute in each.attribute:
                    rename(attribute.g)
            for named in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
                named.name = new(named.name)
            for sparse in graph.sparse_initializer:
                sparse.values.name = new(sparse.values.name)
            for annotation in graph.quantization_annotation:
                annotation.tensor_name = new(annotation.tensor_name)
                for parameter in annotation.quant_parameter_tensor_names:
                    parameter.value = new(parameter.value)

        rename(result.graph)
        del result.metadata_props[:], result.training_info[:]
        return result

    for model in (everything(), *(build() for build, _ in CORPUS.values())):
        for rewriter in (RemoveSkips(stage=1), RemoveSkips()):
            one = renamed(rewriter.apply(model).model)
            other = rewriter.apply(renamed(model)).model
            assert [n.op_type for n in one.graph.node] == [n.op_type for n in other.graph.node]
            order = {
                n: i for i, n in enumerate(dict.fromkeys(t for n in one.graph.node for t in [*n.input, *n.output]))
            }
            same = {
                n: i for i, n in enumerate(dict.fromkeys(t for n in other.graph.node for t in [*n.input, *n.output]))
            }
            for a, b in zip(one.graph.node, other.graph.node, strict=True):
                assert [order[t] for t in [*a.input, *a.output]] == [same[t] for t in [*b.input, *b.output]]
            assert len(one.graph.initializer) == len(other.graph.initializer)


# -- weights elsewhere, old files, order --------------------------------------------------------------------------


@pytest.mark.parametrize("rewriter", [RemoveSkips(), ShortenSkips(keep="each"), GateSkips()], ids=lambda p: p.name)
def test_external_data_are_never_read(rewriter: Pass, tmp_path: Path) -> None:
    """The data file is deleted before the pass and brought back before the result runs."""
    model = cifar_resnet(2)
    inside = rewriter.apply(model).model
    onnx.save_model(model, tmp_path / "model.onnx", save_as_external_data=True, location="data.bin", size_threshold=0)
    (tmp_path / "data.bin").rename(tmp_path / "away")
    light = onnx.load_model(tmp_path / "model.onnx", load_external_data=False)
    find_skips(light)
    result = rewriter.apply(light).model
    kept = {i.name for i in light.graph.initializer} & {i.name for i in result.graph.initializer}
    assert all(i.data_location == TensorProto.EXTERNAL for i in result.graph.initializer if i.name in kept)
    (tmp_path / "away").rename(tmp_path / "data.bin")
    (tmp_path / "result.onnx").write_bytes(result.SerializeToString())
    loaded = onnx.load_model(tmp_path / "result.onnx")
    for a, b in zip(run(loaded, feeds(loaded)), run(inside, feeds(inside)), strict=True):
        assert np.array_equal(a, b)


def test_old_files_list_new_weights_among_the_inputs() -> None:
    """Before version 4 of the file format every initialiser is an input as well."""
    model = cifar_resnet(1, "B")
    model.ir_version, model.opset_import[0].version = 3, 9
    weights = model.graph.initializer
    model.graph.input.extend(helper.make_tensor_value_info(i.name, i.data_type, list(i.dims)) for i in weights)
    gated = applied(GateSkips(), model).model
    listed = [i.name for i in gated.graph.input]
    assert listed == ["image", *(i.name for i in gated.graph.initializer)]
    assert listed[-3:] == [f"s{i}b0.join.out_gate" for i in range(3)]
    assert applied(RemoveSkips(), gated).model.graph == RemoveSkips().apply(model).model.graph


def test_nodes_move_no_more_than_they_must() -> None:
    """The short skip's source is made late; only what reads the new join moves behind it."""
    net = Net()
    x = net.image(4)
    a = net.relu(net.conv(x, "a", 4), "r")
    b = net.conv(a, "b", 4)
    model = net.model(net.relu(net.op("Add", [b, x], "join"), "end"), net.op("Neg", [x], "side"))
    order = [n.name for n in model.graph.node]
    assert [n.name for n in ShortenSkips().apply(model).model.graph.node] == order


def test_a_graph_out_of_order_is_put_in_order_around_its_subgraphs_too() -> None:
    """The If stands before what its branches read."""
    model = everything()
    graph = model.graph
    moved = by_name(graph, "if")
    graph.node.remove(moved)
    graph.node.insert(0, moved)
    names = [n.name for n in RemoveSkips().apply(model).model.graph.node]
    assert names.index("if") > names.index("conv2")


def test_new_names_are_nobody_elses() -> None:
    """Not a node's, a tensor's, an input's, an inner one's, nor one that a value_info alone has."""
    model = everything()
    graph = model.graph
    graph.node[0].name = "j_gated"
    graph.value_info.append(value("j_gate"))
    inner = by_name(graph, "if").attribute[0].g
    inner.node.append(node("Neg", [inner.output[0].name], ["j_gated_out"], name="j_gated_2"))
    gated = GateSkips().apply(model).model.graph
    mul = next(n for n in gated.node if n.op_type == "Mul")
    assert (mul.name, list(mul.input), list(mul.output)) == ("j_gated_3", ["p", "j_gate_2"], ["j_gated_out_2"])


# -- single edits -------------------------------------------------------------------------------------------------


def chain(*ops: str) -> onnx.ModelProto:
    net = Net()
    x = net.image(4)
    for i, op in enumerate(ops):
        x = net.op(op, [x], f"{op}{i}")
    return net.model(x)


def finish(editor: Editor) -> list[tuple[str, list[str], list[str]]]:
    model, changed = editor.finish()
    assert changed
    onnx.checker.check_model(model, full_check=True)
    return [(n.name, list(n.input), list(n.output)) for n in model.graph.node]


def test_new_nodes_stand_beside_their_anchors_however_many() -> None:
    editor = Editor(chain("Relu"))
    (relu,) = editor.nodes
    tensor = relu.outputs[0]
    for _ in range(2000):
        tensor = editor.splice(tensor, "Neg", [], "neg")
    model, _ = editor.finish()
    assert [n.op_type for n in model.graph.node] == ["Relu"] + ["Neg"] * 2000
    assert model.graph.node[-1].output[0] == "Relu0.out"
    onnx.checker.check_model(model)


def test_before_and_after() -> None:
    editor = Editor(chain("Relu", "Abs"))
    relu, absolute = editor.nodes
    before = editor.add_node("Neg", [relu.outputs[0]], "first", before=absolute)
    editor.set_input(absolute, 0, editor.add_node("Exp", [before], "second", before=absolute))
    assert [name for name, _, _ in finish(editor)] == ["Relu0", "first", "second", "Abs1"]


def test_an_attribute_that_was_set_is_what_constants_are_computed_with() -> None:
    net = Net()
    turned = net.op("Transpose", [net.weight([2, 3], "w")], "turned", perm=[0, 1])
    editor = Editor(net.model(net.op("MatMul", [net.input("x", ["N", 2]), turned], "mul")))
    editor.set_attribute(editor.nodes[0], "perm", [1, 0])
    assert editor.value(editor.tensor(turned)).shape == (3, 2)


def test_constants_known_already_end_the_search_whatever_the_order() -> None:
    """The nodes stand the wrong way round, and what the first needs is not computed again."""
    net = Net()
    halved = net.op("Neg", [net.op("Exp", [net.weight([2], "w")], "exp")], "neg")
    model = net.model(net.op("Add", [net.input("x", [2]), net.op("Abs", [halved], "abs")], "sum"))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[2], nodes[1], nodes[0], nodes[3]])
    known = {"exp.out": np.array([1, 2], np.float32)}
    editor = Editor(model)
    np.testing.assert_array_equal(editor.value(editor.tensor("abs.out"), known), [1, 2])


def test_a_weight_that_is_set_keeps_what_is_said_of_it() -> None:
    model = everything()
    del model.training_info[:]
    editor = Editor(model)
    conv2 = next(n for n in editor.nodes if n.name == "conv2")
    editor.set_weight(conv2, 1, np.zeros([8, 4, 3, 3], np.float32), "new")
    result = editor.finish()[0].graph
    weight = next(i for i in result.initializer if i.name == "w2")
    assert (list(weight.dims), weight.doc_string, weight.metadata_props[0].value) == ([8, 4, 3, 3], "what w2 is", "w2")
    assert "w2" not in {v.name for v in result.value_info}


def test_constants_in_other_files_are_not_read() -> None:
    model = chain("Relu")
    secret = onnx.TensorProto(name="secret", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    secret.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], name="c", value=secret))
    editor = Editor(model)
    with pytest.raises(ModelError, match="'secret' lies in an external file"):
        editor.value(editor.tensor("c"))


def test_chance_is_no_constant() -> None:
    net = Net()
    noise = net.op("RandomNormal", [], "noise", shape=[4, 1, 1])
    editor = Editor(net.model(net.op("Add", [net.image(4), noise], "sum")))
    with pytest.raises(ModelError, match="RandomNormal 'noise' is in its way"):
        editor.value(editor.tensor(noise))


# -- graphs that are none -----------------------------------------------------------------------------------------


def broken(change: Callable[[onnx.GraphProto], object]) -> str:
    model = cifar_resnet(1)
    change(model.graph)
    for attempt in (find_skips, RemoveSkips().apply, ShortenSkips().apply, GateSkips().apply, FoldConstants().apply):
        with pytest.raises(ModelError) as raised:
            attempt(model)
    return str(raised.value)


def test_a_cycle() -> None:
    def close(graph: onnx.GraphProto) -> None:
        graph.node[0].input[0] = graph.node[5].output[0]

    assert broken(close) in {
        f"The graph has a cycle through {op} {name!r}; an ONNX graph must be acyclic."
        for op, name in [(n.op_type, n.name) for n in cifar_resnet(1).graph.node[:6]]
    }


def test_a_node_that_reads_itself() -> None:
    def close(graph: onnx.GraphProto) -> None:
        graph.node[2].input[0] = graph.node[2].output[0]

    assert broken(close) == "The graph has a cycle through Relu 'stem.relu'; an ONNX graph must be acyclic."


@pytest.mark.parametrize("name", ["image", "stem.out", "stem.w"])
def test_a_tensor_made_twice(name: str) -> None:
    def repeat(graph: onnx.GraphProto) -> None:
        graph.node[3].output[0] = name

    assert broken(repeat) == f"The tensor {name!r} is made twice; give each tensor one producer, as ONNX demands."


def test_a_tensor_that_nothing_makes() -> None:
    def cut(graph: onnx.GraphProto) -> None:
        graph.node[1].input[0] = "nobody"

    assert broken(cut) == ("BatchNormalization 'stem.bn' reads 'nobody', which nothing makes; export the model again.")


def test_an_output_that_nothing_makes() -> None:
    def cut(graph: onnx.GraphProto) -> None:
        graph.output[0].name = "nobody"

    assert broken(cut) == "Nothing makes the graph output 'nobody'; export the model again."


@pytest.mark.parametrize(("field", "kind"), [("input", "input 1"), ("output", "output 0")])
def test_a_node_that_lacks_something(field: str, kind: str) -> None:
    def cut(graph: onnx.GraphProto) -> None:
        getattr(graph.node[0], field).pop()

    assert broken(cut) == f"Conv 'stem' lacks its {kind}; export the model again, as ONNX demands it."


def test_an_empty_graph() -> None:
    for rewriter in (RemoveSkips(), ShortenSkips(), GateSkips()):
        with pytest.raises(Exception, match="it has no skip connection"):
            rewriter.apply(onnx.ModelProto())
    assert find_skips(onnx.ModelProto()) == []
    assert not InlineFunctions().apply(onnx.ModelProto()).changed
