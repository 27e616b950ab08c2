"""C simulation: to the bit, on bounded streams, and what it says when something is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hls_backend.design import Design
from hls_backend.hls import Program, Simulated, compiled, emit, headers, simulate
from passes.errors import UserError
from tests.hls_backend.hls.conftest import Designer


@dataclass
class Block:
    """A residual block, emitted and compiled.

    Attributes:
        design: of the block.
        folder: of its C++.
        plain, bounded: its programs; the latter of the block with a skip alone.
    """

    design: Design
    folder: Path
    plain: Program
    bounded: Program | None


with_its_skip = pytest.mark.parametrize("block", [True], ids=["skip"], indirect=True)


@pytest.fixture(scope="module", params=[True, False], ids=["skip", "no skip"])
def block(
    request: pytest.FixtureRequest,
    the_block: Designer,
    ap_int: Path,
    hlslib: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Block:
    design, folder = the_block(request.param), tmp_path_factory.mktemp("hls")
    emit(design, folder)
    plain = compiled(folder, ap_int, tmp_path_factory.mktemp("plain"), hlslib=hlslib)
    bounded = None
    if request.param:
        bounded = compiled(folder, ap_int, tmp_path_factory.mktemp("bounded"), hlslib=hlslib, bounded=True)
    return Block(design, folder, plain, bounded)


def equal(found: Simulated, design: Design) -> bool:
    expected = design.vectors.outputs
    return found.different == 0 and np.array_equal(found.outputs, expected.reshape(len(expected), -1))


def test_a_residual_block_to_the_bit(block: Block) -> None:
    assert equal(block.plain.run(), block.design)


def test_a_wrong_output_is_counted(block: Block) -> None:
    expected = block.design.vectors.outputs.copy()
    expected[2, 1, 3, 0] ^= 1
    expected[3, 0, 0, 0] ^= 1
    found = block.plain.run(replace(block.design.vectors, outputs=expected), count=3)
    assert (found.different, len(found.outputs)) == (1, 3)


@with_its_skip
def test_bounded_streams_are_deep_enough_and_a_shallower_skip_hangs(block: Block) -> None:
    assert block.bounded is not None
    assert equal(block.bounded.run(), block.design)
    skip, depth = max((line.split() for line in depths(block.folder)), key=lambda pair: int(pair[1]))
    half = int(depth) // 2
    found = block.bounded.run(depths={skip: half})
    (cause,) = [str(w) for w in found.waiting if w.shallow]
    assert cause.endswith(f"for room in {skip} ({half} of {half})"), "the fork waits"
    assert any(w.reads and "add" in w.layer for w in found.waiting), "the join waits for the main path"
    with pytest.raises(UserError, match="no stream 'nothing'"):
        block.bounded.run(depths={"nothing": 3})


@with_its_skip
def test_windows_read_exactly_as_far_ahead_as_finn_hlslibs(block: Block) -> None:
    """119 words on the skip are what finn-hlslib's own two windows need; a window that reads more needs more."""
    assert block.bounded is not None
    skip, _ = max((line.split() for line in depths(block.folder)), key=lambda pair: int(pair[1]))
    assert block.bounded.run(depths={skip: 118}).waiting
    assert equal(block.bounded.run(depths={skip: 119}), block.design)


def depths(folder: Path) -> list[str]:
    return (folder / "data" / "depths.txt").read_text().splitlines()


def test_what_is_missing_is_named(
    the_block: Designer, tmp_path: Path, ap_int: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hls"
    folder.mkdir()
    emit(the_block(False), folder)
    with pytest.raises(UserError, match=r"no C\+\+ in .*export-hls"):
        simulate(tmp_path, ap_int)
    with pytest.raises(UserError, match=r"no bnn-library.h in .*--hlslib"):
        simulate(folder, ap_int, hlslib=tmp_path)
    with pytest.raises(UserError, match=r"no ap_int.h in .*--ap-int"):
        headers.ap_int(tmp_path)
    with pytest.raises(UserError, match=r"does not compile on the templates in library/: .*ap_common.h"):
        simulate(folder, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"no C\+\+ compiler 'g\+\+'.*install g\+\+"):
        simulate(folder, ap_int)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no-such-compiler"):
        simulate(folder, ap_int)


def test_headers_are_looked_for_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vitis = tmp_path / "vitis" / "include"
    vitis.mkdir(parents=True)
    (vitis / "ap_int.h").touch()
    monkeypatch.setenv("XILINX_HLS", str(vitis.parent))
    assert headers.ap_int() == vitis
    assert headers.ap_int(vitis) == vitis


def test_headers_that_cannot_be_had_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XILINX_HLS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setattr(headers, "_installed", list)
    with pytest.raises(UserError, match=r"pip could not download the wheel hls4ml==1.3.0 .*--ap-int"):
        headers.ap_int(cache=tmp_path)
    assert list(tmp_path.iterdir()) == [], "nothing half-made is left"
