"""The one place that turns images into the tensor that a model's input wants."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx

from graphops.data.dataset import DataSet
from graphops.data.normalisation import Normalisation, by_name
from passes.errors import ModelError, UserError
from passes.protobufs import type_name

METADATA_KEY = "graphops.normalisation"
"""The metadata_props entry in which a model names the normalisation it was trained with."""

_FLOATS: dict[int, type[np.generic]] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.DOUBLE: np.float64,
}


class Feed:
    """Images [N, C, H, W] of a data set in, the model's input out.

    Floating-point inputs get normalised images; a uint8 input gets the stored bytes, since such a model
    normalises by itself. The layout is NCHW where the image fits so, else NHWC; symbolic sizes fit anything. An input
    of another rank, as of a perceptron or of convolutions over time, gets the numbers of an image in their order.

    Args:
        model: a model with one input: [N, C, H, W], [N, H, W, C], or of another rank and as many numbers an image.
        dataset: where the images come from.
        normalisation: a normalisation or its name; else the one that the model's metadata name
            (``graphops.normalisation``), else the data set's.

    Attributes:
        input_name: the model's input.
        batch_size: the images that the model takes at once, or ``None`` where it takes any number.
        normalisation: the one in use.

    Raises:
        UserError: when images of the data set do not fit the model's input.
    """

    def __init__(
        self, model: onnx.ModelProto, dataset: DataSet, normalisation: Normalisation | str | None = None
    ) -> None:
        value = _only_input(model)
        self.input_name: str = value.name
        self._dtype = self._number_type(value, dataset)
        dims = _dims(value)
        self.batch_size: int | None = dims[0]
        self._sizes = None if len(dims) == 4 else _sizes(value.name, dims, dataset)
        self._channels_last = self._sizes is None and _channels_last(value.name, dims, dataset)
        self.normalisation = _choose(model, dataset, normalisation)
        if self._dtype == np.uint8 and normalisation is not None and self.normalisation.name != "none":
            raise UserError(
                f"The model's input {value.name!r} takes bytes, so the model normalises by itself; "
                f"leave the normalisation {self.normalisation.name!r} out."
            )
        self(dataset.train.images[:1])  # the normalisation's channels must fit too: say so now, not in mid-run

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The input tensor for ``images`` [N, C, H, W], in the model's type and layout, contiguous."""
        tensor = images if self._dtype == np.uint8 else self.normalisation(images).astype(self._dtype, copy=False)
        if self._sizes is not None:
            tensor = tensor.reshape(len(tensor), *self._sizes)
        return np.ascontiguousarray(tensor.transpose(0, 2, 3, 1) if self._channels_last else tensor)

    @staticmethod
    def _number_type(value: onnx.ValueInfoProto, dataset: DataSet) -> type[np.generic]:
        element = value.type.tensor_type.elem_type
        if element in _FLOATS:
            return _FLOATS[element]
        if element == onnx.TensorProto.UINT8:
            if dataset.train.images.dtype == np.uint8:
                return np.uint8
            raise UserError(f"The model's input {value.name!r} takes bytes and {dataset.name} holds floats.")
        kind = type_name(element)
        raise ModelError(f"The model's input {value.name!r} is of {kind}; images need a float or uint8 input.")


def knows_normalisation(model: onnx.ModelProto) -> bool:
    """Whether ``model`` says how images are normalised for it: by its metadata, or by taking bytes."""
    named = any(entry.key == METADATA_KEY for entry in model.metadata_props)
    return named or _only_input(model).type.tensor_type.elem_type == onnx.TensorProto.UINT8


def _only_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise ModelError(f"The model has {len(inputs)} inputs ({names}); images can be fed to one input only.")
    return inputs[0]


def _dims(value: onnx.ValueInfoProto) -> list[int | None]:
    """The sizes of an input, of rank 4 where it says none; ``None`` where any fits."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return [None] * 4
    if len(tensor.shape.dim) < 2:
        raise ModelError(
            f"The model's input {value.name!r} has {len(tensor.shape.dim)} dimensions; a batch of images needs two, "
            "[N, numbers], or more."
        )
    # Some exporters write 0 or -1 where a size is free.
    return [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]


def _sizes(name: str, dims: list[int | None], dataset: DataSet) -> list[int]:
    """The sizes after the batch, as many numbers as an image has; one of them may follow from the others."""
    count = prod(dataset.image_shape)
    known = prod(dim for dim in dims[1:] if dim is not None)
    if dims[1:].count(None) > 1 or count % known or (None not in dims[1:] and count != known):
        wanted = "x".join("?" if dim is None else str(dim) for dim in dims[1:])
        raise UserError(
            f"The model's input {name!r} takes {wanted} numbers and images of {dataset.name} have "
            f"{'x'.join(map(str, dataset.image_shape))}; choose a data set or a model that fits."
        )
    return [count // known if dim is None else dim for dim in dims[1:]]


def _channels_last(name: str, dims: list[int | None], dataset: DataSet) -> bool:
    channels, height, width = dataset.image_shape
    for last, sizes in ((False, (channels, height, width)), (True, (height, width, channels))):
        if all(dim in (None, size) for dim, size in zip(dims[1:], sizes, strict=True)):
            return last
    wanted = "x".join("?" if dim is None else str(dim) for dim in dims[1:])
    raise UserError(
        f"The model's input {name!r} takes images of {wanted} and those of {dataset.name} are "
        f"{channels}x{height}x{width}; choose a data set or a model that fits."
    )


def _choose(model: onnx.ModelProto, dataset: DataSet, given: Normalisation | str | None) -> Normalisation:
    if isinstance(given, Normalisation):
        return given
    noted = next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)
    name = given or noted
    return by_name(name) if name else dataset.normalisation
