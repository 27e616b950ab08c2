"""The top: a function that calls each layer's template, on streams as deep as they must be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hls_backend.cpp import Memory, number
from hls_backend.dataflow import Dataflow, Layer, Stream
from hls_backend.layers import StreamingFIFO
from passes.errors import UserError

_WIDEST = 32768
"""Bits of the widest ap_int that there can be."""


@dataclass(frozen=True)
class Wire:
    """A stream of the top; a FIFO's two streams are one.

    Attributes:
        name: that simulations and depths.txt know it by.
        width: bits.
        depth: words that it holds.
    """

    name: str
    width: int
    depth: int

    @property
    def variable(self) -> str:
        """In C++; no keyword, no macro and nothing that a header declares ends so."""
        return f"{self.name}_stream"


@dataclass(frozen=True, eq=False)
class Placed:
    """A layer with its names in C++."""

    layer: Layer
    name: str
    memories: tuple[tuple[str, Memory], ...]
    call: str


class Top:
    """A connected dataflow as a C++ function.

    Args:
        dataflow: with width converters and FIFOs, one input and one output.

    Attributes:
        name: of the function; like a stream's, it has an end that keeps it apart from all that headers declare.
        wires: its streams, but for the input and the output.
        layers: in the order of their calls.

    Raises:
        UserError: when a word is wider than ap_int can be.
    """

    def __init__(self, dataflow: Dataflow) -> None:
        (self._input,), (self._output,) = dataflow.inputs, dataflow.outputs
        self._dataflow = dataflow
        names = Names(["input", "output"])
        self.name = names(f"{dataflow.name}_top")
        self.wires: list[Wire] = []
        found: dict[str, str] = {}
        for layer in dataflow.layers:
            for stream in dataflow.outputs_of(layer):
                self._add_wire(layer, stream, found, names)
        found[self._input.name] = "input"
        self.layers = [
            self._place(layer, found, names) for layer in dataflow.layers if not isinstance(layer, StreamingFIFO)
        ]
        self._widest = self._check_widths()

    def _add_wire(self, layer: Layer, stream: Stream, found: dict[str, str], names: Names) -> None:
        if isinstance(layer, StreamingFIFO):
            (before,) = self._dataflow.inputs_of(layer)
            if stream.target is None:  # the host's side of the output is as deep as the host makes it
                self.wires = [w for w in self.wires if w.variable != found[before.name]]
                found[before.name] = found[stream.name] = "output"
                return
            if before.source is None:
                found[stream.name] = "input"
                return
            place = [w.variable for w in self.wires].index(found[before.name])
            # Known by the name that the stream has elsewhere.
            wire = self.wires[place] = replace(self.wires[place], name=names(stream.name), depth=layer.depth)
            found[before.name] = found[stream.name] = wire.variable
            return
        if stream.target is None:
            found[stream.name] = "output"
            return
        wire = Wire(names(stream.name), self._dataflow.width(stream), max(2, stream.depth))
        found[stream.name] = wire.variable
        self.wires.append(wire)

    def _place(self, layer: Layer, found: dict[str, str], names: Names) -> Placed:
        name = names(layer.name)
        memories = tuple((names(f"{name}_{memory.name}"), memory) for memory in layer.hls_memories())
        call = layer.hls_call(
            [found[s.name] for s in self._dataflow.inputs_of(layer)],
            [found[s.name] for s in self._dataflow.outputs_of(layer)],
            [memory for memory, _ in memories],
        )
        return Placed(layer, name, memories, call)

    def _check_widths(self) -> int:
        widths = [(w.name, w.width) for w in self.wires]
        widths += [(s.name, self._dataflow.width(s)) for s in (self._input, self._output)]
        widths += [(p.layer.name, memory.bits) for p in self.layers for _, memory in p.memories]
        name, widest = max(widths, key=lambda pair: pair[1])
        if widest > _WIDEST:
            raise UserError(
                f"{name!r} passes {widest:,} bits at once and ap_int has {_WIDEST:,} at most; "
                "ask for fewer images a second."
            )
        return widest

    # -- C++ -------------------------------------------------------------------------------------------------

    def header(self) -> str:
        """top.hpp: the function, and how its streams are read."""
        ends = (self._input, self._output)
        ports = self._dataflow.target_port(ends[0]), self._dataflow.source_port(ends[1])
        lines = [
            "// What the test bench needs to know of the top.",
            "#ifndef GRAPHOPS_TOP_HPP",
            "#define GRAPHOPS_TOP_HPP",
            "",
            f"#define AP_INT_MAX_W {-(-self._widest // 1024) * 1024}",
            "#include <ap_int.h>",
            "#include <hls_stream.h>",
            "",
        ]
        for name, stream, port in zip(("INPUT", "OUTPUT"), ends, ports, strict=True):
            lanes = port.lanes if port else 1
            lines += [
                f"constexpr unsigned {name}_SIZE = {port.size if port else 0};  // integers an image",
                f"constexpr unsigned {name}_LANES = {lanes};  // that pass at once",
                f"constexpr unsigned {name}_BITS = {int(stream.type.bitwidth())};",
                f"typedef {number(stream.type)} {name.capitalize()}Number;",
                f"typedef hls::stream<ap_uint<{self._dataflow.width(stream)}>> {name.capitalize()};",
                "",
            ]
        return _text([*lines, f"#define TOP {self.name}", f"{self._signature()};", "", "#endif"])

    def source(self) -> str:
        """top.cpp."""
        memories = [(name, memory) for placed in self.layers for name, memory in placed.memories]
        includes = ["top.hpp", "bnn-library.h", "activations.hpp", "interpret.hpp", "mvau.hpp", "pool.hpp"]
        includes += ["utils.hpp", "vvau.hpp", "weights.hpp", "depthwise_parallel.hpp", "duplicate_to_all.hpp"]
        includes += ["sliding_window.hpp", "sum_pixels.hpp", "dataflow.hpp", "memory.hpp"]
        lines = [
            f"// {self.name}: {len(self.layers)} layers on finn-hlslib's templates.",
            *(f'#include "{name}"' for name in includes),
            "",
            *(f'#include "parameters/{name}.hpp"' for name, _ in memories),
            "",
            f"{self._signature()} {{",
            "#pragma HLS INTERFACE axis port=input",
            "#pragma HLS INTERFACE axis port=output",
            "#pragma HLS INTERFACE s_axilite port=reps bundle=control",
            "#pragma HLS INTERFACE s_axilite port=return bundle=control",
        ]
        for name, memory in memories:
            lines += [
                f"#pragma HLS ARRAY_PARTITION variable={name}.{memory.member} complete dim={dimension}"
                for dimension in memory.partitioned
            ]
        lines += ["#pragma HLS dataflow", ""]
        for wire in self.wires:
            lines += [
                f'  static hls::stream<ap_uint<{wire.width}>> {wire.variable}("{wire.name}");',
                f"#pragma HLS stream variable={wire.variable} depth={wire.depth}",
            ]
        lines += ["", *(f"  LAYER({p.name}, {p.call});" for p in self.layers), "  RUN_LAYERS();", "}"]
        return _text(lines)

    def _signature(self) -> str:
        return f"void {self.name}(Input &input, Output &output, unsigned reps)"


def declaration(name: str, memory: Memory) -> str:
    """The header that declares a constant memory, whose words stand in a file beside it."""
    number_type = "char const *" if memory.is_wide else "long long" if memory.is_signed else "unsigned long long"
    sizes = "".join(f"[{size}]" for size in memory.words.shape)
    wide = [
        ["#ifdef __SYNTHESIS__", f"#define WORD(digits) ap_uint<{memory.bits}>(digits, 16)"],
        ["#else", "#define WORD(digits) digits", "#endif"],
    ]
    return _text(
        [
            *(line for lines in wide if memory.is_wide for line in lines),
            "#ifdef __SYNTHESIS__",
            f"static {memory.type} const {name} = {{{{",
            f'#include "{name}.inc"',
            "}};",
            "#else",
            f"static {number_type} const {name}_words{sizes} = {{",
            f'#include "{name}.inc"',
            "};",
            f"static {memory.type} const {name} = [] {{",
            f"  static {memory.type} memory;",
            f"  graphops::copy(memory.{memory.member}, {name}_words);",
            "  return memory;",
            "}();",
            "#endif",
            *(["#undef WORD"] if memory.is_wide else []),
        ]
    )


class Names:
    """Makes C++ identifiers that differ."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def __call__(self, name: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "unnamed"
        if plain[0].isdigit():
            plain = f"n{plain}"
        free, count = plain, 1
        while free in self._taken:
            count += 1
            free = f"{plain}_{count}"
        self._taken.add(free)
        return free


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
