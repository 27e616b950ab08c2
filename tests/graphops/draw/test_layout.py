"""What of a graph is drawn, and where it goes."""

from __future__ import annotations

import onnx
import pytest

from graphops.draw import around_skip, between, block_of, paint, whole
from graphops.draw.layout import arrange
from graphops.draw.paint import _COLOURS
from graphops.models import build
from passes import GateSkips, RemoveSkips, ShortenSkips, UserError


@pytest.fixture(scope="module")
def resnet() -> onnx.ModelProto:
    return build("resnet8", width=4, image=(1, 8, 8), shortcut="B")


def operators(nodes: tuple[onnx.NodeProto, ...]) -> list[str]:
    return [node.op_type for node in nodes]


BLOCK = ["Conv", "BatchNormalization", "Relu", "Conv", "BatchNormalization"]


def test_a_block_is_its_main_path_and_an_arc(resnet: onnx.ModelProto) -> None:
    layout = arrange(around_skip(resnet, block_of(resnet, "1")))
    assert operators(layout.main) == [*BLOCK, "Add", "Relu"]
    (arc,) = layout.bypasses
    assert (arc.nodes, arc.sources, arc.targets, arc.lane) == ((), (-1,), (5,), 1)


def test_what_lies_on_a_skip_path_is_beside_the_main_path(resnet: onnx.ModelProto) -> None:
    gated = GateSkips().apply(resnet).model
    (projection,) = arrange(around_skip(gated, block_of(gated, "2"))).bypasses
    assert operators(projection.nodes) == ["Conv", "BatchNormalization", "Mul"]
    assert (projection.sources, projection.targets) == ((-1,), (5,))


def test_the_same_block_is_found_after_passes(resnet: onnx.ModelProto) -> None:
    block = block_of(resnet, "1")
    removed = arrange(around_skip(RemoveSkips().apply(resnet).model, block))
    assert (operators(removed.main), removed.bypasses) == ([*BLOCK, "Relu"], ())
    (short,) = arrange(around_skip(ShortenSkips().apply(resnet).model, block)).bypasses
    assert (short.sources, short.targets) == ((2,), (5,))


def test_a_block_whose_join_nothing_follows_is_found_by_its_reader() -> None:
    """A linear bottleneck: the next block's convolution reads the join."""
    from onnx import TensorProto, helper

    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 2, 4, 4] x, float[2, 2, 1, 1] w) => (float[1, 2, 4, 4] z)
        {
            a = Conv(x, w)
            y = Add(a, x)
            z = Conv(y, w)
        }
    """)
    for node, name in zip(model.graph.node, ("first", "join", "second"), strict=True):
        node.name = name
    del model.graph.input[1]
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [2, 2, 1, 1], [1.0] * 4))
    block = block_of(model, "1")
    removed = RemoveSkips().apply(model).model
    assert [node.name for node in around_skip(removed, block).nodes] == ["first"]


def test_the_whole_graph(resnet: onnx.ModelProto) -> None:
    layout = arrange(whole(resnet))
    assert operators(layout.main)[-3:] == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert [bypass.lane for bypass in layout.bypasses] == [1, 1, 1], "blocks one after another share a lane"


def test_ways_that_overlap_have_lanes_of_their_own() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 2] x) => (float[1, 2] z)
        {
            a = Relu(x)
            b = Relu(a)
            c = Add(b, a)
            d = Relu(c)
            z = Add(d, x)
        }
    """)
    layout = arrange(whole(model))
    assert operators(layout.main) == ["Relu", "Relu", "Add", "Relu", "Add"]
    assert {(way.sources, way.targets, way.lane) for way in layout.bypasses} == {((0,), (2,), 1), ((-1,), (4,), 2)}


def test_inputs_and_outputs_that_are_left_out_are_not_joined() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 2] x) => (float[1, 2] y) <float most = {1.0}>
        {
            c = Clip(x, most, most)
            a, mask = Dropout(x)
            b = Relu(a)
            y = Add(b, c)
        }
    """)
    model.graph.node[0].input[1] = model.graph.node[1].output[1] = ""
    layout = arrange(whole(model))
    assert operators(layout.main) == ["Dropout", "Relu", "Add"]
    (way,) = layout.bypasses
    assert (operators(way.nodes), way.sources, way.targets) == (["Clip"], (-1,), (2,))


def test_between_two_tensors(resnet: onnx.ModelProto) -> None:
    relu = next(node for node in resnet.graph.node if node.op_type == "Relu")
    region = between(resnet, "input", relu.output[0])
    assert operators(region.nodes) == ["Conv", "BatchNormalization", "Relu"]
    with pytest.raises(UserError, match="No path leads from"):
        between(resnet, relu.output[0], "input")


@pytest.mark.parametrize("made", ["", "c = Constant <value = float {2.0}> ()", "c = Identity (w)"])
def test_an_added_constant_is_drawn_as_no_join(made: str) -> None:
    """Whether it is an initialiser, a Constant node or computed."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) <float w = {{1.0}}>
        {{ {made} a = Relu (x) y = Add (a, {"c" if made else "w"}) }}"""
    picture = paint([whole(onnx.parser.parse_model(text))], ["net"], "svg")
    assert _COLOURS["other"].encode() in picture
    assert _COLOURS["join"].encode() not in picture
