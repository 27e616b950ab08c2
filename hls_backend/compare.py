"""A dataflow against qonnx's own execution of the graph it came from, quantiser by quantiser.

qonnx computes in float32, and sums in an order that nobody specifies: a value that lies within rounding of a
quantiser's boundary can fall on either side. There the graph in float64 is the judge, of which the thresholds were
taken. So the two run in step: where a quantiser's results differ, the value in float64 must lie within float32
rounding of qonnx's, and on the dataflow's side of the boundary; it is counted, and qonnx goes on with the dataflow's
value. Anything else is a mismatch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import numpy as np
import onnx

from hls_backend.dataflow import Stream
from hls_backend.execute import run
from hls_backend.host import prepare
from hls_backend.layers import MVAU, VVAU, LabelSelect
from hls_backend.lower import Lowered
from hls_backend.lowering.state import Judge
from hls_backend.qonnx_execution import readable_models, wrap
from hls_backend.reader import read

_ULP = 2.0**-24


@dataclass
class Comparison:
    """What was compared.

    Attributes:
        images: how many.
        values: integers compared.
        boundary: those within float32 rounding of a boundary where float32 fell on the other side.
        mismatches: by tensor, integers that differ with no such excuse.
    """

    images: int
    values: int = 0
    boundary: int = 0
    mismatches: dict[str, int] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return not self.mismatches

    def __str__(self) -> str:
        judged = f"{self.boundary} within float32 rounding of a boundary, judged in float64"
        wrong = ", ".join(f"{count} in {name!r}" for name, count in self.mismatches.items())
        return f"{self.images} images, {self.values} integers: {f'{wrong} differ' if wrong else 'all equal'} ({judged})"


def compare(model: onnx.ModelProto, lowered: Lowered, images: np.ndarray) -> Comparison:
    """Run ``model`` by qonnx and its dataflow in numpy, in step.

    Args:
        model: the quantised graph that was lowered.
        lowered: what `lower` made of it.
        images: as the model takes them, float32, the batch first.
    """
    return _Lockstep(model, lowered, images).run()


class _Lockstep:
    def __init__(self, model: onnx.ModelProto, lowered: Lowered, images: np.ndarray) -> None:
        self.lowered, self.dataflow = lowered, lowered.dataflow
        self.graph = wrap(read(model).source, len(images))
        self.ours = run(self.dataflow, prepare(self.dataflow, images), keep=True)
        self.context: dict[str, np.ndarray] = dict(self.graph.make_empty_exec_context())
        self.context[self.graph.graph.input[0].name] = images.astype(np.float32)
        self.streams = {s.tensor: s for s in self.dataflow.streams if s.tensor}
        self.found = Comparison(len(images))

    def run(self) -> Comparison:
        from qonnx.core.onnx_exec import execute_node

        graph = self.graph.graph
        opsets = {o.domain: o.version for o in self.graph.model.opset_import}
        for node in graph.node:
            with readable_models():
                execute_node(node, self.context, graph, opsets.get(node.domain, 1))
            for name in node.output:
                if name in self.streams:
                    self._tensor(name, self.streams[name])
        for layer in self.dataflow.layers:
            if isinstance(layer, LabelSelect):
                self._classes(layer)
        return self.found

    def _tensor(self, name: str, stream: Stream) -> None:
        theirs = np.asarray(self.context[name])
        layout = self.lowered.layouts[name]
        constant = stream.scale == 0  # there any integer stands for the bias
        steps = (layout.to_stream(theirs, stream.shape) - stream.bias) / np.where(constant, 1, stream.scale)
        ours = self.ours[stream.name].reshape(steps.shape).astype(np.int64)
        integers = np.round(steps).astype(np.int64) + np.where(constant, ours, 0)
        self.found.values += ours.size
        differ = ours != integers
        if not differ.any():
            return
        excused = 0
        judge = self.lowered.judges.get(name)
        if judge is not None:
            exact, low, high = self._levels(judge, stream)
            excused = int((differ & (ours == exact) & (low <= integers) & (integers <= high)).sum())
            values = (stream.scale * ours + stream.bias).astype(theirs.dtype)
            self.context[name] = np.where(layout.from_stream(differ), layout.from_stream(values), theirs)
        self.found.boundary += excused
        if differ.sum() > excused:
            self.found.mismatches[name] = int(differ.sum()) - excused

    def _levels(self, judge: Judge, stream: Stream) -> list[np.ndarray]:
        """The levels of ``stream`` by its judge, and the least and the greatest that float32 rounding can make them."""
        layer = self.dataflow.layer(judge.layer)
        (before,) = self.dataflow.inputs_of(layer)
        integers = self.ours[before.name]
        tolerance = _ULP * (16 + 2 * sqrt(self._terms(before))) * judge.magnitude()
        flat = integers.reshape(-1, judge.value.channels)
        found = [judge.levels(flat, shift).reshape(integers.shape) for shift in (0.0, -tolerance, tolerance)]
        (after,) = self.dataflow.outputs_of(layer)
        while after.tensor != stream.tensor:  # poolings that waited for the quantiser
            assert after.target is not None, "the thresholds lead to the stream"
            layer = self.dataflow.layer(after.target.layer)
            found = [layer.execute(levels)[0] for levels in found]
            (after,) = self.dataflow.outputs_of(layer)
        return found

    def _terms(self, stream: Stream) -> int:
        """The length of the sums that a stream's integers are."""
        layer = self.dataflow.layer(stream.source.layer) if stream.source else None
        if isinstance(layer, MVAU):
            return layer.mw
        return layer.kernel_size if isinstance(layer, VVAU) else 2

    def _classes(self, layer: LabelSelect) -> None:
        (out,) = self.dataflow.outputs_of(layer)
        logits = self.context[self.lowered.logits[layer.name]]
        ours = self.ours[out.name].reshape(-1)
        rows = np.arange(len(ours))
        gap = logits.max(axis=1) - logits[rows, ours]
        differ = logits.argmax(axis=1) != ours
        tied = differ & (gap <= _ULP * 64 * np.abs(logits).max())
        self.found.values += len(ours)
        self.found.boundary += int(tied.sum())
        if (differ & ~tied).any():
            self.found.mismatches[out.tensor] = int((differ & ~tied).sum())
