"""What the activations of a network span, measured on images, as ranges for the pass ``quantize``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphops.inference import run, session
from passes.errors import UserError
from passes.quantize import Quantize, prepare

if TYPE_CHECKING:
    from graphops.data import DataSet
    from graphops.data.normalisation import Normalisation

IMAGES = 256
"""Training images that ranges are measured on, at equal distances."""

_KEPT = 2**17  # numbers kept of each activation
_BATCH = 64
_TRIED = 100  # ranges that the best is chosen from


def calibrated(
    rewriter: Quantize,
    model: onnx.ModelProto,
    dataset: DataSet,
    normalisation: Normalisation | str | None = None,
    progress: Callable[..., Any] | None = None,
) -> Quantize:
    """``rewriter`` with the ranges of ``model``'s activations on ``dataset``.

    A range is the one, of those tried, whose grid has the least squared error on what was measured: at few bits that
    is narrower than from the least value to the greatest. Those that ``rewriter`` has stay.

    Raises:
        UserError: when images do not fit the model, onnxruntime cannot run it, or an activation is not finite.
    """
    points = rewriter.points(model)
    given = rewriter.given(points)
    missing = [name for name in points if name not in given]
    samples = _measure(prepare(model), missing, dataset, normalisation, progress) if missing else {}
    return rewriter.calibrated(given | {name: best_range(samples[name], *points[name]) for name in missing})


def best_range(values: np.ndarray, bits: int, signed: bool) -> tuple[float, float]:
    """The lowest and the highest value of the grid of ``bits`` with the least squared error on ``values``."""
    levels = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    widest = float(np.abs(values).max(initial=0)) / max(levels[1], 1)
    best, least = widest, np.inf
    for share in np.linspace(1 / _TRIED, 1, _TRIED) if widest > 0 else ():
        scale = share * widest
        error = float(((np.clip(np.round(values / scale), *levels) * scale - values) ** 2).sum())
        if error < least:
            best, least = scale, error
    return float(levels[0] * best), float(levels[1] * best)


def _measure(
    model: onnx.ModelProto,
    names: list[str],
    dataset: DataSet,
    normalisation: Normalisation | str | None,
    progress: Callable[..., Any] | None,
) -> dict[str, np.ndarray]:
    """Some of the values of each tensor, drawn in the same way each time."""
    from graphops.data.feed import Feed
    from graphops.sensitivity import spread

    feed = Feed(model, dataset, normalisation)
    images = spread(dataset.train, IMAGES).images
    inner = [name for name in names if name != feed.input_name]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    have = {output.name for output in model.graph.output}
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in inner if n not in have)
    running = session(watched)
    random = np.random.default_rng(0)
    size = feed.batch_size or _BATCH
    each = max(1, _KEPT * size // len(images))
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for first in range(0, len(images), size):
        part = images[first : first + size]
        if feed.batch_size:
            part = np.resize(part, (size, *part.shape[1:]))  # the last ones again and again, to fill a fixed batch
        tensor = feed(part)
        found = dict(zip(inner, run(running, inner, feed.input_name, tensor), strict=True))
        found[feed.input_name] = tensor
        for name in names:
            values = found[name].reshape(-1)
            if not np.isfinite(values).all():
                raise UserError(f"The activation {name!r} is not finite on these images; repair the model first.")
            kept[name].append(random.choice(values, each, replace=False) if values.size > each else values)
        if progress is not None:
            progress(min(first + size, len(images)), len(images))
    return {name: np.concatenate(parts).astype(np.float64) for name, parts in kept.items()}
