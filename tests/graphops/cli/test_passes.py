"""The verbs that passes make: files, tables, JSON, verification."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from passes.base import registry
from passes.skips import find_skips


def test_every_pass_is_a_verb_with_its_options(graphops) -> None:
    listed = {entry["name"]: entry for entry in graphops("passes", "--json").json["passes"]}
    assert set(listed) == set(registry)
    for name, entry in listed.items():
        shown = graphops(name, "--help")
        assert shown.code == 0
        for option in entry["options"]:
            assert option["help"], f"{name} does not say what {option['name']} does"
            assert f"--{option['name'].replace('_', '-')}" in shown.out


def test_the_output_lies_beside_the_input_under_the_name_of_the_pass(graphops, model: Path) -> None:
    answer = graphops("remove-skips", model)
    assert answer.code == 0
    assert f"Written: {model.with_name('net-remove-skips.onnx')}" in answer.out
    assert find_skips(onnx.load(model.with_name("net-remove-skips.onnx"))) == []


def test_json_is_one_object_and_the_report_is_the_same(graphops, model: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.onnx", tmp_path / "report.json"
    answer = graphops("remove-skips", model, "-o", out, "--stage", 2, "--json", "--report", report, "--verify")
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert json.loads(report.read_text()) == found
    assert found["pass"] == "remove-skips"
    assert found["exact"] is False
    assert found["options"]["stage"] == 2
    assert (found["input"], found["output"]) == (str(model), str(out))
    assert found["changed"] is True
    assert (found["before"]["joins"], found["after"]["joins"]) == (3, 1)
    assert found["before"]["operators"]["Add"] - found["after"]["operators"]["Add"] == 2
    assert set(found["before"]) == {"operators", "joins", "parameters", "macs", "buffer_bits"}
    assert found["verify"]["largest"] > found["verify"]["scale"] * 1e-3


def test_the_table_shows_every_operator_before_and_after(graphops, model: Path) -> None:
    lines = [line.split() for line in graphops("remove-skips", model, "--stage", 1).out.splitlines()]
    assert ["operator", "before", "after"] in lines
    assert ["Add", "3", "2"] in lines
    assert ["Conv", "7", "7"] in lines
    assert ["joins", "3", "2"] in lines


def test_where_nothing_was_to_change_it_is_said(graphops, model: Path) -> None:
    assert "Note: There was nothing to change." in graphops("integer-weights", model).out
    assert "nothing to change" not in graphops("remove-skips", model).out


def test_skips_are_named_with_commas(graphops, model: Path, tmp_path: Path) -> None:
    answer = graphops("remove-skips", model, "--skips", "1, 3", "-o", tmp_path / "out.onnx", "--json")
    assert answer.json["options"]["skips"] == ["1", "3"]
    assert [skip.number for skip in find_skips(onnx.load(tmp_path / "out.onnx"))] == ["2"]


@pytest.mark.parametrize("name", ["gate-skips", "inline-functions", "fold-constants"])
def test_exact_passes_say_so_when_verified(graphops, model: Path, name: str) -> None:
    answer = graphops(name, model, "--verify")
    assert answer.code == 0
    assert "Largest difference on random inputs:" in answer.out
    assert f"{name} is exact." in " ".join(answer.out.split())


def test_an_exact_pass_that_is_not_is_found_out(graphops, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry["remove-skips"], "exact", True)
    answer = graphops("remove-skips", model, "--verify")
    assert answer.code == 2
    assert "is exact, yet outputs differ" in answer.err
    assert not model.with_name("net-remove-skips.onnx").exists()


def test_stage_after_stage_equals_the_last_stage_at_once(graphops, model: Path, tmp_path: Path) -> None:
    first, both, once = (tmp_path / f"{name}.onnx" for name in ("first", "both", "once"))
    assert graphops("remove-skips", model, "--stage", 1, "-o", first).code == 0
    assert graphops("remove-skips", first, "--stage", 2, "-o", both).code == 0
    assert graphops("remove-skips", model, "--stage", 2, "-o", once).code == 0
    assert onnx.load(both) == onnx.load(once)


def test_a_pass_that_only_rewires_leaves_weights_in_their_file(graphops, network, tmp_path: Path) -> None:
    model, out = tmp_path / "net.onnx", tmp_path / "out"
    onnx.save_model(network, model, save_as_external_data=True, location="net.data", size_threshold=0)
    out.mkdir()
    assert graphops("remove-skips", model, "-o", out / "net.onnx", "--verify").code == 0
    assert sorted(path.name for path in out.iterdir()) == ["net.data", "net.onnx"]
    assert (out / "net.data").read_bytes() == (tmp_path / "net.data").read_bytes()
    onnx.checker.check_model(str(out / "net.onnx"), full_check=True)


def test_an_existing_output_is_overwritten_only_by_force(graphops, model: Path) -> None:
    before = model.read_bytes()
    refused = graphops("remove-skips", model, "-o", model)
    assert refused.code == 2
    assert "is the input itself" in refused.err
    assert model.read_bytes() == before
    assert graphops("remove-skips", model, "-o", model, "--force").code == 0
    assert find_skips(onnx.load(model)) == []


def test_the_report_is_not_the_model(graphops, model: Path, tmp_path: Path) -> None:
    answer = graphops("remove-skips", model, "-o", tmp_path / "a", "--report", tmp_path / "a")
    assert answer.code == 2
    assert not (tmp_path / "a").exists()


def test_sensitivity_is_measured_on_a_data_set(graphops, model: Path, images: Path, tmp_path: Path) -> None:
    answer = graphops(
        "remove-skips", model, "--order", "sensitivity", "--data", images, "--stage", 1, "--json", "-o", tmp_path / "a"
    )
    scores = answer.json["options"]["scores"]
    assert len(scores) == 3
    removed = {"1", "2", "3"} - {skip.number for skip in find_skips(onnx.load(tmp_path / "a"))}
    assert removed == {str(1 + scores.index(max(scores)))}


def test_sensitivity_without_data_says_what_is_missing(graphops, model: Path) -> None:
    answer = graphops("remove-skips", model, "--order", "sensitivity", "--stage", 1)
    assert (answer.code, answer.out) == (2, "")
    assert "pass --data" in answer.err


def test_nothing_is_measured_for_an_order_without_a_stage(graphops, model: Path) -> None:
    answer = graphops("remove-skips", model, "--order", "sensitivity", "--data", "nowhere.npz")
    assert (answer.code, answer.out) == (2, "")
    assert "give a stage" in answer.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("remove-skips", "--data-dir", "x"), "name the data set with --data or --train, or leave it out"),
        (("shorten-skips", "--data-dir", "x"), "name the data set with --train, or leave it out"),
        (("remove-skips", "--stage", 1, "--data", "digits"), "remove-skips measures nothing with these options"),
        (("remove-skips", "--stage", 1, "--logits", "y"), "--logits says how to fine-tune, but nothing says on what"),
    ],
)
def test_options_on_images_that_nothing_looks_at_are_refused(graphops, model: Path, arguments, sentence: str) -> None:
    answer = graphops(arguments[0], model, *arguments[1:])
    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err


def test_ranges_that_are_given_go_before_those_that_are_measured(graphops, model: Path, images: Path) -> None:
    answer = graphops("quantize", model, "--ranges", "input=-7:7", "--data", images, "--json")
    ranges = dict(text.split("=") for text in answer.json["options"]["ranges"])
    assert ranges.pop("input") == "-7.0:7.0"
    assert ranges, "the others are measured"


@pytest.mark.parametrize("training", [(), ("--train", "digits", "--steps", 1, "--workers", 1)])
def test_ranges_are_measured_on_images_normalised_as_said(graphops, model: Path, tmp_path: Path, training) -> None:
    def ranges(normalisation: str) -> list[str]:
        arguments = ("--data", "digits", "--normalisation", normalisation, *training)
        return graphops("quantize", model, *arguments, "-o", tmp_path / normalisation, "--json").json["options"][
            "ranges"
        ]

    assert ranges("digits") != ranges("none")


def test_sensitivity_is_measured_on_images_normalised_as_said(graphops, model: Path, images: Path) -> None:
    answer = graphops(
        "remove-skips", model, "--order", "sensitivity", "--stage", 1, "--data", images, "--normalisation", "0:0:0"
    )
    assert "'0:0:0' would divide by zero" in answer.err


def test_sensitivity_goes_by_the_output_that_is_named(graphops, network, model: Path, images: Path) -> None:
    """Whether it is trained afterwards or not."""
    logits, two, out = network.graph.output[0].name, model.with_name("two.onnx"), model.with_name("out.onnx")
    network.graph.node.append(onnx.helper.make_node("Neg", [logits], ["other"]))
    network.graph.output.insert(0, onnx.helper.make_tensor_value_info("other", 1, ["N", 10]))
    onnx.save(network, two)

    def scores(file: Path, *more: object) -> list[float]:
        measuring = ("--order", "sensitivity", "--stage", 1, "--data", images, "-o", out, "--force", "--json")
        return graphops("remove-skips", file, *measuring, *more).json["options"]["scores"]

    training = ("--train", images, "--steps", 1, "--batch", 16, "--workers", 1)
    assert scores(two, "--logits", logits) == scores(two, "--logits", logits, *training) == scores(model)
    assert scores(two) != scores(model)


def test_a_pass_can_fine_tune_as_well(graphops, model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    arguments = ("--stage", 2, "--train", images, "--teacher", model, "--steps", 3, "--batch", 16, "--workers", 1)
    answer = graphops("remove-skips", model, *arguments, "-o", out, "--json")
    assert (answer.code, answer.err) == (0, "")
    training = answer.json["training"]
    assert training["options"]["steps"] == 3
    assert training["options"]["teacher"] == str(model)
    assert len(training["history"]) == 1
    assert 0 <= training["accuracy_after"] <= 1
    trained, untrained = onnx.load(out), onnx.load(model)
    assert len(find_skips(trained)) == 1
    weights = {tensor.name: tensor.raw_data for tensor in untrained.graph.initializer}
    assert any(tensor.raw_data != weights.get(tensor.name) for tensor in trained.graph.initializer)


def test_training_options_without_training_are_refused(graphops, model: Path) -> None:
    answer = graphops("remove-skips", model, "--epochs", 3)
    assert answer.code == 2
    assert "--epochs says how to fine-tune, but nothing says on what; pass --train" in answer.err
