"""What FINN+ found, beside what is expected of it."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hls_backend.design import Design
from hls_backend.execute import run
from hls_backend.finn import emit
from hls_backend.finn.check import check, judge
from hls_backend.finn.environment import Environment
from hls_backend.finn.fifos import inserted
from hls_backend.finn.graph import for_finn, node_names
from hls_backend.finn.inside import digest
from passes.errors import UserError
from tests.hls_backend.finn.conftest import Designer

Finding = dict[str, Any]


def digests(design: Design) -> dict[str, list[str]]:
    values = run(design.dataflow, design.vectors.inputs, keep=True)
    return {name: [digest(image) for image in images] for name, images in values.items()}


def perfect(design: Design) -> Finding:
    """What FINN+ would find where all is as it must be."""
    dataflow = for_finn(design.dataflow, design.flavour)
    names = node_names(dataflow, design.flavour, design.part.device)
    nodes = [{"name": names[n.name], "cycles": n.finn_cycles, "files": 2, "error": ""} for n in dataflow.layers]
    joints = [{"name": "StreamingFIFO_rtl_0", "cycles": 0, "files": 1, "error": ""}]
    return {
        "version": "1.6.1",
        "tensors": digests(design),
        "verified": True,
        "nodes": nodes,
        "fifos": inserted(dataflow),
        "joints": joints,
    }


def wrong_integer(found: Finding) -> None:
    list(found["tensors"].values())[-1][1] = digest(np.zeros(3))


def wrong_cycles(found: Finding) -> None:
    found["nodes"][3]["cycles"] += 1


def no_code(found: Finding) -> None:
    found["nodes"][2] |= {"files": 0, "error": "KeyError: 'ram_style'"}


def no_node(found: Finding) -> None:
    del found["nodes"][0]


def no_fifo(found: Finding) -> None:
    found["joints"][0]["files"] = 0


def shallow_fifo(found: Finding) -> None:
    found["fifos"][1] = 2


def not_verified(found: Finding) -> None:
    found["verified"] = False


def test_all_as_it_must_be(the_block: Designer) -> None:
    design = the_block()
    judged = judge(design, digests(design), perfect(design))
    assert judged.complaints == []
    assert judged.images == 6
    assert {row.layer for row in judged.rows} == {layer.name for layer in design.dataflow.layers}
    assert all(row.equal == 6 and row.cycles == row.finn_cycles > 0 for row in judged.rows)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (wrong_integer, "Thresholding_rtl_2 differs from numpy on 1 of 6 images"),
        (wrong_cycles, "MVAU_hls_0 takes 18,433 cycles by FINN. and 18,432 by ours"),
        (no_code, "no code for ConvolutionInputGenerator_rtl_0: KeyError: 'ram_style'"),
        (no_node, "no code for DuplicateStreams_hls_0: it has no node of that name"),
        (no_fifo, "no code for StreamingFIFO_rtl_0: it wrote no files"),
        (shallow_fifo, r"FIFOs \[2, 2, 2"),
        (not_verified, "own verification"),
    ],
)
def test_what_is_not_is_said(the_block: Designer, spoil: Callable[[Finding], None], complaint: str) -> None:
    design = the_block()
    found = perfect(design)
    spoil(found)
    complaints = judge(design, digests(design), found).complaints
    assert complaints
    assert any(re.search(complaint, said) for said in complaints), complaints


def speaking(environment: Environment, tmp_path: Path, found: Finding) -> Environment:
    """An interpreter that says ``found`` when it is asked to run anything."""
    (tmp_path / "found.json").write_text(json.dumps({"found": found}))
    script = tmp_path / "speak.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "images, work, pipe = sys.argv[-3:]\n"
        "assert pathlib.Path('model.onnx').is_file() and pathlib.Path(images).is_file()\n"
        "with os.fdopen(int(pipe), 'w') as out:\n"
        '    print(\'{"step": "talking", "done": 1, "of": 2}\', file=out)\n'
        f"    print(pathlib.Path({str(tmp_path / 'found.json')!r}).read_text(), file=out)\n"
    )
    environment.python.unlink()
    environment.python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    environment.python.chmod(0o755)
    return environment


def test_it_runs_in_the_folder_and_tells_its_progress(
    the_block: Designer, an_environment: Environment, tmp_path: Path
) -> None:
    design = the_block()
    (folder := tmp_path / "finn").mkdir()
    emit(design, folder)
    steps: list[str] = []
    judged = check(
        design,
        folder,
        speaking(an_environment, tmp_path, perfect(design)),
        design.vectors.inputs,
        lambda done, total, text: steps.append(text),
    )
    assert judged.complaints == []
    assert steps == ["numpy", "talking"]


def test_finn_s_last_words_are_passed_on(
    the_block: Designer, an_environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where its log stays
    design = the_block()
    (folder := tmp_path / "finn").mkdir()
    emit(design, folder)
    with pytest.raises(UserError, match=r"FINN\+ stopped while starting FINN\+.*No module named 'finn'.*log.txt"):
        check(design, folder, an_environment, design.vectors.inputs)


def test_what_is_for_finn_itself_is_refused(the_block: Designer, an_environment: Environment, tmp_path: Path) -> None:
    design = the_block(flavour="finn-main")
    with pytest.raises(UserError, match="--for finn-plus"):
        check(design, tmp_path, an_environment, design.vectors.inputs)


def test_a_folder_without_a_model_is_refused(the_block: Designer, an_environment: Environment, tmp_path: Path) -> None:
    design = the_block()
    with pytest.raises(UserError, match=r"no model\.onnx"):
        check(design, tmp_path, an_environment, design.vectors.inputs)


def test_integers_have_one_digest_whatever_their_type() -> None:
    values = np.arange(-3, 3)
    assert digest(values) == digest(values.astype(np.float32)) == digest(values.astype(np.int8))
    assert digest(values) != digest(values[::-1])
    assert digest(values + 0.5) == ""


@pytest.mark.parametrize("skip", [True, False])
def test_finn_plus_agrees(the_block: Designer, finn_plus: Environment, tmp_path: Path, skip: bool) -> None:
    design = the_block(skip)
    (folder := tmp_path / "finn").mkdir()
    emit(design, folder)
    judged = check(design, folder, finn_plus, design.vectors.inputs)
    assert judged.complaints == []
    assert judged.verified
    assert judged.images == 6
    assert len(judged.joints) == len(judged.found) + sum("WidthConverter" in row.node for row in judged.joints)
    assert (max(judged.found) > 100) is skip
