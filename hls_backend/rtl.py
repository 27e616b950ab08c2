"""A design as SystemVerilog: a top, the library files it uses, memory files, test vectors and a test bench.

Streams between layers are valid, ready and data. Each layer is one instance (see `Layer.rtl`). Where more than two
layers in a row would pass ready on without a register, a stream gets one (`stream_register`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from hls_backend.dataflow import Dataflow, Stream
from hls_backend.design import Design
from hls_backend.instance import Instance, memory_text, pack

TOP = "top"
_FREE_RUN = 2
"""So many layers in a row may pass ready on without a register."""


def emit(design: Design, folder: Path) -> None:
    """Write ``design`` into ``folder``, which exists and is empty.

    Raises:
        OSError: when a file cannot be written.
    """
    dataflow = design.connected("rtl")
    instances = {layer.name: layer.rtl() for layer in dataflow.layers}
    texts = {f"{TOP}.sv": top(dataflow, instances), "testbench.sv": testbench(dataflow)}
    modules = {"stream_register", "stream_source", "stream_sink", *(i.module for i in instances.values())}
    texts |= {f"{name}.sv": text for name, text in library(modules).items()}
    for layer, instance in instances.items():
        texts |= memories(identifier(layer), instance)
    (first,), (last,) = dataflow.inputs, dataflow.outputs
    for name, stream, array in (
        ("inputs.hex", first, design.vectors.inputs),
        ("expected.hex", last, design.vectors.outputs),
    ):
        texts[name] = vectors(dataflow, stream, array)
    for name, text in texts.items():
        (folder / name).write_text(text)


# -- names and files -------------------------------------------------------------------------------------------


def identifier(name: str) -> str:
    """``name`` as SystemVerilog takes it, and no keyword of it: "join" is one."""
    return "u_" + re.sub(r"\W", "_", name)


def library(modules: set[str]) -> dict[str, str]:
    """The text of each module of the library that ``modules`` need, themselves included."""
    folder = files("hls_backend") / "rtl"
    known = {Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".sv")}
    found: dict[str, str] = {}
    waiting = set(modules)
    while waiting:
        name = waiting.pop()
        found[name] = (folder / f"{name}.sv").read_text()
        used = set(re.findall(r"^\s*(\w+)\s+(?:#\(|\w+\s*\()", found[name], re.MULTILINE)) & known
        waiting |= used - set(found)
    return dict(sorted(found.items()))


def memories(name: str, instance: Instance) -> dict[str, str]:
    """The memory files of an instance called ``name``."""
    return {f"{name}{end}": memory_text(width, words) for end, (width, words) in instance.memories.items()}


def vectors(dataflow: Dataflow, stream: Stream, array: np.ndarray) -> str:
    """A stream's integers [N, rows, columns, channels], one transfer a line, first element lowest."""
    lanes, width = _lanes(dataflow, stream), int(stream.type.bitwidth())
    digits = -(-lanes * width // 4)
    return "".join(f"{pack(row, width):0{digits}x}\n" for row in array.reshape(-1, lanes).tolist())


def _lanes(dataflow: Dataflow, stream: Stream) -> int:
    port = dataflow.source_port(stream) or dataflow.target_port(stream)
    assert port is not None
    return port.lanes


# -- the top ---------------------------------------------------------------------------------------------------


def instantiate(name: str, instance: Instance, inputs: Sequence[str], outputs: Sequence[str], memory: str = "") -> str:
    """The text of an instance whose ports meet the streams ``<name>_valid``, ``<name>_ready``, ``<name>_data``.

    Args:
        name: of the instance.
        instance: what it is.
        inputs, outputs: the streams' names; several outputs are one port, the first stream in its lowest bits.
        memory: what the names of its memory files begin with; its own name by default.
    """
    values = [f".{key}({value})" for key, value in instance.parameters.items()]
    if instance.memories:
        (first,) = list(instance.memories)[:1]
        file = (memory or name) + (first if len(instance.memories) == 1 else "")
        values.append(f'.{instance.file_parameter}("{file}")')
    ports = [".clk(clk)", ".rst(rst)"]
    for prefix, stream in zip(instance.inputs, inputs, strict=True):
        ports += [f".{prefix}_{signal}({stream}_{signal})" for signal in ("valid", "ready", "data")]
    for signal in ("valid", "ready", "data"):
        together = ", ".join(f"{stream}_{signal}" for stream in reversed(outputs))
        ports.append(f".out_{signal}({together if len(outputs) == 1 else '{' + together + '}'})")
    separator = ",\n      "
    return (
        f"  {instance.module} #(\n      {separator.join(values)}\n  ) {name} (\n      {separator.join(ports)}\n  );\n"
    )


def declare(stream: str, width: int) -> str:
    """The signals of a stream."""
    return f"  logic {stream}_valid, {stream}_ready;\n  logic [{width - 1}:0] {stream}_data;\n"


def registered(dataflow: Dataflow, instances: dict[str, Instance]) -> set[str]:
    """The streams that need a register, so that ready passes through two layers at most."""
    through: dict[str, int] = {}  # by layer: how many pass ready on, from its input on
    found: set[str] = set()
    for layer in reversed(dataflow.layers):
        longest = 0
        for stream in dataflow.outputs_of(layer):
            behind = through[stream.target.layer] if stream.target else 0
            if behind >= _FREE_RUN and not instances[layer.name].registers_ready:
                found.add(stream.name)
                behind = 0
            longest = max(longest, behind)
        through[layer.name] = 0 if instances[layer.name].registers_ready else longest + 1
    return found


def top(dataflow: Dataflow, instances: dict[str, Instance]) -> str:
    """The module that joins all layers; AXI-Stream ports, TDATA padded to bytes, first element lowest."""
    (first,), (last,) = dataflow.inputs, dataflow.outputs
    in_width, out_width = (dataflow.width(s) for s in (first, last))
    in_bytes, out_bytes = -(-in_width // 8), -(-out_width // 8)
    between = registered(dataflow, instances)
    names = {stream.name: f"s{i}" for i, stream in enumerate(dataflow.streams)}
    body = [_comment(dataflow), _ports(in_bytes, out_bytes)]
    for stream in dataflow.streams:
        width = dataflow.width(stream)
        body.append(f"  // {stream.name}\n" + declare(names[stream.name], width))
        if stream.name in between:
            body.append(declare(f"{names[stream.name]}r", width))
    for stream in dataflow.streams:
        if stream.name in between:
            register = Instance("stream_register", {"WIDTH": dataflow.width(stream)})
            name = names[stream.name]
            body.append(instantiate(f"{name}_register", register, [f"{name}r"], [name]))
    for layer in dataflow.layers:
        ins = [names[s.name] for s in dataflow.inputs_of(layer)]
        outs = [names[s.name] + "r" * (s.name in between) for s in dataflow.outputs_of(layer)]
        body.append(
            f"  // {layer.name}: {layer.op}\n" + instantiate(identifier(layer.name), instances[layer.name], ins, outs)
        )
    body.append(_ends(names[first.name], names[last.name], in_width, out_bytes))
    return "\n".join(body)


def _comment(dataflow: Dataflow) -> str:
    return f"// {identifier(dataflow.name)}: {len(dataflow.layers)} layers, {dataflow.cycles:,} cycles a frame.\n"


def _ports(in_bytes: int, out_bytes: int) -> str:
    return f"""module {TOP} (
    input  logic ap_clk,
    input  logic ap_rst_n,
    input  logic s_axis_0_tvalid,
    output logic s_axis_0_tready,
    input  logic [{8 * in_bytes - 1}:0] s_axis_0_tdata,
    output logic m_axis_0_tvalid,
    input  logic m_axis_0_tready,
    output logic [{8 * out_bytes - 1}:0] m_axis_0_tdata
);
  logic clk, rst;
  assign clk = ap_clk;
  always_ff @(posedge clk) rst <= ~ap_rst_n;
"""


def _ends(first: str, last: str, in_width: int, out_bytes: int) -> str:
    return f"""  assign {first}_valid = s_axis_0_tvalid & ~rst;
  assign s_axis_0_tready = {first}_ready & ~rst;
  assign {first}_data = s_axis_0_tdata[{in_width - 1}:0];
  assign m_axis_0_tvalid = {last}_valid & ~rst;
  assign {last}_ready = m_axis_0_tready;
  assign m_axis_0_tdata = {8 * out_bytes}'({last}_data);
  logic unused;
  assign unused = &s_axis_0_tdata;
endmodule
"""


# -- the test bench --------------------------------------------------------------------------------------------


def testbench(dataflow: Dataflow) -> str:
    """A module that gives the top its inputs without a pause and compares what comes; for any simulator."""
    (first,), (last,) = dataflow.inputs, dataflow.outputs
    in_bits, out_bits = (8 * -(-dataflow.width(s) // 8) for s in (first, last))
    source, target = dataflow.target_port(first), dataflow.source_port(last)
    assert source is not None
    assert target is not None
    return f"""// Gives `{TOP}` the words of inputs.hex and compares its outputs with expected.hex.
// Define SIMULATION to have each FIFO print how full it ever was.
`timescale 1ns / 1ps
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
  logic in_valid, in_ready, out_valid, out_ready, done;
  logic [{in_bits - 1}:0] in_data;
  logic [{out_bits - 1}:0] out_data;
  stream_source #(.WIDTH({in_bits}), .FILE("inputs.hex")) source (
      .clk, .rst, .valid(in_valid), .ready(in_ready), .data(in_data)
  );
  {TOP} dut (
      .ap_clk(clk), .ap_rst_n(~rst), .s_axis_0_tvalid(in_valid), .s_axis_0_tready(in_ready), .s_axis_0_tdata(in_data),
      .m_axis_0_tvalid(out_valid), .m_axis_0_tready(out_ready), .m_axis_0_tdata(out_data)
  );
  stream_sink #(.WIDTH({out_bits}), .FRAME({target.transfers}), .FILE("expected.hex")) sink (
      .clk, .rst, .valid(out_valid), .ready(out_ready), .data(out_data), .done
  );
  always @(posedge clk) begin
    if (age != 7) age <= age + 1;
    rst <= age < 4;
    if (~rst & done) $finish;
  end
endmodule
"""
