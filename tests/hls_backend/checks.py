"""What tests of lowering share."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx

from hls_backend import Dataflow, Lowered, lower
from hls_backend.compare import compare


def same_as_qonnx(model: onnx.ModelProto, images: np.ndarray, most_on_boundary: int = 0) -> Lowered:
    """Lower ``model`` and compare it with qonnx on ``images``, quantiser by quantiser."""
    lowered = lower(model)
    found = compare(model, lowered, images)
    assert found.equal, str(found)
    assert found.boundary <= most_on_boundary, str(found)
    return lowered


def kinds(dataflow: Dataflow) -> Counter[str]:
    """How many layers of each kind."""
    return Counter(layer.op for layer in dataflow.layers)


def only(dataflow: Dataflow, kind: type) -> Any:
    """The one layer of a kind."""
    (layer,) = [layer for layer in dataflow.layers if isinstance(layer, kind)]
    return layer
