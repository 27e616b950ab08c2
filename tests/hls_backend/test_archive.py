"""A dataflow is the same after it was written and read."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from hls_backend import Dataflow, Folding, execute, insert_width_converters, lower
from hls_backend.archive import load, save
from hls_backend.layers import MVAU
from passes.errors import UserError
from tests.hls_backend.graphs import Net


@pytest.fixture
def net() -> Net:
    return Net((4, 6, 6))


@pytest.fixture
def dataflow(net: Net) -> Dataflow:
    """Most kinds of layers, folded, with width converters."""
    x = net.quant("x", 0.25, 4)
    y = net.quant(net.node("Relu", net.conv(x, 4, 4, bits=1, pads=[1] * 4)), 0.3, 2)
    y = net.quant(net.conv(y, 4, 4, bits=4, groups=4, pads=[1] * 4), 0.25, 6, signed=True)
    y = net.quant(net.node("Relu", net.node("Add", y, x)), 0.5, 3)
    y = net.node("GlobalAveragePool", net.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))
    bias = net.value([0.1, 0.2, 0.35])
    found = lower(net.model(net.dense(net.node("Flatten", y), 4, 3, bias=bias))).dataflow
    folds = {layer.name: Folding(pe=2, simd=3) for layer in found.layers if isinstance(layer, MVAU) and layer.mw == 36}
    first, second, *rest = found.streams
    deep = dataclasses.replace(second, depth=17)
    return insert_width_converters(dataclasses.replace(found.fold(folds), streams=(first, deep, *rest)))


def same(a: object, b: object) -> None:
    """Whether two things are equal, field by field."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype  # type: ignore[attr-defined]
    elif dataclasses.is_dataclass(a) and not isinstance(a, type):
        for field in dataclasses.fields(a):
            same(getattr(a, field.name), getattr(b, field.name))
    else:
        assert a == b


def test_it_is_the_same(dataflow: Dataflow, net: Net, tmp_path: Path) -> None:
    save(dataflow, tmp_path)
    again = load(tmp_path)
    for mine, read in zip(dataflow.layers + dataflow.streams, again.layers + again.streams, strict=True):
        same(mine, read)
    images = net.images(5)
    np.testing.assert_array_equal(execute(again, images), execute(dataflow, images))
    assert again.cycles == dataflow.cycles


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no dataflow in .*; make one with `graphops export-hls`"):
        load(tmp_path)


@pytest.mark.parametrize("file", ["dataflow.json", "parameters.npz", "host.onnx"])
def test_damaged_files(file: str, dataflow: Dataflow, tmp_path: Path) -> None:
    save(dataflow, tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="make it again with `graphops export-hls --force`"):
        load(tmp_path)


def test_the_host_s_part_is_missed(dataflow: Dataflow, tmp_path: Path) -> None:
    """Without it, an image's floats would pass for integers."""
    save(dataflow, tmp_path)
    (tmp_path / "host.onnx").unlink()
    with pytest.raises(UserError, match=r"is damaged .*host.onnx"):
        load(tmp_path)
    save(dataclasses.replace(dataflow, host=None), tmp_path)
    assert load(tmp_path).host is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("layers", "folding"), {"pe": 3, "simd": 5}),
        (("layers", "type"), 7),
        (("layers", "name"), None),
        (("streams", "depth"), math.inf),
        (("streams", "depth"), 2**70),
        (("streams",), []),
    ],
)
def test_damaged_values(place: tuple[str, ...], value: object, dataflow: Dataflow, tmp_path: Path) -> None:
    save(dataflow, tmp_path)
    description = json.loads((tmp_path / "dataflow.json").read_text())
    if len(place) == 1:
        description[place[0]] = value
    else:
        next(item for item in description[place[0]] if place[1] in item)[place[1]] = value
    (tmp_path / "dataflow.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="is damaged"):
        load(tmp_path)


def test_nothing_but_layers_and_integers_is_made_of_names(dataflow: Dataflow, tmp_path: Path) -> None:
    save(dataflow, tmp_path)
    path = tmp_path / "dataflow.json"
    for change in ({"kind": "channel_padding"}, {"kind": "os"}, {"type": "FLOAT<5,10,15>"}):
        description = json.loads(path.read_text())
        layer = next(n for n in description["layers"] if n["kind"] == "FMPadding")
        layer |= change
        damaged = tmp_path / "damaged"
        damaged.mkdir(exist_ok=True)
        save(dataflow, damaged)
        (damaged / "dataflow.json").write_text(json.dumps(description))
        with pytest.raises(UserError, match="is damaged"):
            load(damaged)


def test_a_newer_format(dataflow: Dataflow, tmp_path: Path) -> None:
    save(dataflow, tmp_path)
    path = tmp_path / "dataflow.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(UserError, match="another version"):
        load(tmp_path)
