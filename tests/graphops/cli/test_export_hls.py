"""`graphops export-hls` and `graphops execute`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from graphops.calibrate import calibrated
from graphops.data import DataSet
from graphops.evaluate import evaluate
from graphops.hardware import classes, classified
from graphops.modelfile import load_model
from graphops.models import build
from hls_backend import lower
from passes import Quantize
from tests.graphops.cli.conftest import Graphops

MODELS = Path(__file__).parents[3] / "examples" / "models"


@pytest.fixture(scope="module")
def quantised(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained ResNet8 for digits in two bits."""
    network = build("resnet8", width=4, classes=10, image=(1, 8, 8))
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(calibrated(Quantize(weights=2, acts=2), network, digits).apply(network).model, path)
    return path


def test_a_build_for_a_rate(graphops: Graphops, quantised: Path, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    answer = graphops(
        "export-hls", quantised, "-o", folder, "--target-fps", 9000, "--data", "digits", "--count", 3, "--json"
    )
    assert answer.code == 0, answer.err
    found = answer.json
    assert found["fps"] >= 9000
    assert found["finn_fps"] >= 9000
    assert found["part"] == "xc7z020"
    assert 0 < found["luts"] < found["part_luts"]
    assert found["bottleneck"] in {layer["name"] for layer in found["layers"]}
    assert found["vectors"] == {"count": 3, "origin": "the first 3 test images of digits"}
    assert any(layer["fifo_depth"] > 2 for layer in found["layers"])
    assert all((folder / name).is_dir() for name in found["emitters"])

    again = graphops("execute", folder, "--json").json
    assert (again["count"], again["equal"]) == (3, 3)
    scored = graphops("execute", folder, "--data", "digits", "--count", 40, "--json").json
    assert scored["count"] == 40
    assert scored["accuracy"] == scored["correct"] / 40


def test_the_table_names_the_bottleneck(graphops: Graphops, quantised: Path, tmp_path: Path) -> None:
    answer = graphops("export-hls", quantised, "-o", tmp_path / "build", "--target-fps", 5000, "--clock-mhz", 200)
    assert answer.code == 0, answer.err
    assert "images/s at 200 MHz (asked for: 5,000)" in answer.out
    assert "The bottleneck is '" in answer.out
    assert "of the 53,200 LUTs" in answer.out
    assert "random images of integers from -128 to 127, seed 0" in answer.out
    assert max(map(len, answer.out.split("Written")[0].splitlines()[:-4])) <= 100
    said = graphops("execute", tmp_path / "build").out
    assert said.startswith("10 of 10 outputs as stored (10 random images")


def test_outputs_that_are_not_as_stored_fail(graphops: Graphops, quantised: Path, tmp_path: Path) -> None:
    assert graphops("export-hls", quantised, "-o", tmp_path / "build").code == 0
    with np.load(tmp_path / "build" / "vectors.npz") as stored:
        np.savez(tmp_path / "build" / "vectors.npz", inputs=stored["inputs"], outputs=stored["outputs"] + 1)
    answer = graphops("execute", tmp_path / "build")
    assert (answer.code, answer.out.startswith("0 of 10 outputs as stored")) == (1, True)


def test_the_accuracy_is_that_of_the_quantised_graph(
    graphops: Graphops, quantised: Path, digits: DataSet, tmp_path: Path
) -> None:
    from graphops.data.feed import Feed
    from hls_backend.qonnx_execution import execute

    assert graphops("export-hls", quantised, "-o", tmp_path / "build").code == 0
    images = digits.test.first(30)
    model = onnx.load(quantised)
    logits = execute(model, Feed(model, digits)(images.images))["logits"]
    found = graphops("execute", tmp_path / "build", "--data", "digits", "--count", 30, "--json").json
    assert found["correct"] == int((logits.argmax(axis=1) == images.labels).sum())


def test_classes_of_integers_beside_those_of_a_graph(quantised: Path, digits: DataSet) -> None:
    """Here of another network, so that they differ."""
    model, other = onnx.load(quantised), load_model(MODELS / "digits-nonresnet8-w2a2.onnx")
    vectors, found = classified(model, lower(other, "other").dataflow, digits, 40, None)
    theirs, ours = evaluate(model, digits, limit=40), evaluate(other, digits, limit=40)
    equal = int((theirs.predictions == ours.predictions).sum())
    assert found == {"count": 40, "equal": equal, "correct": ours.correct}
    assert theirs.correct != ours.correct != equal
    assert vectors.origin == "the first 40 test images of digits"


def test_classes_go_by_what_the_integers_stand_for() -> None:
    scale, bias = np.array([1.0, 2.0]), np.array([0.0, -4.0])
    stream = SimpleNamespace(source=None, shape=(1, 1, 2), scale=scale, bias=bias)
    integers = np.array([[5, 4], [5, 5]]).reshape(2, 1, 1, 2)  # 5 and 4, 5 and 6
    found = classes(SimpleNamespace(outputs=(stream,)), integers)  # type: ignore[arg-type]
    assert found is not None
    assert found.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--part", "xc7z02"], "There is no part 'xc7z02'; did you mean 'xc7z020'?"),
        (["--target-fps", "9e6"], "the best rate that can be had is"),
        (["--for", "finn"], "--for takes finn-plus or finn-main"),
        (["--data", "nothing"], "nothing"),
    ],
)
def test_bad_options_leave_no_folder(
    options: list[str], said: str, graphops: Graphops, quantised: Path, tmp_path: Path
) -> None:
    answer = graphops("export-hls", quantised, "-o", tmp_path / "build", *options)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_float_model_is_refused(graphops: Graphops, model: Path, tmp_path: Path) -> None:
    answer = graphops("export-hls", model, "-o", tmp_path / "build")
    assert (answer.code, "quantise it first" in answer.err) == (2, True)
    assert not (tmp_path / "build").exists()


def test_an_existing_build_needs_force(graphops: Graphops, quantised: Path, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    assert graphops("export-hls", quantised, "-o", folder).code == 0
    answer = graphops("export-hls", quantised, "-o", folder, "--clock-mhz", 50)
    assert (answer.code, "holds a build already" in answer.err) == (2, True)
    assert graphops("export-hls", quantised, "-o", folder, "--clock-mhz", 50, "--force", "--json").code == 0


def test_images_that_do_not_fit(graphops: Graphops, quantised: Path, tmp_path: Path) -> None:
    data = tmp_path / "large.npz"
    np.savez(data, x=np.zeros((100, 3, 16, 16), np.uint8), y=np.arange(100) % 10)
    answer = graphops("export-hls", quantised, "-o", tmp_path / "build", "--data", data)
    assert (answer.code, "choose a data set or a model that fits" in answer.err) == (2, True), answer.err
    assert graphops("export-hls", quantised, "-o", tmp_path / "build").code == 0
    answer = graphops("execute", tmp_path / "build", "--data", data)
    assert (answer.code, "choose a data set or a model that fits" in answer.err) == (2, True)


@pytest.mark.parametrize("verb", ["execute", "csim", "simulate", "finn check", "export-hls -o out"])
@pytest.mark.parametrize("option", ["--normalisation=bogus", "--data-dir=nowhere"])
def test_options_on_images_need_images(verb: str, option: str, graphops: Graphops, tmp_path: Path) -> None:
    answer = graphops(*verb.split(), tmp_path, option)
    assert answer.code == 2
    assert answer.err.startswith(f"{option.split('=')[0]} is about images of a data set; name the data set with --data")
    assert answer.err.count("\n") == 1


def test_executing_what_is_no_build(graphops: Graphops, tmp_path: Path) -> None:
    answer = graphops("execute", tmp_path)
    assert (answer.code, "There is no build in" in answer.err) == (2, True)
