"""The folder that FINN goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hls_backend.dataflow import Flavour
from hls_backend.finn import emit
from hls_backend.finn.graph import for_finn
from tests.hls_backend.finn.conftest import Designer


def emitted(folder: Path) -> tuple[onnx.ModelProto, dict[str, Any]]:
    return onnx.load(folder / "model.onnx"), {p.stem: json.loads(p.read_text()) for p in folder.glob("*.json")}


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def test_a_node_a_layer_with_integers_of_annotated_types(the_block: Designer, tmp_path: Path) -> None:
    design = the_block()
    emit(design, tmp_path)
    model, _ = emitted(tmp_path)
    assert {n.doc_string for n in model.graph.node} == {layer.name for layer in design.dataflow.layers}
    assert [n.name for n in model.graph.node] == [
        "DuplicateStreams_0",
        "FMPadding_0",
        "ConvolutionInputGenerator_0",
        "MVAU_0",
        "Thresholding_0",
        "FMPadding_1",
        "ConvolutionInputGenerator_1",
        "MVAU_1",
        "Thresholding_1",
        "ElementwiseAdd_0",
        "Thresholding_2",
    ]
    types = {a.tensor_name: a.quant_parameter_tensor_names[0].value for a in model.graph.quantization_annotation}
    for stream in design.dataflow.streams:
        assert types[stream.name] == stream.type.name
    for tensor in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        assert [d.dim_value for d in tensor.type.tensor_type.shape.dim] == [1, *model_shape(design, tensor.name)]
    for parameter in model.graph.initializer:
        values = numpy_helper.to_array(parameter)
        assert values.dtype == np.float32
        assert (values == np.rint(values)).all()
        assert types[parameter.name] in ("BIPOLAR", *(f"INT{bits}" for bits in range(2, 12)))


def model_shape(design: Any, tensor: str) -> tuple[int, ...]:
    return next(s.shape for s in design.dataflow.streams if s.name == tensor)


@pytest.mark.parametrize("flavour", ["finn-plus", "finn-main"])
def test_the_settings_name_every_node_and_fold_it(the_block: Designer, tmp_path: Path, flavour: Flavour) -> None:
    design = the_block(flavour=flavour)
    emit(design, tmp_path)
    model, files = emitted(tmp_path)
    nodes = {n.name: attributes(n) for n in model.graph.node}
    docs = {n.name: n.doc_string for n in model.graph.node}
    assert set(files["specialize"]) == {"Defaults", *nodes}
    specialised = [
        n for n in files["folding"] if not n.startswith(("Defaults", "StreamingFIFO"))
    ]  # in the order of the nodes
    assert len(specialised) == len(nodes)
    for (name, found), folded in zip(nodes.items(), specialised, strict=True):
        style = files["specialize"][name]["preferred_impl_style"]
        assert folded.rsplit("_", 2)[:2] == [name.rsplit("_", 1)[0], style]
        layer = next(n for n in for_finn(design.dataflow, flavour).layers if n.name == docs[name])
        wanted = {"PE": layer.folding.pe, "SIMD": layer.folding.simd}
        for parallelism, value in wanted.items():
            assert files["folding"][folded].get(parallelism) == (value if parallelism in found else None)
            assert found.get(parallelism, 1) == 1, "so that it is this file that folds"
    assert files["specialize"]["MVAU_0"]["preferred_impl_style"] == "hls", "1-bit weights need no multipliers"


def test_the_build_finds_its_files(the_block: Designer, tmp_path: Path) -> None:
    design = the_block()
    emit(design, tmp_path)
    settings = emitted(tmp_path)[1]["dataflow_build"]
    for key, value in settings.items():
        if key.endswith(("_file", "_npy")):
            assert (tmp_path / value).is_file()
    assert settings["synth_clk_period_ns"] == 10
    assert settings["fpga_part"] == "xc7z020clg400-1"
    inputs, outputs = np.load(tmp_path / "input.npy"), np.load(tmp_path / "output.npy")
    np.testing.assert_array_equal(inputs, design.vectors.inputs[: len(inputs)])
    np.testing.assert_array_equal(outputs, design.vectors.outputs[: len(inputs)])
    assert len(inputs) == 4, "as RTL simulation takes long"


def test_what_has_not_been_run_is_said(the_block: Designer, tmp_path: Path) -> None:
    emit(the_block(flavour="finn-main"), tmp_path)
    assert "`graphops finn check` does not run them" in (tmp_path / "README.md").read_text()
    compile((tmp_path / "build.py").read_text(), "build.py", "exec")
