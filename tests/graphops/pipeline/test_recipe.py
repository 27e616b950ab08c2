"""Recipes: whatever is written wrongly is answered with the nearest right thing, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphops import recipe as recipes
from graphops.cli import execute as graphops
from graphops.models import build
from graphops.steps import Build, Finetune, Rewrite
from passes import UserError
from passes.base import registry

BOMB = "\n".join(
    ["k0: &k0 [x]", *(f"k{n + 1}: &k{n + 1} [{', '.join([f'*k{n}'] * 10)}]" for n in range(9)), "steps: [build: *k9]"]
)
"""Ten lines that stand for a thousand million values."""


def steps_of(text: str) -> list[Any]:
    import yaml

    pipeline = recipes.parse(yaml.safe_load(text), "recipe", Path())
    return [planned.step for planned in pipeline.planned if planned.step]


def test_steps_are_written_long_or_short() -> None:
    network, tuned, shortened, removed, rounded = steps_of("""
        data: digits
        steps:
          - build: resnet20
          - finetune: {epochs: 2, lr: 0.1, teacher: build}
          - shorten-skips
          - remove-skips: {skips: [1, "3.1"], order: output}
          - quantize: {weights: 4, normalisation: unit}
    """)
    assert network == Build("resnet20", {})
    assert isinstance(tuned, Finetune)
    assert (tuned.options.epochs, tuned.options.lr, tuned.teacher) == (2.0, 0.1, "build")
    assert shortened == Rewrite(registry["shorten-skips"]())
    assert removed == Rewrite(registry["remove-skips"](skips=("1", "3.1"), order="output"))
    assert rounded == Rewrite(registry["quantize"](weights=4), normalisation="unit")
    assert rounded.settings()["normalisation"] == "unit"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("just text", "is no recipe"),
        ("[1, 2]", "is no recipe"),
        ("title: nothing", "needs the option 'steps'"),
        ("steps: []", "steps is []"),
        ("step: [gate-skips]", "has no option 'step'; did you mean 'steps'?"),
        ("{dat: digits, steps: [gate-skips]}", "did you mean 'data'?"),
        ("{bits: wide, steps: [gate-skips]}", "bits is 'wide'"),
        ("{limit: 0, steps: [gate-skips]}", "limit is 0"),
        ("steps: [gate-skip]", "step 1: there is no step 'gate-skip'; did you mean 'gate-skips'?"),
        ("steps: [{finetun: {epochs: 1}}]", "did you mean 'finetune'?"),
        ("steps: [{finetune: {epoch: 1}}]", "step 1: finetune: Training has no option 'epoch'; did you mean 'epochs'"),
        ("steps: [{finetune: {epochs: many}}]", "epochs is 'many'"),
        ("steps: [{finetune: {data: 3}}]", "data is 3"),
        ("steps: [{finetune: {max_drop: 0.1}}]", "step 1: finetune: `max_drop` needs a teacher, and there is none"),
        ("steps: [{quantize: {normalisation: 3}}]", "normalisation is 3; it must be a name"),
        ("steps: [gate-skips, {remove-skips: {stages: 3, stag: 1}}]", "step 2: remove-skips has no option 'stag'"),
        ("steps: [{remove-skips: {order: inpt}}]", "order is 'inpt'"),
        ("steps: [{remove-skips: {skips: [3.1]}}]", "write skips in quotes"),
        ("steps: [{remove-skips: 2}]", "write its options as {name: value}"),
        ("steps: [{gate-skips: {}, shorten-skips: {}}]", "each step does one thing"),
        ("steps: [{name: alone}]", "says nothing; each step does one thing"),
        ("steps: [{gate-skips: {}, form: a}]", "there is no step 'form'; did you mean 'from'?"),
        ("steps: [{gate-skips: {}, name: 3}]", "name is 3; it must be a step's name"),
        ("steps: [3]", "step 1 is 3"),
        ("steps: [{build: {depth: 20}}]", "needs the network's name"),
        ("steps: [{build: {model: resnet8, widht: 4}}]", "step 1: build: resnet8 has no option 'widht'; did you mean"),
        ("steps: [{build: {model: resnet8, width: '4'}}]", "width='4'; give a whole number"),
        ("steps: [{build: {model: resnet8, width: yes}}]", "width=True; give a whole number"),
        ("steps: [{build: {model: resnet8, image: [yes, 8, 8]}}]", "images of [True, 8, 8]; give channels"),
        ("steps: [{build: {model: resnet8, image: 3}}]", "images of 3; give channels, height and width"),
        ("steps: [{build: {model: resnet8, classes: 10.5}}]", "classes=10.5; give a whole number"),
        ("steps: [{build: {model: resnet8, seed: [1]}}]", "seed=[1]; give a whole number"),
        ("steps: [{evaluate: {split: test, limits: 3}}]", "did you mean 'limit'?"),
        ("steps: [{evaluate: {split: tset}}]", "split is 'tset'"),
        ("steps: [{evaluate: {limit: 0}}]", "recipe.yaml: step 1: evaluate: An evaluation of 0 images is impossible"),
        ("steps: [gate-skips, {compare: a}]", "step 2: compare: A comparison takes two builds or more"),
        ("steps: [{evaluate: {normalisation: imagnet}}]", "did you mean 'imagenet'"),
        ("steps: [{finetune: {normalisation: imagnet}}]", "did you mean 'imagenet'"),
        ("steps: [{simulate: {normalisation: imagnet}}]", "did you mean 'imagenet'"),
        ("steps: [{quantize: {normalisation: imagnet}}]", "step 1: quantize: There is no normalisation called"),
        ("steps: [{remove-skips: {stage: 1, data: digits}}]", "remove-skips measures nothing with these options"),
        ("steps: [{quantize: {ranges: [input=0:1], normalisation: unit}}]", "leave data and normalisation out"),
        ("steps: [{remove-skips: {stage: 5}}]", "step 1: remove-skips: stage 5: there are 3 stages; choose one"),
        ("steps: [{quantize: {weights: 99}}]", "99 bits are out of range"),
        ("{model: a.onnx, steps: [gate-skips], model: b.onnx}", "'model' is said twice"),
        ("title: a: b", "recipe.yaml is not YAML: mapping values are not allowed here at line 1, column 9"),
        ("[" * 3000, "nested too deeply"),
        ("steps: [finetune: {teacher: ''}]", "The teacher's name is empty"),
        ("&a [*a]", "aliases repeat too much"),
        (BOMB, "aliases repeat too much"),
        ("steps:\n- remove-skips:\n  stage: 1", "step 1: if 'stage' is an option of remove-skips, indent it further"),
        ("steps: [{gate-skips: {}, from: nowhere}]", "refers to 'nowhere'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        recipes.read(str(path))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


NOT_YAML = [b"a: [", b"\xff\xfe\x00", b"a: b: c", b"title: 2026-02-31", b"title: !!timestamp x"]


@pytest.mark.parametrize("content", NOT_YAML)
def test_what_is_no_yaml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"recipe\.yaml (is not YAML|cannot be read)"):
        recipes.read(path)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: !!python/object/apply:os.mkdir ['" + str(tmp_path / "made") + "']")
    with pytest.raises(UserError, match="is not YAML"):
        recipes.read(path)
    assert not (tmp_path / "made").exists()


def test_paths_start_from_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    onnx.save_model(build("resnet8", width=4, image=(1, 8, 8)), home / "net.onnx")
    rng = np.random.default_rng(0)
    np.savez(home / "images.npz", x=rng.integers(0, 256, (80, 1, 8, 8)).astype(np.uint8), y=np.arange(80) % 10)
    (home / "recipe.yaml").write_text("""
        model: net.onnx
        data: images.npz
        steps:
          - finetune: {steps: 2, batch: 16, workers: 1, teacher: net.onnx}
    """)
    monkeypatch.chdir(elsewhere)
    assert graphops(["run", "../home/recipe.yaml"]) == 0
    assert (elsewhere / "runs" / "recipe" / "01-finetune" / "model.onnx").exists()
    assert "images.npz" in (elsewhere / "runs" / "recipe" / "recipe.yaml").read_text()


def test_the_recipe_in_the_run_folder_is_good_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the recipe lay in the folder that graphops was called in."""
    monkeypatch.chdir(tmp_path)
    onnx.save_model(build("resnet8", width=4, image=(1, 8, 8)), "net.onnx")
    np.savez("images.npz", x=np.zeros((80, 1, 8, 8), np.uint8), y=np.arange(80) % 10)
    Path("own.yaml").write_text("{model: net.onnx, data: images.npz, steps: [{evaluate: images.npz}]}")
    assert graphops(["run", "own.yaml", "--out", "run"]) == 0
    assert graphops(["run", "run/recipe.yaml", "--out", "again"]) == 0


def test_the_model_of_the_command_line_wins(tmp_path: Path, capsys) -> None:
    for width in (4, 8):
        onnx.save_model(build("resnet8", width=width, image=(1, 8, 8)), tmp_path / f"{width}.onnx")
    (tmp_path / "recipe.yaml").write_text("{model: 4.onnx, steps: [gate-skips]}")
    arguments = ["run", tmp_path / "recipe.yaml", "--model", tmp_path / "8.onnx", "--out", tmp_path / "run"]
    assert graphops([str(argument) for argument in arguments]) == 0
    written = onnx.load(tmp_path / "run" / "00-input" / "model.onnx")
    assert written == onnx.load(tmp_path / "8.onnx")
