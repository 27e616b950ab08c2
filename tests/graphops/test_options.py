"""Fields of a dataclass as options."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import ClassVar, Literal

import pytest

from graphops.options import make, options, summary
from passes.errors import UserError


@dataclass(frozen=True)
class Example:
    """Does a thing,
    over two lines. And more.

    Long text.

    Options:
        count: how many, a text
            of two lines.
        side: which ``side``.
    """

    name: ClassVar[str] = "example"

    count: int
    side: Literal["left", "right"] = "left"
    skips: tuple[str, ...] = ()
    weights: tuple[float, ...] = field(default=(1.0,), metadata={"help": "in metadata"})
    limit: int | None = None


def test_options_are_read_off_the_fields() -> None:
    count, side, skips, weights, limit = options(Example)
    assert (count.name, count.type, count.many, count.default) == ("count", int, False, MISSING)
    assert count.help == "how many, a text of two lines."
    assert (side.type, side.choices, side.help) == (str, ("left", "right"), "which side.")
    assert (skips.type, skips.many, skips.default) == (str, True, ())
    assert (weights.type, weights.help) == (float, "in metadata")
    assert limit.type is int
    assert summary(Example) == "Does a thing, over two lines. And more."


def test_values_are_checked_and_made() -> None:
    made = make(Example, {"count": 2, "skips": [1, "3.1"], "weights": [1, 2.5]}, "here")
    assert made == Example(2, skips=("1", "3.1"), weights=(1.0, 2.5))
    assert make(Example, {"count": 1, "skips": 4}, "here").skips == ("4",)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"cuont": 1}, "here has no option 'cuont'; did you mean 'count'?"),
        ({}, "here needs the option 'count'; give it."),
        ({"count": "many"}, "here: count is 'many', but should be a valid integer"),
        ({"count": 1, "side": "up"}, "here: side is 'up', but should be 'left' or 'right'."),
        ({"count": 1, "skips": [3.1]}, "here: write skips in quotes, e.g. '3.1'"),
        ({"count": 1, "weights": ["a"]}, "here: weights.0 is 'a'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        make(Example, values, "here")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
