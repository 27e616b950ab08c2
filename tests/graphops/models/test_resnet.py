"""The residual networks: their shape, their skip connections, their first weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from graphops.models import nonresnet, resnet, shortresnet
from graphops.statistics import operators, parameters
from passes.errors import UserError
from passes.skips import find_skips

Family = Callable[..., onnx.ModelProto]
FAMILIES = [resnet, shortresnet, nonresnet]


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images})
    return np.asarray(logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("image", [(3, 32, 32), (1, 8, 8), (2, 7, 9), (3, 1, 1)])
def test_every_network_is_valid_onnx_and_runs(family: Family, shortcut: str, image: tuple[int, int, int]) -> None:
    model = family(depth=8, width=4, classes=7, image=image, shortcut=shortcut)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    logits = run(model, np.random.default_rng(0).standard_normal((5, *image), np.float32))
    assert logits.shape == (5, 7)
    assert np.isfinite(logits).all()
    assert logits.std() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_nodes_have_names_and_attributes_are_explicit(family: Family) -> None:
    model = family(depth=14, shortcut="B")
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert {a.name for a in node.attribute} == {"dilations", "group", "kernel_shape", "pads", "strides"}


def test_a_resnet20_has_the_published_size() -> None:
    """He et al. 2016, table 6: 0.27 M parameters, 1.7 M for 110 layers."""
    assert parameters(resnet(20)) == 269_722
    assert parameters(resnet(110)) == 1_727_962
    assert operators(resnet(20))["Conv"] == 19
    assert operators(resnet(20))["Gemm"] == 1


def test_a_resnet_skips_both_convolutions_of_a_block() -> None:
    skips = find_skips(resnet(20, shortcut="A"))
    assert [skip.kind for skip in skips] == ["identity"] * 3 + (["padding"] + ["identity"] * 2) * 2
    assert [skip.span for skip in skips] == [2] * 9
    assert sum(skip.kind == "projection" for skip in find_skips(resnet(20, shortcut="B"))) == 2


def test_a_shortresnet_skips_the_second_convolution_of_a_block() -> None:
    skips = find_skips(shortresnet(20))
    assert len(skips) == 9
    assert all((skip.kind, skip.span, skip.linear) == ("identity", 1, True) for skip in skips)


def test_a_nonresnet_skips_nothing() -> None:
    assert find_skips(nonresnet(20)) == []
    assert "Add" not in operators(nonresnet(20))


def test_option_a_takes_every_second_pixel_between_channels_of_zeros() -> None:
    model = resnet(8, width=2, image=(1, 5, 5), shortcut="A")
    shortcut = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(
        ["layer1.0.out"], ["layer2.0.shortcut.pad.out"]
    )
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 5), np.float32)
    session = onnxruntime.InferenceSession(shortcut.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"layer1.0.out": x})
    assert y.shape == (1, 4, 3, 3)
    assert np.array_equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert not y[:, [0, 3]].any()


def test_every_join_comes_before_its_relu() -> None:
    for model in (resnet(14), shortresnet(14)):
        readers = {name: node.op_type for node in model.graph.node for name in node.input}
        assert {readers[node.output[0]] for node in model.graph.node if node.op_type == "Add"} == {"Relu"}


def test_weights_are_he_normal() -> None:
    for name, weight in weights(resnet(20, width=32)).items():
        if weight.ndim == 4:
            expected = np.sqrt(2 / np.prod(weight.shape[1:]))
            assert abs(weight.std() / expected - 1) < 0.1, name
            assert abs(weight.mean()) < 0.1 * expected, name


def test_the_seed_fixes_the_weights_and_all_three_networks_share_them() -> None:
    first, same, other = weights(resnet(8)), weights(resnet(8)), weights(resnet(8, seed=1))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert not np.array_equal(first["conv1.weight"], other["conv1.weight"])
    assert not np.array_equal(first["layer1.0.conv1.weight"], first["layer1.0.conv2.weight"])
    for relative in (weights(shortresnet(8)), weights(nonresnet(8))):
        assert all(np.array_equal(first[name], value) for name, value in relative.items())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"depth": 21}, "cannot have 21 layers; depths are 6n \\+ 2: take 20 or 26"),
        ({"depth": 2}, "cannot have 2 layers; depths are 6n \\+ 2: take 8, 14 or 20"),
        ({"depth": -4}, "cannot have -4 layers"),
        ({"width": 0}, "width=0; give at least 1"),
        ({"classes": 1}, "classes=1; give at least 2"),
        ({"seed": -1}, "seed=-1"),
        ({"image": (3, 32)}, r"images of \(3, 32\)"),
        ({"image": (3, 0, 32)}, r"images of \(3, 0, 32\)"),
        ({"shortcut": "C"}, "no shortcut 'C'; take 'A'"),
    ],
)
def test_what_cannot_be_built_is_refused(family: Family, options: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why):
        family(**options)
