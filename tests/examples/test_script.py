"""The studies say what is wrong in one sentence, as graphops does."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from examples import script


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("table2.table --out out --data cifar1", "There is no data set or file 'cifar1'; did you mean 'cifar10'"),
        ("benchmarks.hardware --network none.onnx", "There is no file none.onnx; check the path."),
        ("benchmarks.lowering none.onnx", "There is no file none.onnx; check the path."),
        ("benchmarks.quantised --model resnt8", "There is no network called 'resnt8'; did you mean 'resnet20'"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    command: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *arguments = command.split()
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.delitem(sys.modules, f"examples.{name}", raising=False)  # another test may have imported it
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"examples.{name}", run_name="__main__")
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(sentence)
    assert said.count("\n") == 1


def test_an_interrupt_leaves_no_traceback() -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        script.run(main)
    assert ended.value.code == 130
