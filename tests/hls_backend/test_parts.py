"""Parts by name."""

from __future__ import annotations

import pytest

from hls_backend.parts import part, parts
from passes.errors import UserError


def test_a_part_by_its_name() -> None:
    found = part("XC7Z020")
    assert (found.name, found.luts, found.bram18) == ("xc7z020", 53_200, 280)
    assert all(part(name).name == name for name in parts())


@pytest.mark.parametrize("name", parts())
def test_the_device_on_a_common_board_is_spelled_as_amd_does(name: str) -> None:
    """Builds keep it, and it goes into Tcl."""
    assert part(part(name).device) == part(name)


def test_package_and_speed_grade_may_follow() -> None:
    found = part("xczu7ev-ffvc1156-2-e")
    assert (found.name, found.device) == ("xczu7ev", "xczu7ev-ffvc1156-2-e")
    assert part("xc7z020clg484-3").device == "xc7z020clg484-3"
    with pytest.raises(UserError, match="There is no part"):
        part("xc7z020clg484-3; exec rm")


@pytest.mark.parametrize(("name", "near"), [("xc7z02", "xc7z020"), ("xczu7e", "xczu7ev"), ("xc7z0200", "xc7z020")])
def test_an_unknown_part_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"There is no part '{name}'; did you mean '{near}'"):
        part(name)


def test_a_part_is_of_a_family_that_yosys_knows() -> None:
    wanted = {"xc7z020": "xc7", "xc7k325t": "xc7", "xczu7ev": "xcup", "xck26": "xcup", "xcu250": "xcup"}
    assert {name: part(name).family for name in wanted} == wanted
