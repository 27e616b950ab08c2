"""Test data for a design."""

from __future__ import annotations

import numpy as np

from hls_backend.dataflow import Dataflow
from hls_backend.design import Vectors
from hls_backend.execute import run
from hls_backend.host import prepare, sent
from passes.errors import UserError

SEED = 0


def from_images(dataflow: Dataflow, images: np.ndarray, origin: str) -> Vectors:
    """What the network makes of ``images``.

    Args:
        dataflow: with one input and one output.
        images: as the network takes them (normalised, float32, the batch first).
        origin: where they are from, in words.

    Raises:
        UserError: when the images do not fit the network.
    """
    return _expect(dataflow, prepare(dataflow, images), origin)


def random(dataflow: Dataflow, count: int, seed: int = SEED) -> Vectors:
    """What the network makes of ``count`` images of random integers, of those that the host sends."""
    (first,), (low, high) = dataflow.inputs, sent(dataflow)
    inputs = np.random.default_rng(seed).integers(low, high, (count, *first.shape), np.int64, endpoint=True)
    return _expect(dataflow, inputs, f"{count} random images of integers from {low} to {high}, seed {seed}")


def _expect(dataflow: Dataflow, inputs: np.ndarray, origin: str) -> Vectors:
    if len(dataflow.outputs) != 1:
        raise UserError(
            f"The network {dataflow.name!r} has {len(dataflow.outputs)} outputs; leave it the logits alone."
        )
    (last,) = dataflow.outputs
    outputs = run(dataflow, inputs)[last.name].reshape(-1, *last.shape)
    return Vectors(inputs.astype(np.int64), outputs.astype(np.int64), origin)
