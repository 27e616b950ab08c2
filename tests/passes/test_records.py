"""Skips keep their numbers from pass to pass, whatever other tools do to names in between."""

from __future__ import annotations

import json
from collections.abc import Callable

import onnx
import pytest

from examples.adapters.network import joins, residual
from passes import GateSkips, RemoveSkips, ShortenSkips, find_skips
from passes.skips import METADATA


def renamed(model: onnx.ModelProto, name: Callable[[str], str]) -> onnx.ModelProto:
    """A copy of ``model`` whose inner tensors are called ``name`` of what they were."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    fixed = {value.name for value in [*graph.input, *graph.output]} | {""}
    new = {t: t if t in fixed else name(t) for node in graph.node for t in [*node.input, *node.output]}
    for node in graph.node:
        node.input[:], node.output[:] = [new[t] for t in node.input], [new[t] for t in node.output]
    for item in [*graph.initializer, *graph.value_info]:
        item.name = new.get(item.name, item.name)
    return result


def counted(model: onnx.ModelProto) -> Callable[[str], str]:
    """As exporters and tidy-ups name: by operator and count, so that a join gets the name of one that is out."""
    counts: dict[str, int] = {}
    names = {}
    for node in model.graph.node:
        for tensor in node.output:
            counts[node.op_type] = counts.get(node.op_type, -1) + 1
            names[tensor] = f"{node.op_type}_{counts[node.op_type]}"
    return lambda tensor: names.get(tensor, tensor)


def numbers(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """The number of each skip and its join's node, which no renaming of tensors touches."""
    return [(skip.number, skip.node) for skip in find_skips(model)]


@pytest.fixture
def deep() -> onnx.ModelProto:
    model = residual(blocks=((4, 1),) * 5)
    return renamed(model, counted(model))


def test_a_skip_that_is_out_takes_its_number_along(deep: onnx.ModelProto) -> None:
    rest = RemoveSkips(skips=("1", "4")).apply(deep).model
    assert numbers(rest) == [("2", "block2_join"), ("3", "block3_join"), ("5", "block5_join")]


@pytest.mark.parametrize("prefix", ["x_", "block1_join_out_"])
def test_numbers_survive_new_names(deep: onnx.ModelProto, prefix: str) -> None:
    rest = RemoveSkips(skips=("1", "4")).apply(deep).model
    assert numbers(renamed(rest, lambda tensor: prefix + tensor)) == numbers(rest)


def test_numbers_survive_names_that_move_up(deep: onnx.ModelProto) -> None:
    rest = RemoveSkips(skips=("1", "4")).apply(deep).model
    moved = renamed(rest, counted(rest))
    assert find_skips(moved)[0].join == find_skips(deep)[0].join
    assert numbers(moved) == numbers(rest)


def test_stages_with_new_names_in_between_equal_the_last_alone(deep: onnx.ModelProto) -> None:
    staged = deep
    for stage in (1, 2):
        staged = RemoveSkips(stage=stage).apply(staged).model
        staged = renamed(staged, counted(staged))
    assert [node for _, node in numbers(staged)] == [
        node for _, node in numbers(RemoveSkips(stage=2).apply(deep).model)
    ]


def test_pieces_survive_new_names(deep: onnx.ModelProto) -> None:
    pieces = ShortenSkips(keep="each", skips=("2",)).apply(deep).model
    assert [number for number, _ in numbers(pieces)] == ["1", "2.1", "2.2", "3", "4", "5"]
    moved = renamed(pieces, counted(pieces))
    assert numbers(moved) == numbers(pieces)
    assert joins(RemoveSkips(skips=("2",)).apply(moved).model) == 4


def test_a_gate_does_not_take_a_skip_out(deep: onnx.ModelProto) -> None:
    assert numbers(GateSkips().apply(deep).model) == numbers(deep)


def test_a_skip_that_another_tool_added_gets_a_number_of_its_own(deep: onnx.ModelProto) -> None:
    rest = RemoveSkips(skips=("2",)).apply(deep).model
    conv = next(node for node in rest.graph.node if node.name == "block2_b_bn")
    before = conv.input[0]
    producer = next(node for node in rest.graph.node if before in node.output)
    added = onnx.helper.make_node("Add", [conv.output[0], producer.input[0]], ["added"], name="added")
    for node in rest.graph.node:
        node.input[:] = ["added" if t == conv.output[0] else t for t in node.input]
    rest.graph.node.insert(list(rest.graph.node).index(conv) + 1, added)
    assert dict(numbers(rest)) == {
        "1": "block1_join", "3": "block3_join", "4": "block4_join", "5": "block5_join", "6": "added",
    }  # fmt: skip


def test_the_record_says_what_is_out_and_is_the_same_however_it_came_about(deep: onnx.ModelProto) -> None:
    def record(model: onnx.ModelProto) -> list[dict[str, object]]:
        return json.loads(next(p.value for p in model.metadata_props if p.key == METADATA))

    at_once = record(RemoveSkips(stage=2).apply(deep).model)
    assert [(r["number"], r.get("out", False)) for r in at_once] == [
        ("1", True), ("2", True), ("3", True), ("4", True), ("5", False),
    ]  # fmt: skip
    staged = RemoveSkips(stage=2).apply(RemoveSkips(stage=1).apply(deep).model).model
    assert record(staged) == at_once


@pytest.mark.parametrize(
    "text", ["", "no json", "{}", '[{"number": "1"}]', '[{"number": "x", "fork": "", "join": ""}]']
)
def test_somebody_elses_text_is_no_record(deep: onnx.ModelProto, text: str) -> None:
    onnx.helper.set_model_props(deep, {METADATA: text})
    assert [number for number, _ in numbers(deep)] == ["1", "2", "3", "4", "5"]
