"""Integer execution of a dataflow in numpy."""

from __future__ import annotations

import numpy as np

from hls_backend.dataflow import Dataflow
from hls_backend.host import prepare
from passes.errors import UserError


def run(dataflow: Dataflow, images: np.ndarray, keep: bool = False) -> dict[str, np.ndarray]:
    """Run ``images`` through every layer.

    Args:
        dataflow: with one input stream.
        images: integers [N, rows, columns, channels] of the input stream's type.
        keep: whether to return every stream, not only the outputs.

    Returns:
        By the stream's name, integers [N, rows, columns, channels].
    """
    (first,) = dataflow.inputs
    values = {first.name: images.reshape(-1, *first.shape)}
    left = {s.name for s in dataflow.outputs}
    found = dict(values) if keep else {n: v for n, v in values.items() if n in left}
    for layer in dataflow.layers:
        streams = dataflow.inputs_of(layer)
        arrays = [values.pop(s.name).reshape(-1, *p.shape) for s, p in zip(streams, layer.inputs, strict=True)]
        for stream, array in zip(dataflow.outputs_of(layer), layer.execute(*arrays), strict=True):
            values[stream.name] = array
            if keep or stream.name in left:
                found[stream.name] = array
    return found


def execute(dataflow: Dataflow, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Run images as the network takes them, the host's part included.

    Args:
        dataflow: with one output stream.
        images: normalised, float32, the batch first.
        batch: images at once.

    Returns:
        Integers [N, rows, columns, channels]; where the dataflow ends in LabelSelect, classes [N, 1, 1, 1].

    Raises:
        UserError: when the images do not fit the network, or there are none.
    """
    if not len(images):
        raise UserError("There are no images to execute; give at least one.")
    (last,) = dataflow.outputs
    parts = [images[i : i + batch] for i in range(0, len(images), batch)]
    return np.concatenate([run(dataflow, prepare(dataflow, part))[last.name] for part in parts])
