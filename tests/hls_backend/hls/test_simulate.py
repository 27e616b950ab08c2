"""C simulation: to the bit, on bounded streams, and what it says when something is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hls_backend.design import Design
from hls_backend.hls import Simulated, emit, headers, simulate
from passes.errors import UserError
from tests.hls_backend.hls.conftest import Designer


def emitted(design: Design, folder: Path) -> Path:
    folder.mkdir()
    emit(design, folder)
    return folder


def equal(found: Simulated, design: Design) -> bool:
    expected = design.vectors.outputs
    return found.different == 0 and np.array_equal(found.outputs, expected.reshape(len(expected), -1))


@pytest.mark.parametrize("skip", [True, False])
def test_a_residual_block_to_the_bit(
    skip: bool, the_block: Designer, tmp_path: Path, ap_int: Path, hlslib: Path | None
) -> None:
    design = the_block(skip)
    assert equal(simulate(emitted(design, tmp_path / "hls"), ap_int, hlslib=hlslib), design)


def test_bounded_streams_are_deep_enough_and_none_too_deep(
    the_block: Designer, tmp_path: Path, ap_int: Path, hlslib: Path | None
) -> None:
    design = the_block(True)
    folder = emitted(design, tmp_path / "hls")
    depths = dict(line.split() for line in (folder / "data" / "depths.txt").read_text().splitlines())
    ((skip, depth),) = [(name, int(depth)) for name, depth in depths.items() if int(depth) > 2]
    assert equal(simulate(folder, ap_int, hlslib=hlslib, bounded=True), design)
    found = simulate(folder, ap_int, hlslib=hlslib, bounded=True, depths={skip: depth // 2})
    full = {w.stream for w in found.waiting if not w.reads}
    assert skip in full, "the fork waits for room in the skip's stream"
    assert any(w.reads and "add" in w.layer for w in found.waiting), "the join waits for the main path"
    assert f"room in {skip} ({depth // 2} of {depth // 2})" in "; ".join(map(str, found.waiting))


def test_a_wrong_output_is_counted(the_block: Designer, tmp_path: Path, ap_int: Path) -> None:
    design = the_block(False)
    expected = design.vectors.outputs.copy()
    expected[2, 1, 3, 0] ^= 1
    expected[3, 0, 0, 0] ^= 1
    wrong = replace(design.vectors, outputs=expected)
    folder = emitted(design, tmp_path / "hls")
    assert simulate(folder, ap_int, vectors=wrong, count=3).different == 1


def test_what_is_missing_is_named(
    the_block: Designer, tmp_path: Path, ap_int: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = emitted(the_block(False), tmp_path / "hls")
    with pytest.raises(UserError, match=r"no C\+\+ in .*export-hls"):
        simulate(tmp_path, ap_int)
    with pytest.raises(UserError, match=r"no bnn-library.h in .*--hlslib"):
        simulate(folder, ap_int, hlslib=tmp_path)
    with pytest.raises(UserError, match="no stream 'nothing'"):
        simulate(folder, ap_int, bounded=True, depths={"nothing": 3})
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
