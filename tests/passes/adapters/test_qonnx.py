"""Passes as qonnx transformations, on float and quantised networks, by the real ModelWrapper."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames
from qonnx.transformation.infer_shapes import InferShapes

from examples.adapters.network import image, joins, residual, run
from passes import FoldConstants, FoldSkips, GateSkips, PassError, RemoveSkips, ShortenSkips
from passes.adapters.qonnx import AsQonnx
from passes.base import Pass

IMAGES = [image(seed) for seed in range(4)]


@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("rewriter", [RemoveSkips(), RemoveSkips(stage=2), ShortenSkips(), GateSkips()])
def test_a_transformation_does_what_the_pass_does(bits: int, rewriter: Pass) -> None:
    model = residual(bits)
    transformed = ModelWrapper(model).transform(AsQonnx(rewriter)).model
    plain = rewriter.apply(residual(bits)).model
    assert joins(transformed) == joins(plain)
    np.testing.assert_array_equal(run(transformed, *IMAGES), run(plain, *IMAGES))


def test_the_wrapper_given_keeps_its_model() -> None:
    wrapper = ModelWrapper(residual(4))
    before = wrapper.model.SerializeToString(deterministic=True)
    wrapper.transform(AsQonnx(RemoveSkips()))
    assert wrapper.model.SerializeToString(deterministic=True) == before


def test_it_stands_between_other_transformations() -> None:
    wrapper = ModelWrapper(residual(4))
    for transformation in (
        InferShapes(),
        GiveUniqueNodeNames(),
        AsQonnx(RemoveSkips(stage=1)),
        GiveReadableTensorNames(),
        AsQonnx(RemoveSkips(skips=("3",))),
        InferShapes(),
    ):
        wrapper = wrapper.transform(transformation)
    assert joins(wrapper.model) == 1
    expected = RemoveSkips(skips=("1", "3")).apply(residual(4)).model
    np.testing.assert_array_equal(run(wrapper.model, *IMAGES), run(expected, *IMAGES))


def test_stages_after_one_another_equal_the_last_alone() -> None:
    wrapper = ModelWrapper(residual(4))
    for stage in (1, 2):
        wrapper = wrapper.transform(AsQonnx(RemoveSkips(stage=stage)))
    expected = RemoveSkips(stage=2).apply(residual(4)).model
    np.testing.assert_array_equal(run(wrapper.model, *IMAGES), run(expected, *IMAGES))


def test_one_application_is_enough_and_says_so() -> None:
    transformation = AsQonnx(RemoveSkips())
    wrapper, again = transformation.apply(ModelWrapper(residual()))
    assert (transformation.changed, again) == (True, False)
    transformation.apply(wrapper)
    assert not transformation.changed


def test_notes_are_kept() -> None:
    transformation = AsQonnx(RemoveSkips(skips=("2",)))
    wrapper = ModelWrapper(residual()).transform(transformation)
    assert transformation.notes == ()
    wrapper.transform(transformation)
    assert transformation.notes == ("Skip 2 is out already.",)


def test_what_a_pass_must_leave_does_not_stop_the_rest() -> None:
    short = ShortenSkips(skips=("1", "2")).apply(residual()).model
    transformation = AsQonnx(FoldSkips())
    folded = ModelWrapper(short).transform(transformation).model
    assert joins(folded) == 1
    assert "skip 3 at 'block3_join': its main path spans 2 layers" in transformation.notes[0]
    np.testing.assert_allclose(run(folded, *IMAGES), run(short, *IMAGES), rtol=1e-4, atol=1e-5)


def test_a_refusal_comes_through_as_it_is() -> None:
    with pytest.raises(PassError, match="the graph has no such skip"):
        ModelWrapper(residual()).transform(AsQonnx(RemoveSkips(skips=("7",))))


def test_a_pass_may_read_weights() -> None:
    model = residual()
    folded = ModelWrapper(model).transform(AsQonnx(FoldConstants())).model
    onnx.checker.check_model(folded, full_check=True)
    np.testing.assert_array_equal(run(folded, *IMAGES), run(model, *IMAGES))
