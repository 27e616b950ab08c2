"""Quantised ONNX in, FINN layers out.

from hls_backend import lower, run
dataflow = lower(model).dataflow
"""

from hls_backend.dataflow import Dataflow, End, Folding, Layer, Port, Stream
from hls_backend.execute import run
from hls_backend.resources import Resources
from hls_backend.widths import insert_width_converters

__all__ = [
    "Dataflow",
    "End",
    "Folding",
    "Layer",
    "Port",
    "Resources",
    "Stream",
    "insert_width_converters",
    "run",
]
