"""The verbs that are no pass: what they print, for people and for programs."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import onnx
import pytest
from onnx import helper
from rich.progress import TextColumn

from graphops import doctor
from graphops.cli import execute
from graphops.cli.app import app
from graphops.cli.common import ScreenWatch, console
from graphops.cli.training import flag
from graphops.doctor import Finding
from graphops.options import options
from graphops.training import TrainOptions
from passes.base import registry
from passes.errors import UserError


def test_skips_lists_what_there_is(graphops, model: Path) -> None:
    found = graphops("skips", model, "--bits", 8, "--json").json
    assert [skip["number"] for skip in found["skips"]] == ["1", "2", "3"]
    assert {"join", "fork", "kind", "span", "linear", "shape", "streaming_bits", "map_bits"} <= set(found["skips"][0])
    assert found["streaming_bits"] == sum(skip["streaming_bits"] for skip in found["skips"])
    wide = graphops("skips", model, "--json").json
    assert wide["streaming_bits"] == 4 * found["streaming_bits"]
    table = graphops("skips", model).out
    assert "identity" in table
    assert "3 skip connections" in table


def test_a_model_without_skips_is_an_answer_not_an_error(graphops, model: Path, tmp_path: Path) -> None:
    graphops("remove-skips", model, "-o", tmp_path / "none.onnx")
    answer = graphops("skips", tmp_path / "none.onnx")
    assert answer.code == 0
    assert answer.out.endswith("/none.onnx has no skip connections.\n"), "however long the path"
    assert graphops("skips", tmp_path / "none.onnx", "--json").json["skips"] == []


def test_functions_may_hide_skips(graphops, model: Path) -> None:
    graphops("remove-skips", model, "-o", model, "--force")
    assert "inline-functions" not in graphops("skips", model).out
    hiding = onnx.load(model)
    relu = helper.make_node("Relu", ["x"], ["y"])
    hiding.functions.append(helper.make_function("own", "F", ["x"], ["y"], [relu], hiding.opset_import))
    onnx.save(hiding, model)
    assert "inline-functions" in graphops("skips", model).out


def test_so_may_branches(graphops, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (bool flag, float[2] x) => (float[2] y) {
        y = If (flag) <then_branch = a () => (float[2] z) { z = Relu(x) },
                       else_branch = b () => (float[2] w) { w = Tanh(x) }> }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "if.onnx")
    assert "no skip connections outside of its If 'y';" in graphops("skips", tmp_path / "if.onnx").out


def test_a_report_never_overwrites_the_model_that_is_read(graphops, model: Path) -> None:
    before = model.read_bytes()
    answer = graphops("skips", model, "--report", model, "--force")
    assert (answer.code, answer.err.count(".\n")) == (2, 1)
    assert "choose another name" in answer.err
    assert model.read_bytes() == before


def test_evaluate_prints_accuracy(graphops, model: Path, images: Path) -> None:
    found = graphops("evaluate", model, "--data", images, "--json").json
    assert found["count"] == 40
    assert found["accuracy"] == found["correct"] / found["count"]
    assert "40 test images of images.npz right" in graphops("evaluate", model, "--data", images).out
    assert graphops("evaluate", model, "--data", images, "--split", "train", "--limit", 7, "--json").json["count"] == 7


def test_evaluate_refuses_outputs_that_are_no_numbers(graphops, network, images: Path, tmp_path: Path) -> None:
    logits = network.graph.output[0].name
    network.graph.node.append(onnx.helper.make_node("Log", [logits], ["y"]))
    network.graph.output[0].name = "y"
    onnx.save(network, tmp_path / "net.onnx")
    answer = graphops("evaluate", tmp_path / "net.onnx", "--data", images)
    assert (answer.code, answer.out) == (2, "")
    assert re.search("its output 'y' is not finite for [1-9][0-9]* of 40 images; look for", answer.err)


def test_finetune_trains_and_goes_on_from_its_checkpoints(graphops, model: Path, images: Path, tmp_path: Path) -> None:
    common = ("finetune", model, "--data", images, "--steps", 4, "--batch", 16, "--workers", 1, "--json")
    first = graphops(*common, "-o", tmp_path / "a.onnx", "--checkpoints", tmp_path / "kept")
    assert (first.code, first.err) == (0, "")
    assert first.json["history"][-1]["step"] == 4
    again = graphops(*common, "-o", tmp_path / "b.onnx", "--checkpoints", tmp_path / "kept")
    assert again.json["history"] == first.json["history"]
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        ((), "Stopped, and nothing was kept; with --checkpoints FOLDER the same command would go on"),
        (("--checkpoints", "kept"), "Stopped; the same command goes on from the last checkpoint in kept."),
    ],
)
def test_an_interrupted_training_says_how_to_go_on(
    graphops, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("graphops.training.trainer._Run._end_epoch", lambda run: signal.raise_signal(signal.SIGINT))
    arguments = ("--data", images, "--batch", 120, "--epochs", 2, "--workers", 1, *kept)
    answer = graphops("finetune", model, *arguments)
    assert (answer.code, answer.out) == (130, "")
    assert sentence in answer.err
    assert bool(list(tmp_path.glob("kept/checkpoint-000000001.bin"))) == bool(kept)


def test_a_training_that_is_interrupted_before_its_first_checkpoint_says_so(
    graphops, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphops.training.trainer.find_rate", lambda *_: signal.raise_signal(signal.SIGINT))
    arguments = ("--data", images, "--lr", "auto", "--workers", 1, "--checkpoints", tmp_path / "kept")
    answer = graphops("finetune", model, *arguments)
    assert (answer.code, answer.out) == (130, "")
    assert "Stopped before there was a checkpoint; the same command begins anew." in answer.err


@pytest.mark.parametrize("module", ["typer", "onnx", "passes.errors", "graphops.cli.app", "graphops.cli.skips"])
def test_an_interrupt_while_graphops_starts_leaves_no_traceback(module: str) -> None:
    script = f"""
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "{module}":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from graphops.cli import main
main(["skips", "none.onnx"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("verb", [("finetune", "--data"), ("remove-skips", "--train")])
def test_a_model_that_misses_its_bar_is_written(graphops, model: Path, tmp_path: Path, verb) -> None:
    teacher, out = Path(__file__).parents[3] / "examples" / "models" / "digits-resnet8.onnx", tmp_path / "out.onnx"
    training = ("--teacher", teacher, "--max-drop", 0, "--steps", 1, "--lr", 1e-9, "--workers", 1, "--batch", 16)
    answer = graphops(verb[0], model, verb[1], "digits", *training, "-o", out)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.strip().endswith(f"or take out less at a time; the model as it was trained is in {out}.")
    onnx.checker.check_model(onnx.load(out))


def test_finetune_scores_the_output_that_it_trains(graphops, network, images: Path, tmp_path: Path) -> None:
    logits = network.graph.output[0]
    network.graph.node.append(onnx.helper.make_node("Neg", [logits.name], ["other"]))
    network.graph.output.insert(0, onnx.helper.make_tensor_value_info("other", 1, ["N", 10]))
    onnx.save(network, tmp_path / "two.onnx")
    arguments = ("--data", images, "--logits", logits.name, "--json")
    scored = graphops("evaluate", tmp_path / "two.onnx", *arguments).json["accuracy"]
    assert scored != graphops("evaluate", tmp_path / "two.onnx", "--data", images, "--json").json["accuracy"]
    training = ("--steps", 1, "--lr", 1e-9, "--batch", 16, "--workers", 1)
    found = graphops("finetune", tmp_path / "two.onnx", *arguments, *training).json
    assert found["accuracy_before"] == scored
    assert found["accuracy_after"] == found["history"][-1]["test_accuracy"]


def test_every_training_option_is_on_the_command_line(graphops) -> None:
    shown = graphops("finetune", "--help").out
    for said in (*(flag(option.name) for option in options(TrainOptions)), "--teacher", "--no-nesterov"):
        assert f" {said} " in shown


def test_doctor_says_what_is_installed(graphops) -> None:
    findings = graphops("doctor", "--json").json["findings"]
    by_subject = {finding["subject"]: finding for finding in findings}
    assert {"Python", "graphops", "training", "disk", "cores"} <= set(by_subject)
    assert by_subject["training"]["remedy"] is None


def test_doctor_says_how_to_mend_what_is_broken(graphops, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise UserError("onnxruntime is the build without training; repair it with `pip install something`.")

    monkeypatch.setattr("graphops.training.runtime.check", broken)
    answer = graphops("doctor")
    assert answer.code == 1
    assert "Repair it with `pip install something`." in answer.out


def test_doctor_names_passes_of_other_packages_that_are_broken(graphops, monkeypatch: pytest.MonkeyPatch) -> None:
    len(registry)
    sentence = "The pass 'prune' of the package 'acme' is left out: no module; update that package or uninstall it."
    monkeypatch.setattr(registry, "broken", {"prune": sentence})
    found = [finding for finding in graphops("doctor", "--json").json["findings"] if finding["subject"] == "passes"]
    assert found[1]["state"] == "The pass 'prune' of the package 'acme' is left out: no module"
    assert found[1]["remedy"] == "Update that package or uninstall it."


def test_doctor_compares_versions_with_the_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["a==1.2", "b>=3", "c>=1", "d>=1", "onnxruntime-training-cpu==1.19.2"]
    monkeypatch.setattr(metadata, "requires", lambda _: [*asked, 'e>=9 ; extra == "dev"'])
    versions = {"graphops": "0.1", "a": "1.3", "b": "2.9.9", "c": "1.0.post1", "onnxruntime-training": "1.19.2"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    found = {finding.subject: finding for finding in doctor.examine(Path())}
    assert found["a"] == Finding("a", "1.3, where 1.2 is asked for", "Run `python -m pip install 'a==1.2'`.")
    assert found["b"].remedy == "Run `python -m pip install 'b>=3'`."
    assert found["c"].remedy is None
    assert found["d"].state.startswith("missing")
    assert "e" not in found
    assert found["onnxruntime-training"].remedy is None, "the build for CUDA will do"


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_draw_writes_a_picture_that_is_always_the_same(graphops, model: Path, tmp_path: Path, ending: str) -> None:
    graphops("remove-skips", model, "-o", tmp_path / "none.onnx")
    pictures = []
    for name in ("first", "second"):
        out = tmp_path / f"{name}.{ending}"
        answer = graphops("draw", model, tmp_path / "none.onnx", "--block", 2, "-o", out, "--json")
        assert (answer.code, answer.json["output"]) == (0, str(out))
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1]


def test_draw_takes_names_that_look_like_formulae(graphops, network: onnx.ModelProto, tmp_path: Path) -> None:
    network.graph.node[0].op_type, network.graph.node[0].domain = r"a$\x$", "custom"
    network.opset_import.add(domain="custom", version=1)
    path = tmp_path / r"b$\y$.onnx"
    onnx.save_model(network, path)
    assert graphops("draw", path, "-o", tmp_path / "a.svg").code == 0
    assert r"b$\y$" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "a.bmp"), "should end in .svg, .png, .pdf"),
        (("-o", "a.svg", "--block", "9"), "has no skip '9'; it has 1, 2, 3"),
        (("-o", "a.svg", "--from", "input"), "--from and --to together"),
        (("-o", "a.svg", "--from", "nowhere", "--to", "input"), "no tensor 'nowhere'"),
        (("-o", "a.svg", "--titles", "a,b"), "2 titles for 1 models"),
    ],
)
def test_draw_says_what_it_cannot_do(
    graphops, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = graphops("draw", model, *arguments)
    assert answer.code == 2
    assert sentence in answer.err
    assert not list(tmp_path.glob("a.*"))


def test_version_and_help(graphops) -> None:
    assert graphops("--version").out.startswith("graphops")
    verbs = {command.name or "" for command in app.registered_commands} - registry.keys()
    for verb in (*verbs, "finn setup", "finn check"):
        answer = graphops(*verb.split(), "--help")
        assert answer.code == 0
        assert "--json" in answer.out, verb


def test_names_that_look_like_markup_are_printed_as_they_are(graphops, model: Path, tmp_path: Path) -> None:
    odd = tmp_path / "net[bold]:smile:.onnx"
    model.rename(odd)
    assert f"Written: {tmp_path}/net[bold]:smile:-remove-skips.onnx" in graphops("remove-skips", odd).out


def test_names_that_the_terminal_cannot_show_are_spelled(
    network: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "é.onnx"
    onnx.save_model(network, path)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen := io.BytesIO(), encoding="ascii"))
    assert execute(["remove-skips", str(path)]) == 0
    sys.stdout.flush()
    assert rb"\xe9-remove-skips.onnx" in screen.getvalue()


def test_a_bar_shows_names_that_look_like_markup_as_they_are() -> None:
    watch = ScreenWatch("synthesis of build[wide]")
    watch.progress(0, 1, ":smile: [/]")
    task = watch._bar.tasks[0]
    shown = [str(column.render(task)) for column in watch._bar.columns if isinstance(column, TextColumn)]
    assert shown == ["synthesis of build[wide]", ":smile: [/]"]


def test_tables_are_whole_on_narrow_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", screen := io.StringIO())
    monkeypatch.setattr(screen, "isatty", lambda: True)
    for columns, width in (("40", 80), ("120", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        assert console().width == width


def test_an_unknown_verb_is_answered_with_the_nearest(graphops) -> None:
    answer = graphops("remove-skip")
    assert answer.code == 2
    assert "Did you mean 'remove-skips'" in answer.err


def test_starting_up_leaves_heavy_libraries_alone() -> None:
    heavy = "onnxruntime sklearn matplotlib scipy pandas torch PIL"
    script = f"import sys, graphops.cli.app; print(sorted(set('{heavy}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_process_exits_as_the_command_does(start) -> None:
    process = start("skips", "none.onnx")
    assert process.communicate() == ("", "There is no file none.onnx; check the path.\n")
    assert process.returncode == 2


def test_a_reader_that_leaves_gets_no_traceback(start, model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start("skips", model, stdout=writing)
    os.close(writing)
    assert process.communicate()[1] == ""
    assert process.returncode == 1


def test_standard_output_may_be_closed(graphops, monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert graphops("gate-skips", model, "-o", tmp_path / "gated.onnx").code == 0


def test_models_keep_what_they_say_about_themselves(graphops, network: onnx.ModelProto, tmp_path: Path) -> None:
    noted = onnx.ModelProto()
    noted.CopyFrom(network)
    noted.doc_string, noted.producer_name = "mine", "somebody"
    onnx.save_model(noted, tmp_path / "noted.onnx")
    assert graphops("remove-skips", tmp_path / "noted.onnx", "-o", tmp_path / "out.onnx").code == 0
    written = onnx.load(tmp_path / "out.onnx")
    assert (written.doc_string, written.producer_name) == ("mine", "somebody")
