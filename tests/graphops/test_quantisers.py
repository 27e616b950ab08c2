"""QONNX's quantisers in standard operators give what qonnx itself gives, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphops.inference import session
from graphops.quantisers import standard, with_shapes
from hls_backend.qonnx_execution import execute
from passes.errors import ModelError

DOMAIN = "qonnx.custom_op.general"
MODES = ["ROUND", "half_even", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]


def one(
    kind: str = "Quant",
    scale: object = 0.3,
    zero: object = 0.0,
    bits: object = 3.0,
    opset: int = 17,
    domain: str = DOMAIN,
    **attributes: object,
) -> onnx.ModelProto:
    """A model of one quantiser on x [N, 3, 4]."""
    values = {"scale": scale} | ({"zero": zero, "bits": bits} if kind != "BipolarQuant" else {})
    node = helper.make_node(kind, ["x", *values], ["y"], name="q", domain=domain, **attributes)
    tensors = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 3, 4]), ("y", None))
    ]
    constants = [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in values.items()]
    graph = helper.make_graph([node], "one", tensors[:1], tensors[1:], constants)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(domain, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def numbers(scale: object) -> np.ndarray:
    """Numbers within and far beyond any grid, and all near its boundaries."""
    rng = np.random.default_rng(0)
    wide = rng.normal(size=240) * np.exp(rng.normal(size=240) * 3)
    halves = np.concatenate([np.arange(-12, 12) / 2 + d for d in (-1e-6, 0, 1e-6)]) * np.max(scale)
    return np.concatenate([wide, halves]).astype(np.float32).reshape(-1, 3, 4)


def assert_equal(model: onnx.ModelProto, images: np.ndarray) -> None:
    (ours,) = session(model).run(None, {"x": images})
    np.testing.assert_array_equal(ours, execute(model, images)["y"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 24])
def test_every_rounding_mode(mode: str, bits: int) -> None:
    for signed in (0, 1):
        for narrow in (0, 1) if bits > 1 else (0,):
            model = one(bits=bits, signed=signed, narrow=narrow, rounding_mode=mode)
            assert_equal(model, numbers(0.3))


@pytest.mark.parametrize("kind", ["Quant", "IntQuant"])
@pytest.mark.parametrize("domain", [DOMAIN, "onnx.brevitas"])
def test_a_zero_point_and_a_scale_a_channel(kind: str, domain: str) -> None:
    scale = np.array([0.1, 0.7, 3.0]).reshape(1, 3, 1)
    model = one(kind, scale, zero=5, bits=4, signed=0, narrow=0, domain=domain)
    images = numbers(scale)
    (ours,) = session(model).run(None, {"x": images})
    if domain == DOMAIN and kind == "Quant":
        np.testing.assert_array_equal(ours, execute(model, images)["y"])
    levels = np.clip(np.round(np.clip(images / scale.astype(np.float32) + np.float32(5), 0, 15)), 0, 15)
    np.testing.assert_array_equal(ours, (levels - 5).astype(np.float32) * scale.astype(np.float32))


def test_bipolar_quantisers_take_the_sign() -> None:
    model = one("BipolarQuant", 0.25)
    assert_equal(model, numbers(0.25))
    (values,) = session(model).run(None, {"x": np.array([-2, -0.0, 0, 3] * 3, np.float32).reshape(1, 3, 4)})
    assert values.reshape(-1)[:4].tolist() == [-0.25, 0.25, 0.25, 0.25]


def test_graphs_of_old_opsets_run_as_well() -> None:
    model = one(bits=4, signed=1, narrow=1, opset=9)
    new = one(bits=4, signed=1, narrow=1)
    images = numbers(0.3)
    np.testing.assert_array_equal(*(session(m).run(None, {"x": images})[0] for m in (model, new)))


def test_a_model_without_quantisers_is_the_same_object() -> None:
    model = one()
    plain = standard(model)
    assert standard(plain) is plain
    assert {n.domain for n in plain.graph.node} == {""}
    assert model.graph.node[0].op_type == "Quant", "the model given is not changed"


def test_shapes_are_found_behind_quantisers() -> None:
    model = one()
    model.graph.node.append(helper.make_node("Flatten", ["y"], ["z"]))
    inferred = with_shapes(model)
    found = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.graph.value_info}
    assert found["z"][1] == 12
    assert inferred.graph.node[0] == model.graph.node[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bits": [2.0, 3.0, 4.0]}, r"Quant 'q' has the bit width \[2.0, 3.0, 4.0\]; give it one whole number"),
        ({"bits": 2.5}, "give it one whole number"),
        ({"rounding_mode": "SIDEWAYS"}, "rounds by 'SIDEWAYS', which qonnx does not know"),
    ],
)
def test_what_makes_no_grid_is_said(change: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        standard(one(**change))  # type: ignore[arg-type]


def test_a_bit_width_that_is_computed_is_refused() -> None:
    model = one()
    model.graph.node[0].input[3] = "x"
    with pytest.raises(ModelError, match="has a bit width that is not constant; freeze the quantisers"):
        standard(model)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda node: node.input.pop(),
        lambda node: node.output.pop(),
        lambda node: node.input.__setitem__(1, ""),
        lambda node: node.attribute.append(helper.make_attribute("rounding_mode", 3)),
        lambda node: node.attribute.append(helper.make_attribute("rounding_mode", b"\xff\xfe")),
    ],
)
def test_garbled_quantisers_are_one_sentence(spoil: Callable[[onnx.NodeProto], object]) -> None:
    model = one()
    spoil(model.graph.node[0])
    with pytest.raises(ModelError) as caught:
        session(model)
    assert "\n" not in str(caught.value)


def test_a_bit_width_that_is_a_text_is_one_sentence() -> None:
    model = one()
    bits = next(i for i in model.graph.initializer if i.name == "bits")
    bits.CopyFrom(helper.make_tensor("bits", onnx.TensorProto.STRING, [], [b"four"]))
    with pytest.raises(ModelError, match="has a bit width that is no number"):
        session(model)
