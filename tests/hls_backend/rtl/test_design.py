"""A design as RTL: what is written, and that it computes what numpy does, as fast as its slowest layer."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hls_backend import rtl, verilator
from hls_backend.design import Design
from hls_backend.instance import Instance, memory_text, pack, signed_bits
from hls_backend.simulate import Simulation, prepare, simulate
from passes.errors import UserError
from tests.hls_backend.rtl.test_modules import needs_verilator


def test_words_hold_the_first_value_lowest_in_two_s_complement() -> None:
    assert pack([1, -1, 2], 4) == 0x2F1
    assert memory_text(9, [1, 0x1FF]) == "001\n1ff\n"


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(0, 0, 1), (0, 1, 2), (-1, 0, 1), (-3, 3, 3), (-4, 3, 3), (-4, 4, 4)]
)
def test_signed_widths_are_the_least(low: int, high: int, bits: int) -> None:
    assert signed_bits(low, high) == bits


@pytest.fixture(scope="module")
def written(residual: Design, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rtl")
    rtl.emit(residual, folder)
    return folder


def test_everything_that_is_used_is_there(written: Path) -> None:
    names = {path.name for path in written.iterdir()}
    known = {path.stem for path in Path(rtl.__file__).with_suffix("").glob("*.sv")}
    for path in written.glob("*.sv"):
        text = path.read_text()
        for memory in re.findall(r'"([\w.]+\.mem)"', text):
            assert memory in names or path.name != "top.sv", memory
        for module in re.findall(r"^  (\w+) #\(", text, re.MULTILINE):
            assert f"{module}.sv" in names
    assert {"top.sv", "testbench.sv", "inputs.hex", "expected.hex"} <= names
    assert {name.removesuffix(".sv") for name in names if name.endswith(".sv")} - known == {"top", "testbench"}


def test_ports_are_axi_streams_of_whole_bytes(written: Path, residual: Design) -> None:
    text = (written / "top.sv").read_text()
    (first,) = residual.dataflow.inputs
    assert residual.dataflow.width(first) == 8
    assert re.search(r"input +logic \[7:0\] s_axis_0_tdata", text)
    assert re.search(r"output logic \[7:0\] m_axis_0_tdata", text)


def test_test_data_are_transfers_first_element_lowest(written: Path, residual: Design) -> None:
    words = (written / "inputs.hex").read_text().split()
    pixel = residual.vectors.inputs[0, 0, 0]
    assert int(words[0], 16) == sum(int(value) << 2 * i for i, value in enumerate(pixel))
    assert len(words) == 4 * 64


def test_ready_passes_two_layers_at_most_without_a_register(residual: Design) -> None:
    dataflow = residual.connected("rtl")
    instances = {layer.name: layer.rtl() for layer in dataflow.layers}
    registers = rtl.registered(dataflow, instances)
    assert registers

    def through(name: str) -> int:
        if instances[name].registers_ready:
            return 0
        after = [s for s in dataflow.outputs_of(dataflow.layer(name)) if s.target and s.name not in registers]
        return 1 + max((through(s.target.layer) for s in after if s.target), default=0)

    assert max(through(layer.name) for layer in dataflow.layers) == 2


def test_names_are_no_keywords() -> None:
    assert rtl.identifier("join") == "u_join"
    assert rtl.identifier("layer1.0/conv") == "u_layer1_0_conv"


def test_several_outputs_are_one_port() -> None:
    text = rtl.instantiate("f", Instance("fork_stream", {"WIDTH": 4, "COPIES": 2}), ["a"], ["b", "c"])
    assert ".out_valid({c_valid, b_valid})" in text


@needs_verilator
def test_the_top_is_free_of_warnings(written: Path) -> None:
    sources = [p for p in written.glob("*.sv") if not p.name.startswith(("testbench", "stream_s"))]
    assert verilator.lint(sources, rtl.TOP) == ""


@pytest.fixture(scope="module")
def simulated(residual: Design, written: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, Path]:
    work = tmp_path_factory.mktemp("simulation") / "work"
    return simulate(residual, residual.vectors, written, work), work


@needs_verilator
def test_the_network_s_integers_come_at_its_rate(simulated: tuple[Simulation, Path], residual: Design) -> None:
    found, _ = simulated
    assert (found.frames, found.words, found.errors) == (4, 4 * residual.dataflow.layers[-1].outputs[0].transfers, 0)
    assert found.interval is not None
    assert found.interval <= 1.01 * residual.dataflow.cycles
    assert found.latency < 3 * residual.dataflow.cycles
    assert found.fifos
    assert all(0 < fifo.used <= fifo.depth for fifo in found.fifos)


@needs_verilator
def test_what_differs_is_said(simulated: tuple[Simulation, Path], residual: Design, written: Path) -> None:
    """The same program on other expectations."""
    _, work = simulated
    outputs = residual.vectors.outputs.copy()
    outputs[1, 0, 0, 0] ^= 1
    found = simulate(residual, replace(residual.vectors, outputs=outputs), written, work)
    assert found.errors == 1
    assert re.fullmatch(r"word \d+ is \w+ and should be \w+", found.difference)


@needs_verilator
def test_a_fifo_too_shallow_for_its_skip_is_a_deadlock(residual: Design, written: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "rtl"
    shutil.copytree(written, shallow)
    top = (shallow / "top.sv").read_text()
    cut = re.sub(r"(stream_fifo #\(\s*\.WIDTH\(\d+\),\s*\.DEPTH\()\d+", r"\g<1>4", top)
    assert cut != top
    (shallow / "top.sv").write_text(cut)
    with pytest.raises(UserError, match="stopped for good in frame 1 of 4"):
        simulate(residual, residual.vectors, shallow, tmp_path / "work")


def test_without_rtl_it_says_how_to_make_it(residual: Design, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="export-rtl"):
        simulate(residual, residual.vectors, tmp_path, tmp_path / "work")


def test_verilator_sees_no_space_and_a_program_that_is_gone_is_compiled_again(
    residual: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, work = tmp_path / "my build" / "rtl", tmp_path / "my build" / "simulation"
    sources.mkdir(parents=True)
    rtl.emit(residual, sources)
    compiled: list[Path] = []

    def compile(call: Sequence[str], environment: object, folder: Path, jobs: int) -> None:
        assert not any(" " in text for text in (*call, str(folder)))
        compiled.append(folder)
        folder.mkdir()
        (folder / "simulation").write_text("a program")

    monkeypatch.setattr(verilator, "command", lambda: (["verilator"], {}))
    monkeypatch.setattr(verilator, "_compile", compile)
    for _ in range(2):
        program = prepare(residual, residual.vectors, sources, work).program
    assert len(compiled) == 1
    program.unlink()
    assert prepare(residual, residual.vectors, sources, work).program.read_text() == "a program"
    assert not compiled[0].exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    with pytest.raises(UserError, match="set TMPDIR to another"):
        verilator.build([], work)


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "make" else f"/bin/{tool}")
    with pytest.raises(UserError, match="needs make, not found"):
        verilator.command()
