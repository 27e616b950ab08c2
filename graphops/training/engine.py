"""One training step: the gradient graph in K sessions of one thread each, on K shares of the batch, over flat buffers.

Only Conv uses a second thread well, so K sessions over shares beat one session of K threads. BatchNormalization
normalises over each share; the running statistics are those of the whole batch. K is part of what a run computes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from graphops.training import runtime
from graphops.training.flat import Layout
from graphops.training.gradient import SUFFIX, gradient_graph, in_words
from graphops.training.loss import LossGraph
from graphops.training.rewrites import chosen, rewritten
from graphops.training.roles import Roles

Buffer = NDArray[np.float32]


@dataclass(frozen=True)
class StepResult:
    """What a step computed; ``gradient`` is in the layout of the parameters and may be overwritten.

    Attributes:
        terms: the loss and its terms, means over the batch.
        logits: float32 [N, classes], valid until the next step.
        gradient: flat gradient of the loss.
    """

    terms: dict[str, float]
    logits: Buffer
    gradient: Buffer


class Engine:
    """Parameters, running statistics and gates of a network, and the gradient of its loss on a batch.

    Args:
        graph: the training graph with its loss.
        logits: the tensor with the logits [N, ``classes``].
        roles: what is trained.
        feeds: type and shape without the batch of each data input.
        batch: images a step.
        workers: sessions, at most one an image.
        rewrites: names of the faster forms of ``rewrites.py`` to use; None means those that this processor gains from.

    Attributes:
        layout: where each trained tensor lies in ``parameters``.
        parameters, means, variances: flat float32 buffers; write to them freely between steps.
        gates: the value of each gate, to be written between steps.
        rewrites: names of the rewrites in use.

    Raises:
        UserError: when an operator has no gradient.
    """

    def __init__(
        self,
        graph: LossGraph,
        logits: str,
        roles: Roles,
        feeds: Mapping[str, tuple[Any, tuple[int, ...]]],
        classes: int,
        batch: int,
        workers: int,
        rewrites: Sequence[str] | None = None,
    ) -> None:
        initial = {i.name: i for i in graph.model.graph.initializer}
        values = {n: numpy_helper.to_array(initial[n]) for n in (*roles.trained, *roles.statistics, *roles.gates)}
        self.terms = dict(graph.terms)
        self.layout = Layout({n: values[n].shape for n in roles.trained})
        self.parameters = self.layout.pack(values)
        self.mean_layout = Layout({n.mean: values[n.mean].shape for n in roles.normalisations})
        self.variance_layout = Layout({n.variance: values[n.variance].shape for n in roles.normalisations})
        self.means = self.mean_layout.pack(values)
        self.variances = self.variance_layout.pack(values)
        self.gates = {n: np.array(values[n], np.float32) for n in roles.gates}
        # The share that a batch has in the running statistics, for each of their values; padding takes any, and so do
        # statistics that never move, which are left alone.
        self._rate = np.ones_like(self.means)
        for n in roles.normalisations:
            self.mean_layout.view(self._rate, n.mean)[...] = (1.0 - n.momentum) or np.inf
        self._moves = np.isfinite(self._rate)
        self._gradient = np.zeros_like(self.parameters)
        self._logits = np.zeros((batch, classes), np.float32)

        buffers = [*roles.statistics, *roles.gates]
        built = gradient_graph(graph.model, graph.terms["loss"], roles.trained, buffers)
        workers = min(workers, batch)
        cuts = [batch * k // workers for k in range(workers + 1)]
        self.rewrites = tuple(chosen([b - a for a, b in pairwise(cuts)]) if rewrites is None else rewrites)
        self.model = rewritten(built, self.rewrites)
        serialised = self.model.SerializeToString()
        self._workers = []
        for start, stop in pairwise(cuts):
            self._workers.append(_Worker(self, graph.model, serialised, slice(start, stop), logits, feeds))
        self._weights = [np.float32((b - a) / batch) for a, b in pairwise(cuts)]
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def close(self) -> None:
        """End the threads."""
        if self._pool:
            self._pool.shutdown()

    def step(self, batch: Mapping[str, NDArray]) -> StepResult:
        """Gradient and loss on ``batch`` (every data input with all its rows); the running statistics move."""
        for worker in self._workers:
            worker.take(batch)
        if self._pool is None:
            self._workers[0].run()
        else:
            for _ in self._pool.map(_Worker.run, self._workers):
                pass
        self._gather_statistics()
        self._gradient.fill(0)
        for weight, worker in zip(self._weights, self._workers, strict=True):
            if len(self._workers) > 1:
                worker.gradient *= weight
            self._gradient += worker.gradient
        terms = {
            name: float(sum(w * worker.terms[k] for w, worker in zip(self._weights, self._workers, strict=True)))
            for k, name in enumerate(self.terms)
        }
        return StepResult(terms, self._logits, self._gradient)

    def statistics(self) -> dict[str, Buffer]:
        """The running statistics by name."""
        return {**self.mean_layout.unpack(self.means), **self.variance_layout.unpack(self.variances)}

    def values(self) -> dict[str, Buffer]:
        """Everything that goes back into the person's graph, by name."""
        gates = {n: v.copy() for n, v in self.gates.items()}
        return {**self.layout.unpack(self.parameters), **self.statistics(), **gates}

    def _gather_statistics(self) -> None:
        """The whole batch's statistics: its variance is the mean of the shares' plus that of the shares' means.

        Each share's running mean is r + rate (m - r); so the differences of running means are rate times those of
        the shares' means m, and rate times their variance is that of the running means divided by the rate.
        """
        if len(self._workers) == 1:
            self.means[...], self.variances[...] = self._workers[0].means, self._workers[0].variances
            return
        shares = list(zip(self._weights, self._workers, strict=True))
        means = sum(w * worker.means for w, worker in shares)
        spread = sum(w * np.square(worker.means - means) for w, worker in shares)
        variances = sum(w * worker.variances for w, worker in shares) + spread / self._rate
        np.copyto(self.means, means, where=self._moves)
        np.copyto(self.variances, variances, where=self._moves)


class _Worker:
    """A session with its own input, output and statistics buffers, all bound once."""

    def __init__(
        self,
        engine: Engine,
        model: onnx.ModelProto,
        serialised: bytes,
        rows: slice,
        logits: str,
        feeds: Mapping[str, tuple[Any, tuple[int, ...]]],
    ) -> None:
        import onnxruntime

        self.rows, self._engine, self._model = rows, engine, model
        self.gradient = np.zeros_like(engine.parameters)
        self.means, self.variances = engine.means.copy(), engine.variances.copy()
        self.terms = np.zeros(len(engine.terms), np.float32)
        try:
            self._session = onnxruntime.InferenceSession(
                serialised, runtime.session_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise in_words(error, model) from error
        self._binding = self._session.io_binding()
        self._held: list[Any] = []  # OrtValues share numpy's memory: keep them as long as the session
        count = rows.stop - rows.start
        taken = {i.name for i in self._session.get_inputs()}
        self.inputs = {n: np.zeros((count, *tail), kind) for n, (kind, tail) in feeds.items() if n in taken}
        for name, array in self.inputs.items():
            self._bind_input(name, array)
        for name in engine.layout.shapes:
            self._bind_input(name, engine.layout.view(engine.parameters, name))
            self._bind_output(name + SUFFIX, engine.layout.view(self.gradient, name))
        for layout, buffer in ((engine.mean_layout, self.means), (engine.variance_layout, self.variances)):
            for name in layout.shapes:
                self._bind_input(name, layout.view(buffer, name))
        for name, array in engine.gates.items():
            self._bind_input(name, array)
        for k, tensor in enumerate(engine.terms.values()):
            self._bind_output(tensor, self.terms[k : k + 1].reshape(()))
        self._bind_output(logits, engine._logits[rows])

    def take(self, batch: Mapping[str, NDArray]) -> None:
        """Copy this worker's rows and the statistics into the bound buffers."""
        for name, array in self.inputs.items():
            np.copyto(array, batch[name][self.rows])
        np.copyto(self.means, self._engine.means)
        np.copyto(self.variances, self._engine.variances)

    def run(self) -> None:
        """Compute the share's gradient, terms and logits into the bound buffers."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise in_words(error, self._model) from error

    def _bind_input(self, name: str, array: NDArray) -> None:
        import onnxruntime

        value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        self._held.append(value)
        self._binding.bind_ortvalue_input(name, value)

    def _bind_output(self, name: str, array: NDArray) -> None:
        self._binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)


def usable_cores() -> int:
    """The cores this process may use: its affinity, and the quota of its control group where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(limit) // int(period)))
    except (OSError, ValueError):
        pass
    return cores
