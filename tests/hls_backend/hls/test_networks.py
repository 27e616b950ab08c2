"""A whole network in C simulation, on bounded streams, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from graphops.data import DataSet
from graphops.data.feed import Feed
from hls_backend import Dataflow, lower
from hls_backend.design import Design
from hls_backend.folding import fold_to_rate
from hls_backend.hls import emit, simulate
from hls_backend.layers import LabelSelect
from hls_backend.parts import part
from hls_backend.vectors import from_images

MODEL = Path(__file__).parents[3] / "examples" / "models" / "digits-resnet8-w2a2.onnx"


def without_label(dataflow: Dataflow) -> Dataflow:
    """The same up to the numbers that the class is chosen by."""
    last = dataflow.layers[-1]
    assert isinstance(last, LabelSelect)
    (read,) = dataflow.inputs_of(last)
    streams = [
        replace(s, target=None) if s is read else s for s in dataflow.streams if s.target is not None or s is read
    ]
    return replace(dataflow, layers=dataflow.layers[:-1], streams=tuple(streams))


def test_a_resnet8_of_digits(digits: DataSet, tmp_path: Path, ap_int: Path, hlslib: Path | None) -> None:
    model = onnx.load(MODEL)
    chosen = part("xc7z020")
    dataflow = without_label(fold_to_rate(lower(model).dataflow, 5_000, 100, chosen))
    images = Feed(model, digits)(digits.test.images[:100])
    vectors = from_images(dataflow, images, "digits")
    assert vectors.outputs.shape == (100, 1, 1, 10)
    emit(Design(dataflow, chosen, 100, 5_000, "finn-plus", vectors), tmp_path)
    found = simulate(tmp_path, ap_int, hlslib=hlslib, bounded=True)
    assert found.waiting == ()
    assert found.different == 0
    assert np.array_equal(found.outputs, vectors.outputs.reshape(100, 10))
