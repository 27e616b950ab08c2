"""Kernels, strides and pads of sliding operators, as attributes or by auto_pad."""

from __future__ import annotations

from dataclasses import dataclass

from hls_backend.errors import LoweringError
from hls_backend.lowering.wire import Value
from passes.graph import Node, attributes, label


@dataclass(frozen=True)
class Window:
    """Rows first, columns second; ``pads`` are top, left, bottom, right."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)


def window(node: Node, value: Value, kernel: tuple[int, ...] | None = None) -> Window:
    """The window that ``node`` slides over ``value``; one axis becomes the columns of a single row.

    Args:
        node: a Conv or a pooling.
        value: what it slides over.
        kernel: the kernel's size, where it is not an attribute.
    """
    if not value.layout.is_standard or len(value.layout.axes) == 2:
        axes = ", ".join(value.layout.axes)
        raise LoweringError(label(node), f"it slides over a tensor of axes {axes}", "keep images as N, C, H, W")
    found = attributes(node)
    size = tuple(found.get("kernel_shape", kernel or ()))
    ones = (1,) * len(size)
    strides, dilations = tuple(found.get("strides", ones)), tuple(found.get("dilations", ones))
    pads = tuple(found.get("pads", (0,) * 2 * len(size)))
    rank = len(value.layout.axes) - 2
    right = len(size) == rank and len(strides) == len(dilations) == rank and len(pads) == 2 * rank
    right = right and kernel in (None, size)
    if not right or min((*size, *strides, *dilations)) < 1:
        reason = f"its kernel {list(size)}, strides {list(strides)}, dilations {list(dilations)} and pads {list(pads)}"
        raise LoweringError(label(node), f"{reason} do not fit together", "check its attributes")
    auto = found.get("auto_pad", b"NOTSET").decode(errors="replace")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = value.shape[-1 - len(size) : -1]
        spans = [d * (k - 1) + 1 for k, d in zip(size, dilations, strict=True)]
        total = [(-(-n // s) - 1) * s + k - n for n, s, k in zip(sizes, strides, spans, strict=True)]
        first = tuple(int((t + (auto == "SAME_LOWER")) / 2) for t in total)  # below 0, onnxruntime crops
        pads = first + tuple(max(0, t - f) for t, f in zip(total, first, strict=True))
    if min(pads, default=0) < 0:
        raise LoweringError(label(node), "its pads are negative", "crop outside of the network, and write pads out")
    if len(size) == 1:
        return Window((1, size[0]), (1, strides[0]), (0, pads[0], 0, pads[1]), (1, dilations[0]))
    return Window(size, strides, pads, dilations)
