"""`graphops csim`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hls_backend.hls import headers
from passes.errors import UserError
from tests.graphops.cli.conftest import Graphops
from tests.hls_backend.graphs import Net


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers and a class: 1-bit weights, 2-bit activations."""
    net = Net((1, 4, 4))
    x = net.quant("x", 0.25, 2)
    y = net.quant(net.node("Relu", net.conv(x, 1, 2, bits=1)), 0.5, 2)
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    model = net.model(net.dense(net.node("Flatten", y), 8, 3, bits=2))
    (output,) = model.graph.output
    output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["N", 3]))
    onnx.save(model, path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    np.savez(path, x=rng.integers(0, 256, (60, 1, 4, 4)).astype(np.uint8), y=np.arange(60) % 3)
    return path


def test_csim_compares_every_output(graphops: Graphops, quantised: Path, images: Path, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    try:
        headers.ap_int()
    except UserError as error:
        pytest.skip(str(error))
    build = tmp_path / "build"
    assert graphops("export-hls", quantised, "-o", build).code == 0
    answer = graphops("csim", build, "--data", images, "--count", 6, "--bounded", "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert (found["images"], found["different"], found["bounded"]) == (6, 0, True)
    assert found["outputs"] % 6 == 0
    # The expected outputs in the folder are what is compared with.
    outputs = build / "hls" / "data" / "outputs.txt"
    first, rest = outputs.read_text().split("\n", 1)
    outputs.write_text(" ".join(str(1 - int(n)) for n in first.split()) + "\n" + rest)
    wrong = graphops("csim", build, "--count", 2)
    assert wrong.code == 1
    assert "outputs of 2 images as expected; C++ on our templates." in wrong.out
    total = found["outputs"] // 6
    assert wrong.out.startswith(f"{total} of {2 * total} outputs")


def test_what_cannot_be_is_one_sentence(
    graphops: Graphops, quantised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = tmp_path / "build"
    assert graphops("export-hls", quantised, "-o", build).code == 0
    for arguments, sentence in (
        ((tmp_path,), "There is no build in"),
        ((build, "--depth", "x"), "write STREAM=N"),
        ((build, "--depth", "x=3"), "pass --bounded as well"),
        ((build, "--ap-int", tmp_path), "There is no ap_int.h in"),
        ((build, "--hlslib", tmp_path, "--ap-int", build / "hls" / "simulation"), "There is no bnn-library.h in"),
    ):
        answer = graphops("csim", *arguments)
        assert answer.code == 2
        assert sentence in answer.err
        assert answer.err.count("\n") == 1
    monkeypatch.setenv("CXX", "no-such-compiler")
    answer = graphops("csim", build, "--ap-int", build / "hls" / "simulation")
    assert answer.code == 2
    assert "There is no C++ compiler 'no-such-compiler'" in answer.err
