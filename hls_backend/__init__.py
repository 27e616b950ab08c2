"""Quantised ONNX in, FINN layers out.

from hls_backend import execute, lower
classes = execute(lower(model).dataflow, images)
"""

from hls_backend.dataflow import Dataflow, End, Folding, Layer, Port, Stream
from hls_backend.errors import LoweringError
from hls_backend.execute import execute, run
from hls_backend.lower import Lowered, lower
from hls_backend.resources import Resources
from hls_backend.widths import insert_width_converters

__all__ = [
    "Dataflow",
    "End",
    "Folding",
    "Layer",
    "Lowered",
    "LoweringError",
    "Port",
    "Resources",
    "Stream",
    "execute",
    "insert_width_converters",
    "lower",
    "run",
]
