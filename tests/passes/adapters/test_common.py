"""Options as hosts bring them, from JSON, YAML or keyword arguments."""

from __future__ import annotations

import logging

import onnx
import pytest

from examples.adapters.network import residual
from passes import PassResult, RemoveSkips, ShortenSkips, UserError
from passes.adapters.common import make, run


@pytest.mark.parametrize(
    ("given", "skips"), [(["1", "3.1"], ("1", "3.1")), ([1, 3], ("1", "3")), ("2", ("2",)), (2, ("2",)), ((), ())]
)
def test_skips_are_named_as_json_likes(given: object, skips: tuple[str, ...]) -> None:
    assert make(RemoveSkips, {"skips": given}) == RemoveSkips(skips=skips)


def test_other_options_are_taken_as_they_are() -> None:
    options = {"stage": 1, "order": "sensitivity", "scores": [0.5, 1]}
    assert make(RemoveSkips, options) == RemoveSkips(stage=1, order="sensitivity", scores=(0.5, 1))


def test_a_number_that_lost_its_last_zero_is_refused() -> None:
    with pytest.raises(UserError, match=r"^remove-skips: write skips in quotes, e.g. '3.1', for \[3.1\] are read"):
        make(RemoveSkips, {"skips": [3.10]})


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"^shorten-skips has no option 'kep'; did you mean 'keep'\?$"):
        make(ShortenSkips, {"kep": "last"})


def test_notes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    removed = run(RemoveSkips(skips=("1",)), residual())
    with caplog.at_level(logging.WARNING, "passes"):
        run(RemoveSkips(skips=("1",)), removed.model)
    assert [record.getMessage() for record in caplog.records] == ["remove-skips: Skip 1 is out already."]


def test_the_pass_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    class Noting(RemoveSkips):
        def apply(self, model: onnx.ModelProto) -> PassResult:
            return PassResult(model, False, ("remove-skips: skip 2 at 'join' stays.",))

    with caplog.at_level(logging.WARNING, "passes"):
        run(Noting(), residual())
    assert [record.getMessage() for record in caplog.records] == ["remove-skips: skip 2 at 'join' stays."]
