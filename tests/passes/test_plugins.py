"""Another package's pass is found by its entry point; a broken one costs a sentence and nothing else."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import onnx
import pytest
from onnx import helper

from passes.base import Registry, get, registry
from passes.errors import UserError

PASS = """
    from dataclasses import dataclass
    from typing import ClassVar

    from passes import Pass


    @dataclass(frozen=True)
    class Stamp(Pass):
        '''Writes a word into the model's metadata.

        Options:
            word: what to write.
        '''

        name: ClassVar[str] = "stamp"
        exact: ClassVar[bool] = True

        word: str = "seen"

        def rewrite(self, editor):
            editor.set_metadata("acme.stamp", self.word)
            return []
"""


def package(folder: Path, module: str, *entries: str, name: str = "acme-passes") -> Path:
    """An installed package in ``folder``: one module and its entry points."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[graphops.passes]", *entries, ""]))
    (folder / f"{name.split('-')[0]}.py").write_text(textwrap.dedent(module))
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose packages are installed."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme", raising=False)
    return tmp_path


def test_a_pass_of_another_package_is_in_the_registry(installed: Path) -> None:
    package(installed, PASS, "stamp = acme:Stamp")
    found = Registry()
    assert found["stamp"].name == "stamp"
    assert list(found) == ["stamp"]
    assert found.broken == {}


def test_plugins_are_not_loaded_to_find_a_pass_of_ours(installed: Path) -> None:
    package(installed, PASS, "stamp = acme:Stamp")
    found = Registry()
    found.add(registry["remove-skips"])
    assert found["remove-skips"] is registry["remove-skips"]
    assert "acme" not in sys.modules
    assert len(found) == 2
    assert "acme" in sys.modules


BROKEN = {
    "it cannot be imported": ("import a_library_that_is_not_there", "No module named 'a_library_that_is_not_there'"),
    "it is not in its module": ("", "module 'acme' has no attribute 'Stamp'"),
    "it raises in\ntwo lines": ("raise RuntimeError('one\\n two.')", "one two;"),
    "it raises without a word": ("raise ZeroDivisionError", "ZeroDivisionError;"),
    "it is no pass": ("class Stamp: ...", "<class 'acme.Stamp'> is no subclass of passes.Pass"),
    "it is no dataclass": (PASS.replace("@dataclass(frozen=True)", ""), "acme.Stamp is no frozen dataclass"),
    "it is not frozen": (PASS.replace("(frozen=True)", ""), "cannot inherit non-frozen|is no frozen dataclass"),
    "it does nothing": (PASS.split("def rewrite")[0], "acme.Stamp has no rewrite"),
    "it has another name": (PASS.replace('"stamp"', '"mark"'), "acme.Stamp is called 'mark', not 'stamp'"),
    "it does not say whether it is exact": (
        PASS.replace("exact: ClassVar[bool] = True", ""),
        "acme.Stamp does not say whether it is exact",
    ),
    "it has an option that no command line can set": (
        PASS.replace("word: str =", "word: dict ="),
        "the option 'word' of acme.Stamp is no str, int, float, bool, Literal or tuple of one",
    ),
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_pass_is_left_out_with_one_sentence(
    installed: Path, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    module, reason = BROKEN[why]
    package(installed, module, "stamp = acme:Stamp")
    found = Registry()
    with caplog.at_level(logging.WARNING, "passes"):
        assert "stamp" not in found
        assert list(found) == []
    (record,) = caplog.records
    sentence = record.getMessage()
    assert sentence.startswith("The pass 'stamp' of the package 'acme-passes' is left out: ")
    assert any(part in sentence for part in reason.split("|")), sentence
    assert sentence.endswith("; update that package or uninstall it.")
    assert "\n" not in sentence
    assert found.broken == {"stamp": sentence}


def test_the_other_passes_of_a_broken_package_stay(installed: Path) -> None:
    package(installed, PASS, "gone = acme:Gone", "stamp = acme:Stamp")
    found = Registry()
    assert list(found) == ["stamp"]
    assert list(found.broken) == ["gone"]


def test_a_pass_cannot_take_the_name_of_another(installed: Path) -> None:
    package(installed, PASS.replace('"stamp"', '"remove-skips"'), "remove-skips = acme:Stamp")
    found = Registry()
    found.add(registry["remove-skips"])
    assert list(found.values()) == [registry["remove-skips"]]
    assert "two passes are called 'remove-skips'" in found.broken["remove-skips"]


@pytest.mark.parametrize(
    "option",
    [
        "word: int = 1",
        "word: float | None = None",
        "word: Literal['a', 'b'] = 'a'",
        "word: tuple[str, ...] = ()",
        "word: 'tuple[float, ...]' = ()",
    ],
)
def test_options_are_what_a_command_line_can_say(installed: Path, option: str) -> None:
    module = PASS.replace('word: str = "seen"', option).replace("import ClassVar", "import ClassVar, Literal")
    package(installed, module, "stamp = acme:Stamp")
    assert list(Registry()) == ["stamp"]


def test_get_says_why_a_broken_pass_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    list(registry)
    monkeypatch.setitem(registry.broken, "stamp", "The pass 'stamp' is left out.")
    with pytest.raises(UserError, match=r"^The pass 'stamp' is left out\.$"):
        get("stamp")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    path = tmp_path / "model.onnx"
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def graphops(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line where the packages in ``folder`` are installed."""
    return subprocess.run(
        [sys.executable, "-m", "graphops.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )


def stamp_of(path: Path) -> dict[str, str]:
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def test_it_is_listed_a_verb_and_a_step_of_recipes(tmp_path: Path, model: Path) -> None:
    package(tmp_path / "site", PASS, "stamp = acme:Stamp")
    listed = graphops(tmp_path / "site", "passes", "--json")
    (entry,) = (p for p in json.loads(listed.stdout)["passes"] if p["name"] == "stamp")
    assert entry["summary"] == "Writes a word into the model's metadata."
    assert [option["name"] for option in entry["options"]] == ["word"]

    done = graphops(tmp_path / "site", "stamp", model, "--word", "hello", "-o", tmp_path / "out.onnx")
    assert done.returncode == 0, done.stderr
    assert stamp_of(tmp_path / "out.onnx")["acme.stamp"] == "hello"

    (tmp_path / "recipe.yaml").write_text("model: model.onnx\nsteps:\n  - stamp: {word: again}\n")
    done = graphops(tmp_path / "site", "run", tmp_path / "recipe.yaml", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    written = [stamp_of(path) for path in (tmp_path / "run").rglob("*.onnx")]
    assert "again" in [stamp.get("acme.stamp") for stamp in written]


def test_a_broken_one_does_not_stop_the_command_line(tmp_path: Path) -> None:
    package(tmp_path / "site", "import a_library_that_is_not_there", "stamp = acme:Stamp")
    listed = graphops(tmp_path / "site", "passes", "--json")
    assert listed.returncode == 0
    names = [entry["name"] for entry in json.loads(listed.stdout)["passes"]]
    assert "remove-skips" in names
    assert "stamp" not in names
    assert listed.stderr == (
        "The pass 'stamp' of the package 'acme-passes' is left out: No module named 'a_library_that_is_not_there'; "
        "update that package or uninstall it.\n"
    )


@pytest.mark.parametrize(
    ("module", "entry", "reason"),
    [
        (PASS.replace('"stamp"', '"skips"'), "skips", "graphops has a verb of that name"),
        (PASS.replace('"stamp"', '"finn"'), "finn", "graphops has a verb of that name"),
        (PASS.replace("word", "force"), "stamp", "duplicate parameter name: 'force'"),
    ],
)
def test_one_that_clashes_with_a_verb_does_not_stop_it_either(
    tmp_path: Path, model: Path, module: str, entry: str, reason: str
) -> None:
    package(tmp_path / "site", module, f"{entry} = acme:Stamp")
    found = graphops(tmp_path / "site", "skips", model)
    assert found.returncode == 0, found.stderr
    assert found.stderr == f"The pass {entry!r} of acme is no verb: {reason}; use it in Python.\n"
