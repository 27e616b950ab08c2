"""Each layer's template on random integers, beside the layer in numpy: all of them in one program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from hls_backend import Folding, Layer, Port
from hls_backend.datatypes import BIPOLAR, least, named
from hls_backend.hls import folder
from hls_backend.hls.top import declaration
from hls_backend.layers import (
    MVAU,
    VVAU,
    AddStreams,
    ChannelwiseOp,
    ConvolutionInputGenerator,
    DuplicateStreams,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Pool,
    StreamingDataWidthConverter,
    Thresholding,
)

RANDOM = np.random.default_rng(0)
IMAGES = 2
UINT1, UINT2, UINT4, INT3, INT8 = map(named, ("BINARY", "UINT2", "UINT4", "INT3", "INT8"))


def window(
    image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], depthwise: bool, simd: int
) -> Layer:
    return ConvolutionInputGenerator("", image, 4, INT3, kernel, stride, depthwise).fold(Folding(simd=simd))


def matrix(kind: str, weight: object, x: object, folding: Folding) -> Layer:
    low, high = int(weight.min()), int(weight.max())
    shape = (6, 12) if kind == "mvau" else (4, 3, 2)
    weights = RANDOM.choice([-1, 1], shape) if weight == BIPOLAR else RANDOM.integers(low, high, shape, endpoint=True)
    reach = [w * v for w in (low, high) for v in (int(x.min()), int(x.max()))]
    terms = shape[1] * (shape[2] if kind == "vvau" else 1)
    result = least(min(0, terms * min(reach)), terms * max(reach))
    return (MVAU if kind == "mvau" else VVAU)("", (3, 2), weights, weight, x, result).fold(folding)


def thresholds(channels: int, steps: int, base: int, x: object, result: str, pe: int) -> Layer:
    values = np.sort(RANDOM.integers(int(x.min()) - 1, int(x.max()) + 2, (channels, steps)), axis=1)
    return Thresholding("", (3, 2), values, base, x, named(result)).fold(Folding(pe))


def layers() -> list[Layer]:
    found: list[Layer] = [
        FMPadding("", (5, 5), 4, UINT2, (1, 1, 1, 1)).fold(Folding(simd=2)),
        FMPadding("", (5, 6), 4, INT8, (1, 2, 0, 1)).fold(Folding(simd=4)),
        FMPadding("", (9, 2), 3, UINT2, (0, 1, 0, 2)),
        matrix("mvau", BIPOLAR, UINT2, Folding(2, 4)),
        matrix("mvau", BIPOLAR, INT8, Folding(1, 12)),
        matrix("mvau", UINT1, UINT4, Folding(3, 1)),
        matrix("mvau", INT3, UINT1, Folding(6, 3)),
        matrix("mvau", INT8, INT8, Folding(2, 12)),
        matrix("mvau", UINT4, UINT4, Folding()),
        matrix("vvau", BIPOLAR, UINT2, Folding(2, 1)),
        matrix("vvau", INT3, INT8, Folding(4, 3)),
        matrix("vvau", BIPOLAR, INT3, Folding(1, 6)),
        matrix("vvau", UINT4, UINT1, Folding(4, 1)),
        thresholds(4, 3, 0, INT8, "UINT2", 2),
        thresholds(6, 15, -8, named("INT12"), "INT4", 3),
        thresholds(2, 1, 0, UINT4, "BINARY", 1),
        thresholds(2, 255, -128, named("INT16"), "INT8", 2),
        ChannelwiseOp("", (3, 2), "add", np.array([-3, 0, 200, 7]), INT3, named("INT9")).fold(Folding(2)),
        ChannelwiseOp("", (1, 1), "mul", np.array([-1, 1, -1, 1]), INT3, named("INT4")),
        DuplicateStreams("", (3, 2, 4), INT3, 2).fold(Folding(4)),
        DuplicateStreams("", (3, 2, 4), UINT1, 4).fold(Folding(2)),
        AddStreams("", (3, 2, 4), (INT3, UINT4)).fold(Folding(2)),
        AddStreams("", (3, 2, 4), (UINT2, UINT2)),
        Pool("", (3, 2), 4, (2, 2), INT3).fold(Folding(2)),
        Pool("", (2, 2), 2, (3, 1), UINT2),
        GlobalAccPool("", (3, 3, 4), INT3).fold(Folding(2)),
        GlobalAccPool("", (3, 2, 4), UINT4).fold(Folding(4)),
        LabelSelect("", 6, INT3).fold(Folding(3)),
        LabelSelect("", 10, UINT4),
        StreamingDataWidthConverter("", (3, 2, 4), (1, 1, 24), INT3, 1, 12),
        StreamingDataWidthConverter("", (3, 2, 4), (3, 2, 4), INT8, 4, 2),
    ]
    square = [
        ((6, 6), 3, 1),
        ((8, 8), 3, 2),
        ((7, 7), 3, 2),
        ((6, 6), 2, 2),
        ((7, 7), 2, 2),
        ((5, 5), 1, 2),
        ((9, 9), 2, 3),
    ]
    for image, k, s in square:
        found.append(window(image, (k, k), (s, s), False, 2))
        found.append(window(image, (k, k), (s, s), True, 4))
    for image, kernel, stride in (((5, 7), (3, 2), (1, 1)), ((6, 7), (3, 2), (2, 1)), ((1, 9), (1, 3), (1, 2))):
        found.append(window(image, kernel, stride, False, 4))
        found.append(window(image, kernel, stride, True, 2))
    return found


def in_stream_order(array: np.ndarray, port: Port) -> np.ndarray:
    """Integers [N, size] as a stream brings them."""
    if port.interleave:
        taps = _taps(array.shape[-1])
        array = array.reshape(*array.shape[:3], taps, -1, port.interleave).swapaxes(3, 4)
    return array.reshape(len(array), -1)


def _taps(size: int) -> int:
    """The kernel positions of a window; the channels are 4, or 2 where 4 would leave a part of one."""
    return size // 4 if size % 4 == 0 else size // 2


def words(values: np.ndarray, port: Port) -> str:
    """Unsigned codes of the integers."""
    mask = (1 << int(port.type.bitwidth())) - 1
    return ",".join(str(int(v) & mask) for v in values.reshape(-1))


def program(cases: list[Layer]) -> str:
    lines = ['#include "bnn-library.h"']
    lines += [f'#include "{name}.hpp"' for name in ("activations", "interpret", "mvau", "pool", "vvau", "weights")]
    lines += [f'#include "{name}.hpp"' for name in ("sliding_window", "sum_pixels", "duplicate_to_all")]
    lines += ['#include "depthwise_parallel.hpp"', '#include "memory.hpp"', '#include "cases.hpp"']
    for number, layer in enumerate(cases):
        arrays = [
            RANDOM.integers(int(p.type.min()), int(p.type.max()), (IMAGES, *p.shape), endpoint=True)
            for p in layer.inputs
        ]
        ends = (
            list(zip("ab", layer.inputs, arrays, strict=False)),
            list(zip("stuv", layer.outputs, layer.execute(*arrays), strict=False)),
        )
        memories = [f"memory_{number}_{m.name}" for m in layer.hls_memories()]
        # Small ones as synthesis has them, too: initialised word by word.
        as_in_synthesis = number % 2 == 1 and all(m.words.size < 100 for m in layer.hls_memories())
        lines += ["#define __SYNTHESIS__"] * as_in_synthesis
        lines += [f'#include "{name}.hpp"' for name in memories]
        lines += ["#undef __SYNTHESIS__"] * as_in_synthesis
        lines += [f"static void case_{number}() {{", f"  unsigned const reps = {IMAGES};"]
        for name, port, array in (*ends[0], *ends[1]):
            lines.append(f'  hls::stream<ap_uint<{port.width}>> {name}("case {number} {name}");')
            lines.append(f"  static long long const {name}_words[] = {{{words(in_stream_order(array, port), port)}}};")
        for name, port, _ in ends[0]:
            lines.append(f"  send<{port.lanes}, {int(port.type.bitwidth())}>({name}_words, {name});")
        call = layer.hls_call([n for n, *_ in ends[0]], [n for n, *_ in ends[1]], memories)
        lines.append(f"  {call};")
        for name, port, _ in ends[1]:
            bits = int(port.type.bitwidth())
            lines.append(f'  check<{port.lanes}, {bits}>("case {number} {layer.op}", {name}_words, {name});')
        lines.append("}")
    calls = " ".join(f"case_{number}();" for number in range(len(cases)))
    return "\n".join([*lines, f"int main() {{ {calls} simulation::check_all_empty(); return wrong; }}"]) + "\n"


CASES = """
#include <cstdio>
static int wrong = 0;
template<unsigned LANES, unsigned BITS, std::size_t SIZE, int WIDTH>
void send(long long const (&numbers)[SIZE], hls::stream<ap_uint<WIDTH>> &stream) {
  for (std::size_t i = 0; i < SIZE; i += LANES) {
    ap_uint<WIDTH> word = 0;
    for (unsigned lane = 0; lane < LANES; lane++) word((lane + 1) * BITS - 1, lane * BITS) = numbers[i + lane];
    stream.write(word);
  }
}
template<unsigned LANES, unsigned BITS, std::size_t SIZE, int WIDTH>
void check(char const *name, long long const (&numbers)[SIZE], hls::stream<ap_uint<WIDTH>> &stream) {
  std::size_t i = 0, bad = 0;
  while (!stream.empty()) {
    ap_uint<WIDTH> const word = stream.read();
    for (unsigned lane = 0; lane < LANES; lane++, i++) {
      ap_uint<BITS> const code = word((lane + 1) * BITS - 1, lane * BITS);
      if (i >= SIZE || code != numbers[i]) bad++;
    }
  }
  if (bad || i != SIZE) {
    std::printf("%s: %zu of %zu wrong, %zu came\\n", name, bad, SIZE, i);
    wrong = 1;
  }
}
"""


def test_templates_give_what_the_layers_give(tmp_path: Path, ap_int: Path, hlslib: Path | None) -> None:
    cases = layers()
    forms = {case._hls_form() for case in cases if isinstance(case, ConvolutionInputGenerator)}
    assert forms == {"", "kernel_stride", "2D_kernel1", "NonSquare", "any"}, "each form is tried"
    (tmp_path / "cases.hpp").write_text(CASES)
    (tmp_path / "main.cpp").write_text("#define AP_INT_MAX_W 4096\n#include <ap_int.h>\n" + program(cases))
    for number, layer in enumerate(cases):
        for memory in layer.hls_memories():
            name = f"memory_{number}_{memory.name}"
            (tmp_path / f"{name}.hpp").write_text(declaration(name, memory))
            (tmp_path / f"{name}.inc").write_text(memory.initialiser())
    here = Path(folder.__file__).parent
    includes = [f"-I{path}" for path in (tmp_path, *(here / kind for kind in ("simulation", "extra", "support")))]
    command = ["g++", "-std=c++17", "-O0", "-w", *includes, f"-I{hlslib or here / 'library'}", "-isystem", str(ap_int)]
    made = subprocess.run([*command, "main.cpp", "-o", "main"], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[:3000]
    done = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
