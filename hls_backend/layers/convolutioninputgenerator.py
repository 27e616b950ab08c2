"""ConvolutionInputGenerator: an image in, its sliding windows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from hls_backend.cpp import call
from hls_backend.dataflow import Flavour, Folding, Layer, Port
from hls_backend.datatypes import IntegerType
from hls_backend.instance import Instance
from hls_backend.layers.common import by_simd
from hls_backend.resources import Resources, buffer, counter, in_block


@dataclass(frozen=True, eq=False)
class ConvolutionInputGenerator(Layer):
    """The window of each output pixel: kernel rows, kernel columns, channels.

    For a depthwise layer the stream brings ``simd`` channels for each kernel position in turn, then the next ones;
    `execute` gives its array in kernel, channel order all the same.

    Attributes:
        image: rows and columns, padded already.
        channels: of the image; ``simd`` of them pass at once.
        type: of the integers.
        kernel, stride: rows, columns.
        depthwise: whether the consumer works channel by channel.
    """

    image: tuple[int, int]
    channels: int
    type: IntegerType
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    depthwise: bool = False

    op: ClassVar[str] = "ConvolutionInputGenerator"

    def __post_init__(self) -> None:
        if any(k > n for k, n in zip(self.kernel, self.image, strict=True)):
            raise ValueError(f"{self.name}: a {self.kernel} window does not fit in an image of {self.image}")

    @property
    def windows(self) -> tuple[int, int]:
        """Rows and columns of output pixels."""
        rows, columns = ((n - k) // s + 1 for n, k, s in zip(self.image, self.kernel, self.stride, strict=True))
        return rows, columns

    @property
    def inputs(self) -> tuple[Port, ...]:
        return (Port((*self.image, self.channels), self.type, self.folding.simd),)

    @property
    def outputs(self) -> tuple[Port, ...]:
        size = self.kernel[0] * self.kernel[1] * self.channels
        interleave = self.folding.simd if self.depthwise else 0
        return (Port((*self.windows, size), self.type, self.folding.simd, interleave),)

    def execute(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        found = np.lib.stride_tricks.sliding_window_view(arrays[0], self.kernel, axis=(1, 2))
        found = found[:, :: self.stride[0], :: self.stride[1]].transpose(0, 1, 2, 4, 5, 3)
        return (found.reshape(len(found), *self.outputs[0].shape),)

    @property
    def cycles(self) -> int:
        """The more of reads and writes, which overlap."""
        return max(self.inputs[0].transfers, self.outputs[0].transfers)

    @property
    def finn_cycles(self) -> int:
        """As ``convolutioninputgenerator_rtl.py`` of FINN has it, its parallel form for 1x1 kernels included."""
        folds = self.channels // self.folding.simd
        (rows, columns), (out_rows, out_columns) = self.image, self.windows
        (k_rows, k_columns), (s_rows, s_columns) = self.kernel, self._finn_stride
        if self.kernel == (1, 1):
            return self.inputs[0].transfers + 2
        if 1 in self.image:
            length, kernel, step = out_columns * out_rows, k_columns * k_rows, s_columns if rows == 1 else s_rows
            writes = length * kernel * folds + 2
            return writes + (folds * (kernel - 1) * (step - 1) - (kernel - 1) if self.depthwise else 0)
        fill = ((k_rows - 1) * columns + k_columns) * folds
        a_row = max(out_columns * k_columns * k_rows * folds, s_columns * columns * folds)
        if self.depthwise:
            a_row += out_columns * (s_columns - 1) * (folds - 1)
        last = (s_rows - 1) * columns * folds if self.depthwise else 0
        return fill + out_rows * a_row + last

    def foldings(self) -> list[Folding]:
        return by_simd(self.channels)

    def feeding(self, target: Port) -> Self:
        """A depthwise window brings as many channels in turn as its consumer wants."""
        return replace(self, folding=Folding(simd=target.interleave)) if self.depthwise else self

    def resources(self) -> Resources:
        """The ring, and the counters of its read and write addresses."""
        folds, depth = self.channels // self.folding.simd, self.ring
        places = (*self.image, *self.windows, *self.kernel, folds)
        return buffer(depth, self.inputs[0].width) + Resources(sum(map(counter, places)) + 2 * counter(depth))

    @property
    def _finn_stride(self) -> tuple[int, int]:
        """FINN refuses strides over more than the image, where there is one window and none is taken."""
        rows, columns = (min(s, n) for s, n in zip(self.stride, self.image, strict=True))
        return rows, columns

    def finn_attributes(self, flavour: Flavour) -> dict[str, Any]:
        return {
            "ConvKernelDim": list(self.kernel),
            "IFMChannels": self.channels,
            "IFMDim": list(self.image),
            "OFMDim": list(self.windows),
            "SIMD": self.folding.simd,
            "Stride": list(self._finn_stride),
            "Dilation": [1, 1],
            "inputDataType": self.type.name,
            "outputDataType": self.type.name,
            "depthwise": int(self.depthwise),
            "is1D": int(1 in self.image),
        }

    # -- finn-hlslib -----------------------------------------------------------------------------------------

    def hls_call(self, inputs: Sequence[str], outputs: Sequence[str], memories: Sequence[str]) -> str:
        """The form of finn-hlslib's that is right for the geometry, else our own (see `_hls_form`)."""
        (rows, columns), (out_rows, out_columns) = self.image, self.windows
        (k_rows, k_columns), (s_rows, s_columns) = self.kernel, self.stride
        bits, simd, form = int(self.type.bitwidth()), self.folding.simd, self._hls_form()
        streams = (*inputs, *outputs, "reps")
        memory = "ap_resource_dflt()"
        if form == "2D_kernel1":
            template: tuple[object, ...] = (self.channels, bits, rows, simd, s_rows)
            return call("ConvolutionInputGenerator_2D_kernel1", template, *streams)
        if form == "any":
            template = (
                k_rows,
                k_columns,
                self.channels,
                bits,
                rows,
                columns,
                out_rows,
                out_columns,
                simd,
                *self.stride,
            )
            return call("SlidingWindow_Batch", (*template, self.depthwise), *streams, memory)
        name = "_".join(p for p in ("ConvolutionInputGenerator", form, "dws" if self.depthwise else "") if p)
        if form == "NonSquare":
            template = (k_columns, k_rows, self.channels, bits, columns, rows, out_columns, out_rows, simd)
            return call(name, (*template, s_columns, s_rows), *streams, memory)
        template = (k_rows, self.channels, bits, rows, out_rows, simd, s_rows)
        return call(name, template, *streams, memory)

    def _hls_form(self) -> str:
        """What comes after the template's name, or "any" where none of finn-hlslib's forms is right.

        By running all of its forms (commit cc8db47) on 1566 geometries: that for kernels which are multiples of the
        stride never reads the rows that the stride leaves over; those with a block of rows a stride lose words where a
        row is so short that ``out_rows >= stride * columns * folds``; strides in NonSquare address the wrong column;
        `_kernel_stride` is wrong where the stride is larger than the kernel.
        """
        (rows, columns), (kernel, _), (stride, _) = self.image, self.kernel, self.stride
        folds = self.channels // self.folding.simd
        is_long = self.windows[0] < stride * columns * folds
        is_square = rows == columns and len(set(self.kernel)) == len(set(self.stride)) == 1
        if not is_square:
            return "NonSquare" if self.stride == (1, 1) and is_long else "any"
        if kernel == 1 and stride > 1:
            return "2D_kernel1"
        if kernel % stride == 0:
            return "" if rows % stride == 0 and is_long else "any"
        return "kernel_stride" if kernel > stride else "any"

    # -- RTL -------------------------------------------------------------------------------------------------

    def rtl(self) -> Instance:
        depth, width = self.ring, self.inputs[0].width
        parameters = {
            "WIDTH": width,
            "FOLDS": self.channels // self.folding.simd,
            "ROWS": self.image[0],
            "COLUMNS": self.image[1],
            "KERNEL_ROWS": self.kernel[0],
            "KERNEL_COLUMNS": self.kernel[1],
            "STRIDE_ROWS": self.stride[0],
            "STRIDE_COLUMNS": self.stride[1],
            "DEPTHWISE": int(self.depthwise),
            "DEPTH": depth,
            "BLOCK": int(in_block(depth, width)),
        }
        return Instance("sliding_window", parameters, registers_ready=True)

    @property
    def ring(self) -> int:
        """Words that the RTL's ring holds: a window, the furthest step from one to the next, and a word.

        That is the one into the next image or, over large strides, into the next row; with so much room, writing never
        waits for reading where the consumer keeps up. A power of two where that takes no more memory: the ring needs
        less logic then.
        """
        (rows, columns), (_, across), (down, right) = self.image, self.windows, self.stride
        last = (self.windows[0] - 1) * down * columns + (across - 1) * right
        span = (self.kernel[0] - 1) * columns + self.kernel[1]
        step = max(rows * columns - last, down * columns - (across - 1) * right)
        least = max(4, (span + step) * (self.channels // self.folding.simd) + 1)
        power, width = 1 << (least - 1).bit_length(), self.inputs[0].width
        return power if buffer(power, width) == buffer(least, width) else least
