"""What the folder for Vitis HLS holds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hls_backend import Dataflow, End, Stream
from hls_backend.cpp import Memory, pack
from hls_backend.datatypes import named
from hls_backend.fifo import insert_fifos
from hls_backend.hls import emit
from hls_backend.hls.top import Names, Top, declaration
from hls_backend.layers import MVAU, FMPadding, StreamingFIFO
from passes.errors import UserError
from tests.hls_backend.hls.conftest import Designer


@pytest.fixture
def folder(the_block: Designer, tmp_path: Path) -> Path:
    emit(the_block(True), tmp_path)
    return tmp_path


def test_the_top_calls_every_layer_once(the_block: Designer, folder: Path) -> None:
    source = (folder / "top.cpp").read_text()
    layers = the_block(True).connected("hls").layers
    calls = re.findall(r"^  LAYER\((\w+), (\w+)<", source, re.MULTILINE)
    assert len(calls) == sum(layer.op != "StreamingFIFO" for layer in layers)
    assert [template for _, template in calls].count("AddStreams_Batch") == 1
    assert "#pragma HLS dataflow" in source
    wires = re.findall(
        r"static hls::stream<ap_uint<\d+>> (\w+)_stream\(\"(\w+)\"\);\n#pragma HLS stream variable=(\w+)_stream ",
        source,
    )
    assert wires
    assert all(len(set(names)) == 1 for names in wires)
    body = source[source.index("#pragma HLS dataflow") :]
    for name, *_ in wires:
        assert len(re.findall(rf"[(,] ?{name}_stream\b", body.split("LAYER", 1)[1])) == 2, (
            "one writes it and one reads it"
        )


def test_files_get_the_permissions_that_the_user_gives_new_ones(the_block: Designer, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        emit(the_block(True), tmp_path)
    finally:
        os.umask(before)
    assert not [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077]


def test_a_fifo_is_the_depth_of_its_stream(the_block: Designer, folder: Path) -> None:
    design = the_block(True)
    wanted = sorted(n.depth for n in design.connected("hls").layers if isinstance(n, StreamingFIFO))
    source = (folder / "top.cpp").read_text()
    found = [int(depth) for depth in re.findall(r"depth=(\d+)", source)]
    assert sorted(depth for depth in found if depth > 2) == wanted
    assert wanted
    assert "FIFO" not in source


def test_test_data_are_an_image_a_line(the_block: Designer, folder: Path) -> None:
    vectors = the_block(True).vectors
    for name, expected in (("inputs", vectors.inputs), ("outputs", vectors.outputs)):
        found = np.loadtxt(folder / "data" / f"{name}.txt", dtype=int)
        assert np.array_equal(found, expected.reshape(len(expected), -1))


def test_weights_lie_in_words_the_first_in_the_lowest_bits() -> None:
    assert pack(np.array([[1, -1, 0], [-2, 1, 1]]), 2).tolist() == [0b001101, 0b010110]
    wide = pack(np.full((1, 40), -1), 3)
    assert wide.tolist() == [2**120 - 1]
    memory = Memory("weights", "X<1>", "m_weights", wide[None], 120, (1,))
    assert memory.initialiser() == '{WORD("0x' + "f" * 30 + '")}\n'
    text = declaration("w", memory)
    assert "static char const * const w_words[1][1]" in text
    assert "#define WORD(digits) ap_uint<120>(digits, 16)" in text


def test_names_are_identifiers_and_differ() -> None:
    names = Names(["input"])
    assert [names(n) for n in ("a.b", "a/b", "3x", "", "input", "réseau")] == [
        "a_b",
        "a_b_2",
        "n3x",
        "unnamed",
        "input_2",
        "r_seau",
    ]


@pytest.mark.parametrize("name", ["int", "not_eq", "std", "NULL", "errno", "Input", "Slice", "LAYER", "TOP", "reps"])
def test_no_name_is_a_keyword_or_a_header_s(name: str) -> None:
    """Whatever a network and its tensors are called: only the ends of the names that C++ sees are ours."""
    shape, type = (2, 2, 1), named("UINT2")
    pads = [FMPadding(f"pad{n}", (2, 2), 1, type, (0, 0, 0, 0)) for n in range(2)]
    ends = [("x", None, End("pad0")), (name, End("pad0"), End("pad1")), ("y", End("pad1"), None)]
    top = Top(Dataflow(name, tuple(pads), tuple(Stream(n, shape, type, a, b) for n, a, b in ends)))
    assert f"void {name}_top(" in top.source()
    assert f'> {name}_stream("{name}")' in top.source()
    assert re.findall(r"LAYER\(\w+, .*\((.*)\)\);", top.source()) == [
        f"input, {name}_stream, reps",
        f"{name}_stream, output, reps",
    ]


def test_a_word_too_wide_for_ap_int_is_refused() -> None:
    inputs, type = 8192, named("INT8")
    layer = MVAU("dense", (1, 1), np.zeros((1, inputs), int), type, type, named("INT29"))
    (wide,) = [f for f in layer.foldings() if f.simd == inputs]
    streams = (
        Stream("x", (1, 1, inputs), type, None, End("dense")),
        Stream("y", (1, 1, 1), named("INT29"), End("dense"), None),
    )
    with pytest.raises(UserError, match=r"passes 65,536 bits at once and ap_int has 32,768 at most"):
        Top(Dataflow("net", (layer.fold(wide),), streams))


def test_a_fifo_at_either_end_is_the_hosts() -> None:
    pad = FMPadding("pad", (2, 2), 1, named("UINT2"), (1, 1, 1, 1))
    x = Stream("x", (2, 2, 1), named("UINT2"), None, End("pad"))
    y = Stream("y", (4, 4, 1), named("UINT2"), End("pad"), None)
    top = Top(insert_fifos(Dataflow("net", (pad,), (x, y)), {"x": 9, "y": 9}))
    assert top.wires == []
    assert "(input, output, reps)" in top.layers[0].call


COMMANDS = "open_project set_top add_files open_solution set_part create_clock csim_design csynth_design cosim_design"


def run_tcl(script: Path, **environment: str) -> list[list[str]]:
    """The commands that Vitis HLS would get: tclsh runs the script, and each of them notes its arguments."""
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        pytest.skip("there is no tclsh")
    stubs = "".join(
        f"proc {command} {{args}} {{ puts [join [linsert $args 0 {command}] \\x1f] }}\n"
        for command in [*COMMANDS.split(), "export_design"]
    )
    kept = {name: value for name, value in os.environ.items() if name not in ("STEPS", "HLSLIB")}
    done = subprocess.run(
        [tclsh],
        input=f"{stubs}source {{{script}}}\n",
        env={**kept, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode or done.stderr:
        raise ValueError(done.stderr)
    return [line.split("\x1f") for line in done.stdout.splitlines()]


def test_the_tcl_takes_every_step(folder: Path) -> None:
    calls = run_tcl(folder / "run_hls.tcl")
    assert [call[0] for call in calls] == [
        "open_project",
        "set_top",
        "add_files",
        "add_files",
        "open_solution",
        "set_part",
        "create_clock",
        "csim_design",
        "csynth_design",
        "cosim_design",
        "export_design",
    ]
    told = {call[0]: call[1:] for call in calls}
    assert told["set_top"] == ["resblock_top"]
    assert told["set_part"] == ["xc7z020clg400-1"]
    assert told["create_clock"][:2] == ["-period", "10"]
    assert told["csim_design"] == ["-argv", str(folder / "data")]
    assert told["cosim_design"] == ["-argv", f"{folder / 'data'} 2"]
    for call in calls:
        if call[0] == "add_files":
            path = next(Path(word) for word in call if word.endswith(".cpp"))
            assert path.is_file()
            folders = [Path(word[2:]) for word in call[call.index("-cflags") + 1].split() if word.startswith("-I")]
            assert [f.name for f in folders] == [folder.name, "library", "extra", "support"]
            assert all(f.is_dir() for f in folders)


def test_the_tcl_takes_chosen_steps_on_another_library(folder: Path, tmp_path: Path) -> None:
    calls = run_tcl(folder / "run_hls.tcl", STEPS="csynth", HLSLIB=str(tmp_path / "finn-hlslib"))
    assert [call[0] for call in calls][-1] == "csynth_design"
    assert all(call[0] not in ("csim_design", "cosim_design", "export_design") for call in calls)
    assert any(f"-I{tmp_path / 'finn-hlslib'}" in word for call in calls for word in call)
    with pytest.raises(ValueError, match="no step 'synth'"):
        run_tcl(folder / "run_hls.tcl", STEPS="synth")


def test_no_name_in_the_tcl_is_more_than_text(the_block: Designer, tmp_path: Path) -> None:
    design = the_block(False)
    odd = replace(design.dataflow, name='[exec touch x] $env(HOME) "')
    emit(replace(design, dataflow=odd), tmp_path)
    told = {call[0]: call[1:] for call in run_tcl(tmp_path / "run_hls.tcl")}
    assert told["set_top"] == ["exec_touch_x_env_HOME_top"]


def test_the_makefile_compiles_what_is_there(folder: Path) -> None:
    def commands(*arguments: str) -> str:
        done = subprocess.run(["make", "-n", *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ours = commands("AP_INT=/ap")
    assert "-Ilibrary -isystem /ap top.cpp testbench.cpp -o csim.run" in ours
    assert "./csim.run data" in ours
    assert "-I/finn -isystem /ap" in commands("AP_INT=/ap", "HLSLIB=/finn")
    assert "-DGRAPHOPS_BOUNDED" in commands("AP_INT=/ap", "bounded")
    for name in re.findall(r"-I(\w+)", ours):
        assert (folder / name).is_dir()
