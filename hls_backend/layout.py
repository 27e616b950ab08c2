"""Which axis of an ONNX tensor is what in a stream of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hls_backend.dataflow import Shape


@dataclass(frozen=True)
class Layout:
    """How a tensor's axes stand to a stream's rows, columns and channels.

    Attributes:
        axes: one string an axis: ``"N"``, ``"C"``, ``"H"``, ``"W"``, or several that were flattened, e.g. ``"CHW"``.
            Axes of size 1 may be missing.
    """

    axes: tuple[str, ...]

    @staticmethod
    def of_rank(rank: int) -> Layout:
        """ONNX's own order: NCHW, NCL (read as one row), NC."""
        return Layout({4: ("N", "C", "H", "W"), 3: ("N", "C", "W"), 2: ("N", "C")}[rank])

    @property
    def channel_axis(self) -> int:
        return next(i for i, axis in enumerate(self.axes) if "C" in axis)

    @property
    def is_standard(self) -> bool:
        """Whether convolutions and poolings of ONNX find their axes where they want them."""
        return self.axes in (("N", "C", "H", "W"), ("N", "C", "W"), ("N", "C"))

    @property
    def is_flat(self) -> bool:
        """Whether one axis holds more than channels."""
        return any(len(axis) > 1 for axis in self.axes)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """``values`` [n, channels] as a tensor of this layout with n images of one pixel."""
        shape = [1] * len(self.axes)
        shape[0], shape[self.channel_axis] = values.shape
        return values.reshape(shape)

    def gather(self, tensor: np.ndarray) -> np.ndarray | None:
        """What `spread` was given; None when ``tensor`` is of another shape by now."""
        shape = [1] * len(self.axes)
        shape[0], shape[self.channel_axis] = tensor.shape[0], tensor.shape[self.channel_axis] if tensor.ndim > 1 else 0
        return tensor.reshape(len(tensor), -1) if list(tensor.shape) == shape else None

    def per_channel(self, constant: np.ndarray, channels: int, on_axis_1: bool = False) -> np.ndarray | None:
        """A constant that broadcasts with the tensor as one number a channel; None when it is more than that.

        Args:
            constant: of any rank.
            channels: of the stream.
            on_axis_1: whether a vector lies along axis 1, as for BatchNormalization, or by broadcasting.
        """
        rank = len(self.axes)
        if on_axis_1 and constant.ndim == 1:
            constant = constant.reshape([-1 if i == 1 else 1 for i in range(rank)])
        shape = (1,) * (rank - constant.ndim) + constant.shape
        if len(shape) > rank or any(d != 1 for i, d in enumerate(shape) if i != self.channel_axis):
            return None
        if shape[self.channel_axis] not in (1, channels):
            return None
        return np.broadcast_to(constant.reshape(-1), (channels,))

    def to_stream(self, tensor: np.ndarray, shape: Shape) -> np.ndarray:
        """A tensor of this layout as [N, rows, columns, channels]."""
        names = "".join(self.axes)
        sizes = {"N": len(tensor), "H": shape[0], "W": shape[1], "C": shape[2]}
        split = tensor.reshape([sizes[name] for name in names])
        missing = [axis for axis in "NHWC" if axis not in names]
        split = split.reshape(split.shape + (1,) * len(missing))
        return split.transpose([(names + "".join(missing)).index(axis) for axis in "NHWC"])

    def from_stream(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `to_stream`."""
        sizes = dict(zip("NHWC", array.shape, strict=True))
        names = "".join(self.axes)
        missing = tuple("NHWC".index(axis) for axis in "NHWC" if axis not in names)
        kept = [axis for axis in "NHWC" if axis in names]
        ordered = array.squeeze(missing).transpose([kept.index(axis) for axis in names])
        return ordered.reshape([int(np.prod([sizes[name] for name in axis])) for axis in self.axes])

    def permuted(self, order: list[int]) -> Layout:
        """After a Transpose."""
        return Layout(tuple(self.axes[i] for i in order))

    def stream_order(self, shape: Shape) -> np.ndarray:
        """For a flat [N, K] layout: which of the K elements each element of the stream is."""
        names = self.axes[1]
        sizes = {"H": shape[0], "W": shape[1], "C": shape[2]}
        places = np.arange(int(np.prod(shape))).reshape([sizes[name] for name in names])
        missing = [axis for axis in "HWC" if axis not in names]
        places = places.reshape(places.shape + (1,) * len(missing))
        return places.transpose([(names + "".join(missing)).index(axis) for axis in "HWC"]).reshape(-1)


def stream_shape(layout: Layout, sizes: tuple[int, ...]) -> Shape:
    """Rows, columns and channels of a tensor whose axes after the first have ``sizes``."""
    by_name = dict(zip(layout.axes[1:], sizes, strict=True))
    return by_name.get("H", 1), by_name.get("W", 1), by_name["C"]
