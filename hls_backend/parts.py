"""The AMD (Xilinx) parts that a design can be estimated for, and what each holds.

Sources: DS190 (Zynq-7000), DS180 (7 series), DS891 (Zynq UltraScale+), DS987 (Kria K26), DS962 and DS965 (Alveo U200,
U250, U280 and U50). A block of 36 kbit counts as two of 18.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from passes.errors import UserError


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        name: as ``--part`` takes it, e.g. ``"xc7z020"``.
        luts: LUT6.
        ffs: flip-flops.
        bram18: blocks of 18 kbit.
        dsps: multiplying slices.
        device: the part on a common board, with package and speed grade, as Vivado and Vitis want it.
    """

    name: str
    luts: int
    ffs: int
    bram18: int
    dsps: int
    device: str

    @property
    def family(self) -> str:
        """As Yosys calls it: 7 series or UltraScale+; no part here is of another."""
        return "xc7" if self.name.startswith("xc7") else "xcup"


_PARTS = {
    part.name: part
    for part in (
        Part("xc7z010", 17_600, 35_200, 120, 80, "xc7z010clg400-1"),
        Part("xc7z020", 53_200, 106_400, 280, 220, "xc7z020clg400-1"),
        Part("xc7z030", 78_600, 157_200, 530, 400, "xc7z030ffg676-1"),
        Part("xc7z045", 218_600, 437_200, 1_090, 900, "xc7z045ffg900-2"),
        Part("xc7z100", 277_400, 554_800, 1_510, 2_020, "xc7z100ffg900-2"),
        Part("xc7a35t", 20_800, 41_600, 100, 90, "xc7a35ticsg324-1L"),
        Part("xc7a100t", 63_400, 126_800, 270, 240, "xc7a100tcsg324-1"),
        Part("xc7k325t", 203_800, 407_600, 890, 840, "xc7k325tffg900-2"),
        Part("xczu3eg", 70_560, 141_120, 432, 360, "xczu3eg-sbva484-1-e"),
        Part("xczu5ev", 117_120, 234_240, 288, 1_248, "xczu5ev-sfvc784-1-e"),
        Part("xczu7ev", 230_400, 460_800, 624, 1_728, "xczu7ev-ffvc1156-2-e"),
        Part("xczu9eg", 274_080, 548_160, 1_824, 2_520, "xczu9eg-ffvb1156-2-e"),
        Part("xczu28dr", 425_280, 850_560, 2_160, 4_272, "xczu28dr-ffvg1517-2-e"),
        Part("xck26", 117_120, 234_240, 288, 1_248, "xck26-sfvc784-2LV-c"),
        Part("xcu50", 872_000, 1_743_000, 2_688, 5_952, "xcu50-fsvh2104-2-e"),
        Part("xcu200", 1_182_000, 2_364_000, 4_320, 6_840, "xcu200-fsgd2104-2-e"),
        Part("xcu250", 1_728_000, 3_456_000, 5_376, 12_288, "xcu250-figd2104-2L-e"),
        Part("xcu280", 1_304_000, 2_607_000, 4_032, 9_024, "xcu280-fsvh2892-2L-e"),
    )
}

_PACKAGE = re.compile(r"([a-z][a-z0-9]*)?(-[a-z0-9]+)+")
"""Package and speed grade; they go into Tcl, so they are nothing else."""


def parts() -> list[str]:
    """The names of the parts."""
    return list(_PARTS)


def part(name: str) -> Part:
    """The part called ``name``; package and speed grade may follow, and are then the device's.

    Raises:
        UserError: for an unknown part, with the nearest name.
    """
    wanted = name.strip().lower()
    for known in _PARTS.values():
        if wanted in (known.name, known.device.lower()):  # in which some letters are large
            return known
    for known in sorted(_PARTS.values(), key=lambda p: -len(p.name)):
        rest = wanted.removeprefix(known.name)
        if rest != wanted and _PACKAGE.fullmatch(rest):
            return replace(known, device=wanted)
    near = difflib.get_close_matches(wanted, _PARTS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"There is no part {name!r}; {hint}the parts are {', '.join(_PARTS)}.")
