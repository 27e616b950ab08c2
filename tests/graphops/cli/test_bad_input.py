"""Whatever a person gets wrong: exit code 2, one sentence that names the thing and the way out, no file written."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphops.models import build

Prepare = Callable[[Path], None]


def saved(change: Callable[[onnx.ModelProto], None]) -> Prepare:
    """``in.onnx``: the small ResNet after ``change``."""

    def prepare(folder: Path) -> None:
        model = build("resnet8", width=4, classes=10, image=(1, 8, 8))
        change(model)
        onnx.save_model(model, folder / "in.onnx")

    return prepare


def content(data: bytes) -> Prepare:
    return lambda folder: (folder / "in.onnx").write_bytes(data) and None  # type: ignore[func-returns-value]


def as_it_is(_: onnx.ModelProto) -> None:
    pass


def truncated(folder: Path) -> None:
    saved(as_it_is)(folder)
    whole = (folder / "in.onnx").read_bytes()
    (folder / "in.onnx").write_bytes(whole[: len(whole) // 2])


def a_folder(folder: Path) -> None:
    (folder / "in.onnx").mkdir()


def nothing(_: Path) -> None:
    pass


def without_skips(folder: Path) -> None:
    onnx.save_model(build("nonresnet8", width=4, classes=10, image=(1, 8, 8)), folder / "in.onnx")


def unknown_operator(model: onnx.ModelProto) -> None:
    """Put an operator of somebody else's where shapes cannot be followed through."""
    model.opset_import.append(helper.make_opsetid("example.org", 1))
    first = model.graph.node[0]
    first.domain, first.op_type = "example.org", "Mystery"
    del model.graph.value_info[:]


def no_gradient(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "HardSwish"


def images(shape: tuple[int, ...], labels: list[int]) -> Prepare:
    def prepare(folder: Path) -> None:
        saved(as_it_is)(folder)
        y = np.resize(labels, 80)
        np.savez(folder / "data.npz", x=np.zeros((80, *shape), np.uint8), y=y)

    return prepare


def two_branches_of_unknown_shape(folder: Path) -> None:
    """A graph whose input says nothing about its shape."""
    weights = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("Mystery", ["x"], ["a"], domain="example.org"),
            helper.make_node("Conv", ["a", "w"], ["b"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Conv", ["c", "w"], ["d"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["d", "a"], ["y"], name="join"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example.org", 1)]
    onnx.save_model(helper.make_model(graph, ir_version=8, opset_imports=opsets), folder / "in.onnx")


TRAIN = "finetune in.onnx --data data.npz -o out.onnx --steps 1 --batch 8 --workers 1"

CASES: dict[str, tuple[Prepare, str, str]] = {
    "missing file": (nothing, "remove-skips in.onnx -o out.onnx", "There is no file in.onnx"),
    "empty file": (content(b""), "remove-skips in.onnx -o out.onnx", "in.onnx is empty"),
    "truncated file": (truncated, "remove-skips in.onnx -o out.onnx", "is cut short"),
    "text file": (content(b"no model\n"), "skips in.onnx", "in.onnx is not an ONNX model"),
    "folder": (a_folder, "remove-skips in.onnx -o out.onnx", "in.onnx is a folder"),
    "this folder": (nothing, "remove-skips .", ". is a folder"),
    "folder as output": (saved(as_it_is), "remove-skips in.onnx -o .", "is a folder; name a file"),
    "standard output": (saved(as_it_is), "remove-skips in.onnx -o -", "Nothing is written to standard output"),
    "no folder for the output": (saved(as_it_is), "remove-skips in.onnx -o a/b.onnx", "there is no folder a"),
    "no skips": (without_skips, "remove-skips in.onnx -o out.onnx", "it has no skip connection"),
    "stage out of range": (saved(as_it_is), "remove-skips in.onnx -o out.onnx --stage 4", "stage 4"),
    "negative stage": (saved(as_it_is), "remove-skips in.onnx -o out.onnx --stage -1", "stage -1"),
    "no such skip": (saved(as_it_is), "remove-skips in.onnx -o out.onnx --skips 1,9", "skip 9"),
    "skips from an empty variable": (saved(as_it_is), "remove-skips in.onnx -o out.onnx --skips=", "names nothing"),
    "skips that are a comma": (saved(as_it_is), "fold-skips in.onnx -o out.onnx --skips ,", "names nothing"),
    "data from an empty variable": (saved(as_it_is), "export-hls in.onnx -o build --data=", "No data set is named"),
    "block from an empty variable": (saved(as_it_is), "draw in.onnx -o out.svg --block=", "no skip ''; it has 1, 2, 3"),
    "stage and skips": (saved(as_it_is), "remove-skips in.onnx -o out.onnx --skips 1 --stage 1", "skips are named"),
    "wrong choice": (saved(as_it_is), "shorten-skips in.onnx -o out.onnx --keep first", "'last' or 'each'"),
    "not a number": (saved(as_it_is), "remove-skips in.onnx -o out.onnx --stage two", "--stage"),
    "not a list of numbers": (saved(as_it_is), "remove-skips in.onnx -o out.onnx --scores a,b", "--scores 0.5,0.75"),
    "unknown shapes": (two_branches_of_unknown_shape, "shorten-skips in.onnx -o out.onnx", "shape"),
    "unknown operator": (
        saved(unknown_operator),
        "evaluate in.onnx --data digits --limit 8",
        "onnxruntime 1.19.2 cannot load the model",
    ),
    "no gradient": (saved(no_gradient), TRAIN.replace("data.npz", "digits"), "HardSwish"),
    "label out of range": (images((1, 8, 8), list(range(12))), TRAIN, "12 classes"),
    "negative label": (images((1, 8, 8), [0, 1, -1]), TRAIN, "labels go down to -1"),
    "images that do not fit": (images((3, 9, 9), list(range(10))), TRAIN, "takes images of 1x8x8"),
    "images to score that do not fit": (
        images((3, 9, 9), list(range(10))),
        "evaluate in.onnx --data data.npz",
        "takes images of 1x8x8",
    ),
    "no such data set": (saved(as_it_is), TRAIN.replace("data.npz", "cifar1"), "did you mean 'cifar1"),
    "no such teacher": (images((1, 8, 8), list(range(10))), TRAIN + " --teacher no.onnx", "There is no file no.onnx"),
    "no such normalisation": (
        images((1, 8, 8), list(range(10))),
        TRAIN + " --normalisation imagenett",
        "did you mean 'imagenet'",
    ),
    "wrong training option": (saved(as_it_is), TRAIN + " --optimizer sgdd", "'sgd' or 'adamw'"),
    "no such option": (saved(as_it_is), "remove-skips in.onnx --stag 2", "--stage"),
    "no such verb": (nothing, "fold-skip in.onnx", "No such command 'fold-skip'"),
    "no model": (nothing, "remove-skips", "Missing argument 'MODEL.onnx'"),
    "a name that is too long": (saved(as_it_is), f"remove-skips in.onnx -o {'x' * 300}", "File name too long"),
    "a file as run folder": (saved(as_it_is), "run digits --out in.onnx", "in.onnx cannot be used as a folder"),
    "a plot that is no png": (nothing, "compare a b --plot a.svg", "a.svg should end in .png"),
    "no such recipe": (nothing, "run digit", "did you mean 'digits'"),
    "a device as recipe": (nothing, "run /dev/null", "/dev/null is no file but a pipe or a device"),
    "a folder as recipe": (a_folder, "run in.onnx", "in.onnx is a folder; name the recipe file"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(graphops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    prepare, command, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    answer = graphops(*command.split())
    assert answer.code == 2
    assert answer.out == ""
    assert words in answer.err
    assert answer.err.count("\n") == 1, "one sentence"
    assert answer.err.rstrip()[-1] in ".?"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.parametrize("force", [False, True], ids=["new file", "existing file"])
def test_a_full_disk_in_the_real_process(start, tmp_path: Path, force: bool) -> None:
    """A limit on the size of files stops a write in its middle, as a full disk does."""
    saved(as_it_is)(tmp_path)
    target = tmp_path / "out.onnx"
    if force:
        target.write_text("precious")
    command = ("remove-skips", "in.onnx", "-o", "out.onnx", *["--force"] * force)
    process = start(*command, preexec_fn=limit_file_size)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err == (
        "out.onnx was not written, for the disk is full or a size limit is reached; make room or write elsewhere.\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.onnx", *["out.onnx"] * force]
    assert not force or target.read_text() == "precious"
