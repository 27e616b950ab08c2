"""Many layers in one simulation: each with random data, once without a pause and once with pauses on all sides.

Or many whole designs, each without a pause.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from hls_backend import Dataflow, Layer, Port, rtl, run, verilator
from hls_backend.layers import VVAU

FRAMES = 4


@dataclass
class Seen:
    """What a simulation said of one layer.

    Attributes:
        errors: words that differed, over all outputs.
        words: that came, over all outputs.
        intervals: cycles from one frame's last word to the next frame's, at the output that was slowest.
        stuck: whether an output stopped early.
        difference: the first one, in words.
    """

    errors: int = 0
    words: int = 0
    intervals: list[int] = field(default_factory=list)
    stuck: bool = False
    difference: str = ""


def simulate(layers: Sequence[Layer], folder: Path, seed: int = 0) -> dict[str, tuple[Seen, Seen]]:
    """Simulate ``layers``, of different names, each without pauses and with; by the layer's name."""
    random = np.random.default_rng(seed)
    modules, body, ends = {"stream_source", "stream_sink"}, [], []
    for layer in layers:
        instance = layer.rtl()
        modules.add(instance.module)
        for name, text in rtl.memories(layer.name, instance).items():
            (folder / name).write_text(text)
        inputs = [
            random.integers(int(port.type.min()), int(port.type.max()) + 1, (FRAMES, *port.shape))
            for port in layer.inputs
        ]
        outputs = layer.execute(*inputs)
        kernel = np.prod(getattr(layer, "kernel", (layer.kernel_size if isinstance(layer, VVAU) else 1,)))
        for direction, ports, arrays in (("in", layer.inputs, inputs), ("out", layer.outputs, outputs)):
            for i, (port, array) in enumerate(zip(ports, arrays, strict=True)):
                (folder / f"{layer.name}_{direction}{i}.hex").write_text(words(port, array, int(kernel)))
        for pause in (0, 1):
            text, done = connect(layer, pause)
            body.append(text)
            ends += done
    printed = built_and_run("".join(body), ends, modules, folder)
    return {n.name: (said(printed, f"{n.name}_p0"), said(printed, f"{n.name}_p1")) for n in layers}


def simulate_designs(
    designs: Mapping[str, Dataflow], folder: Path, frames: int = FRAMES, seed: int = 0
) -> dict[str, Seen]:
    """Simulate whole dataflows, with converters and FIFOs, each of one input and one output, by name."""
    random = np.random.default_rng(seed)
    modules, body, ends = {"stream_source", "stream_sink", "stream_register"}, [], []
    for name, dataflow in designs.items():
        (first,), (last,) = dataflow.inputs, dataflow.outputs
        inputs = random.integers(int(first.type.min()), int(first.type.max()) + 1, (frames, *first.shape))
        outputs = run(dataflow, inputs)[last.name].reshape(-1, *last.shape)
        for end, stream, array in (("in", first, inputs), ("out", last, outputs)):
            (folder / f"{name}_{end}.hex").write_text(rtl.vectors(dataflow, stream, array))
        instances = {layer.name: layer.rtl() for layer in dataflow.layers}
        modules |= {instance.module for instance in instances.values()}
        for layer, instance in instances.items():
            for file, text in rtl.memories(f"{name}_{rtl.identifier(layer)}", instance).items():
                (folder / file).write_text(text)
        top = rtl.top(dataflow, instances).replace(f"module {rtl.TOP} (", f"module {name} (")
        (folder / f"{name}.sv").write_text(top.replace('("u_', f'("{name}_u_'))
        in_bits, out_bits = (8 * -(-dataflow.width(stream) // 8) for stream in (first, last))
        port = dataflow.source_port(last)
        assert port is not None
        body.append(
            rtl.declare(f"{name}_i", in_bits)
            + rtl.declare(f"{name}_o0", out_bits)
            + f"""  logic {name}_done;
  stream_source #(.WIDTH({in_bits}), .FILE("{name}_in.hex")) {name}_source (
      .clk, .rst, .valid({name}_i_valid), .ready({name}_i_ready), .data({name}_i_data));
  {name} u_{name} (
      .ap_clk(clk), .ap_rst_n(~rst), .s_axis_0_tvalid({name}_i_valid), .s_axis_0_tready({name}_i_ready),
      .s_axis_0_tdata({name}_i_data), .m_axis_0_tvalid({name}_o0_valid), .m_axis_0_tready({name}_o0_ready),
      .m_axis_0_tdata({name}_o0_data));
  stream_sink #(.WIDTH({out_bits}), .FRAME({port.transfers}), .FILE("{name}_out.hex"), .NAME("{name}_o0")) {name}_sink (
      .clk, .rst, .valid({name}_o0_valid), .ready({name}_o0_ready), .data({name}_o0_data), .done({name}_done));
"""
        )
        ends.append(f"{name}_done")
    printed = built_and_run("".join(body), ends, modules, folder)
    return {name: said(printed, name) for name in designs}


def built_and_run(body: str, ends: list[str], modules: set[str], folder: Path) -> str:
    """What the test bench of ``body`` prints; in ``folder`` are its memories and modules that the library lacks.

    One of pytest's processes builds it, and the others wait for what comes.
    """
    (folder / "testbench.sv").write_text(bench(body, ends))
    for name, text in rtl.library(modules).items():
        (folder / f"{name}.sv").write_text(text)
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    common = folder.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else folder.parent
    printed = common / f"printed-{digest.hexdigest()[:32]}"
    with printed.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.is_file():
            program = verilator.build(sorted(folder.glob("*.sv")), folder / "made")
            call = [str(program.resolve()), "+patience=20000"]
            done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
            printed.write_text(done.stdout)
    return printed.read_text()


def words(port: Port, array: np.ndarray, positions: int) -> str:
    """One transfer a line; the windows of a depthwise layer come so many channels at a time."""
    if port.interleave:
        array = array.reshape(*array.shape[:3], positions, -1, port.interleave).swapaxes(3, 4)
    rows, bits = array.reshape(-1, port.lanes).tolist(), int(port.type.bitwidth())
    return "".join(f"{rtl.pack(row, bits):x}\n" for row in rows)


def connect(layer: Layer, pause: int) -> tuple[str, list[str]]:
    """The layer between sources and sinks; the signals that say that a sink is done."""
    name, chance = f"{layer.name}_p{pause}", 96 * pause
    ins = [f"{name}_i{i}" for i in range(len(layer.inputs))]
    outs = [f"{name}_o{i}" for i in range(len(layer.outputs))]
    text = "".join(rtl.declare(s, p.width) for s, p in zip([*ins, *outs], (*layer.inputs, *layer.outputs), strict=True))
    for i, (stream, port) in enumerate(zip(ins, layer.inputs, strict=True)):
        text += (
            f'  stream_source #(.WIDTH({port.width}), .PAUSE({chance}), .FILE("{layer.name}_in{i}.hex")) {stream} '
            f"(.clk, .rst, .valid({stream}_valid), .ready({stream}_ready), .data({stream}_data));\n"
        )
    text += rtl.instantiate(name, layer.rtl(), ins, outs, memory=layer.name)
    for i, (stream, port) in enumerate(zip(outs, layer.outputs, strict=True)):
        text += (
            f"  logic {stream}_done;\n  stream_sink #(.WIDTH({port.width}), .FRAME({port.transfers}), "
            f'.PAUSE({chance}), .FILE("{layer.name}_out{i}.hex"), .NAME("{stream}")) {stream} (.clk, .rst, '
            f".valid({stream}_valid), .ready({stream}_ready), .data({stream}_data), .done({stream}_done));\n"
        )
    return text, [f"{stream}_done" for stream in outs]


def bench(body: str, ends: list[str]) -> str:
    return f"""`timescale 1ns / 1ps
`ifdef VERILATOR
module testbench (
    input logic clk
);
`else
module testbench;
  logic clk = 0;
  always #5 clk = ~clk;
`endif
  logic rst = 1;
  logic [2:0] age = 0;
{body}
  always @(posedge clk) begin
    if (age != 7) age <= age + 1;
    rst <= age < 4;
    if (~rst & {" & ".join(ends)}) $finish;
  end
endmodule
"""


def said(text: str, name: str) -> Seen:
    seen = Seen()
    for stream in sorted(set(re.findall(rf"^\w+ ({name}_o\d+) ", text, re.MULTILINE))):
        frames = [int(c) for c in re.findall(rf"^frame {stream} \d+ (\d+)$", text, re.MULTILINE)]
        intervals = [b - a for a, b in pairwise(frames)]
        seen.intervals = max(seen.intervals, intervals)
        seen.stuck |= f"stuck {stream} " in text
        for count, errors in re.findall(rf"^done {stream} (\d+) (\d+)$", text, re.MULTILINE):
            seen.words += int(count)
            seen.errors += int(errors)
        found = re.search(rf"^differs {stream} .*$", text, re.MULTILINE)
        seen.difference = found[0] if found else seen.difference
    return seen
