"""Networks by name."""

from __future__ import annotations

import pytest

from graphops.models import build, resnet, shortresnet
from passes.errors import UserError


def test_a_name_is_a_family_and_a_depth() -> None:
    assert build("shortresnet8", width=4) == shortresnet(8, width=4)
    assert build("resnet14", image=[1, 8, 8]) == resnet(14, image=(1, 8, 8))
    assert build("nonresnet8").graph.name == "nonresnet8"


def test_the_depth_may_be_an_option() -> None:
    assert build("resnet", depth=8) == build("resnet8") == build("resnet8", depth=8)
    assert build("resnet") == build("resnet20")


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("resnt20", {}, "no network called 'resnt20'; did you mean 'resnet20'"),
        ("vgg16", {}, "there are resnet20, shortresnet20 and nonresnet20"),
        ("", {}, "no network called ''"),
        ("resnet21", {}, "take 20 or 26"),
        ("resnet20", {"depth": 26}, "resnet20 cannot have depth=26"),
        ("resnet20", {"widht": 4}, "resnet20 has no option 'widht'; did you mean 'width'"),
        ("resnet20", {"zzz": 4}, "there are depth, width"),
    ],
)
def test_what_is_not_known_is_refused(name: str, options: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why):
        build(name, **options)
