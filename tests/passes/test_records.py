"""Skips keep their numbers from pass to pass, whatever other tools do to names in between."""

from __future__ import annotations

import json
from collections.abc import Callable

import onnx
import pytest

from examples.adapters.network import joins, residual
from passes import FoldBatchNorm, GateSkips, Pass, RemoveSkips, ShortenSkips, find_skips
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


def record(number: str, join: str, **more: object) -> dict[str, object]:
    return {"number": number, "fork": "f", "join": join, **more}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{}",
        "null",
        "[1, 2]",
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "1" * 10_000,
        '[{"number": "1"}]',
        json.dumps([record("x", "j")]),
        json.dumps([record("1", "j"), record("9" * 5000, "k")]),
        json.dumps([record("1", "j"), record("1000000000000", "k")]),
        json.dumps([record("0", "j")]),
        json.dumps([record("-1", "j")]),
        json.dumps([record("1.1.1", "j")]),
        json.dumps([record("\u0661", "j")]),
        json.dumps([record("1", "j"), record("1", "k")]),
        json.dumps([record("1", "j"), record("2", "j")]),
        json.dumps([record("1", "j"), record("3", "k")]),
        json.dumps([record("1", "j", fork=7)]),
    ],
    ids=range(20),
)
def test_somebody_elses_text_is_no_record(deep: onnx.ModelProto, text: str) -> None:
    onnx.helper.set_model_props(deep, {METADATA: text})
    assert [number for number, _ in numbers(deep)] == ["1", "2", "3", "4", "5"]
    assert joins(RemoveSkips(stage=1).apply(deep).model) == 3


def test_a_record_of_other_joins_counts_on(deep: onnx.ModelProto) -> None:
    """As after two models were put together: what is not known gets the next numbers."""
    onnx.helper.set_model_props(deep, {METADATA: json.dumps([record("1", "elsewhere"), record("2", "too")])})
    assert [number for number, _ in numbers(deep)] == ["3", "4", "5", "6", "7"]


# -- from process to process --------------------------------------------------------------------------------------


def saved(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString())


@pytest.mark.parametrize("first", [ShortenSkips(), ShortenSkips(keep="each"), GateSkips(), FoldBatchNorm()])
def test_stages_after_another_pass_take_what_they_would_have_taken(deep: onnx.ModelProto, first: Pass) -> None:
    """Stage 2 takes 4 of 5 skips, whatever the pass before made of them."""
    model = first.apply(deep).model
    staged = saved(model)
    for stage, left in ((1, ["3", "4", "5"]), (2, ["5"]), (3, [])):
        staged = saved(RemoveSkips(stage=stage).apply(staged).model)
        assert list(dict.fromkeys(number.split(".")[0] for number, _ in numbers(staged))) == left
        assert staged == RemoveSkips(stage=stage).apply(model).model


def test_a_piece_goes_alone_or_with_the_rest_of_its_skip(deep: onnx.ModelProto) -> None:
    pieces = saved(ShortenSkips(keep="each").apply(deep).model)
    assert [number for number, _ in numbers(pieces)][4:6] == ["3.1", "3.2"]
    one = saved(RemoveSkips(skips=("3.1",)).apply(pieces).model)
    assert "3.1" not in dict(numbers(one))
    assert "3.2" in dict(numbers(one))
    both = RemoveSkips(skips=("3",)).apply(one)
    assert not [number for number, _ in numbers(both.model) if number.startswith("3")]
    assert RemoveSkips(skips=("3",)).apply(both.model).notes == ("Skip 3 is out already.",)
    assert RemoveSkips(skips=("3.1",)).apply(both.model).notes == ("Skip 3.1 is out already.",)


def test_gated_then_shortened_then_removed(deep: onnx.ModelProto) -> None:
    model = saved(GateSkips().apply(deep).model)
    model = saved(ShortenSkips(skips=("2", "4")).apply(model).model)
    assert [(s.number, s.span, s.gate is None) for s in find_skips(model)] == [
        ("1", 2, False), ("2", 1, True), ("3", 2, False), ("4", 1, True), ("5", 2, False),
    ]  # fmt: skip
    model = saved(RemoveSkips(skips=("1", "2")).apply(model).model)
    assert [number for number, _ in numbers(model)] == ["3", "4", "5"]


def test_by_sensitivity_from_process_to_process(deep: onnx.ModelProto) -> None:
    """The scores of the first measurement go with each stage; what is out already stays among the first."""
    scores = (0.2, 0.9, 0.4, 0.8, 0.1)
    staged = deep
    for stage, left in ((1, ["1", "3", "5"]), (2, ["5"]), (3, [])):
        staged = saved(RemoveSkips(stage=stage, order="sensitivity", scores=scores).apply(staged).model)
        assert [number for number, _ in numbers(staged)] == left
