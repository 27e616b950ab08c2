"""Fine-tuning a graph on a data set: ``train`` takes a model and gives it back with trained values.

The randomness of a step comes from (seed, step) alone and the state between two steps is parameters, running
statistics and optimizer slots, so a run that is stopped anywhere and started again on the same folder ends, bit for
bit, where an uninterrupted run ends (with the same number of workers on the same kind of processor).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from graphops.data import DataSet
from graphops.data.feed import METADATA_KEY, Feed
from graphops.evaluate import evaluate
from graphops.files import held
from graphops.report.curves import Curves
from graphops.training import augment, optimizers, runtime, schedules
from graphops.training.bar import Bar, MissedBar
from graphops.training.batches import Batches
from graphops.training.checkpoint import Checkpoint, Checkpoints
from graphops.training.engine import Engine, StepResult, usable_cores
from graphops.training.feeding import Feeding, checked
from graphops.training.identity import identity, refuse_other
from graphops.training.interrupt import DeferredInterrupt
from graphops.training.loss import LABELS, Loss, LossGraph, add_loss
from graphops.training.metrics import Metrics
from graphops.training.options import TrainOptions
from graphops.training.progress import Progress, Trained
from graphops.training.quantisers import Scales
from graphops.training.range_test import find_rate
from graphops.training.rewrites import of_checkpoint
from graphops.training.state import State
from passes.errors import UserError


def train(
    model: onnx.ModelProto,
    dataset: DataSet,
    options: TrainOptions | None = None,
    *,
    teacher: onnx.ModelProto | None = None,
    folder: Path | str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train ``model`` on the training images of ``dataset``.

    Args:
        model: a classifier with one input; never modified.
        dataset: its class count must be that of the model.
        options: see ``TrainOptions``.
        teacher: a model of the same classes whose logits (and ``features``) the model follows.
        folder: where checkpoints, ``metrics.jsonl`` and its picture go. A second call with the same arguments and
            folder goes on where the first stopped, or gives the finished result at once.
        progress: called after each step; an exception from it stops the training.

    Raises:
        UserError: when the model cannot be trained, the data do not fit, the folder holds another run or another
            process works there, the disk is full, the loss diverges, or every image gets the same logits for a
            hundred steps; ``MissedBar``, which holds the result, when it misses ``max_drop``.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was saved.
    """
    runtime.native()  # a broken install is said before anything else
    path = Path(folder) if folder else None
    with held(path) if path else nullcontext():
        run = _Run(model, dataset, options or TrainOptions(), teacher, path, progress)
        try:
            return run.finish()
        finally:
            run.close()


class _Run:
    """One training from start, or from a checkpoint, to its end."""

    def __init__(
        self,
        model: onnx.ModelProto,
        dataset: DataSet,
        options: TrainOptions,
        teacher: onnx.ModelProto | None,
        folder: Path | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.options, self.dataset, self.progress, self.state = options, dataset, progress, State()
        self.feed = Feed(model, dataset, options.normalisation)
        self.prepared, shapes = checked(model, self.feed, dataset, options)
        options.refuse_idle(teacher is not None, bool(self.prepared.roles.gates))
        rank = self.feed(dataset.train.images[:1]).ndim
        augmentation = augment.kind(options, dataset.name, *dataset.image_shape[1:], rank)
        self.batches = Batches(dataset.train, options.batch, options.seed, augmentation, options.crop)
        self.planned = options.steps or max(1, round(options.epochs * self.batches.epoch_steps))

        self.checkpoints = Checkpoints(folder) if folder else None
        saved = self.checkpoints.load() if self.checkpoints else None
        workers = options.workers or (saved.header["identity"]["workers"] if saved else usable_cores())
        if folder:
            named = self.feed.normalisation.name
            self.identity = identity(model, teacher, dataset.train, named, workers, options)
        if saved:
            refuse_other(saved, self.identity)
        self.notes = [*self.prepared.notes, *(self.checkpoints.damaged if self.checkpoints else [])]

        graph = self._loss(teacher is not None)
        again = augmentation == "none" and self.planned >= 2 * self.batches.epoch_steps
        self.feeding = Feeding(
            self.prepared, graph, self.feed, dataset, self.batches, teacher, workers, again, options.output
        )
        self.feeding.remember()
        feeds = self.feeding.signature(shapes)
        self.bar = self._bar(teacher)
        logits = self.prepared.logits
        self.classes = shapes[logits][0]
        before = of_checkpoint(saved.header) if saved else None
        self.engine = Engine(
            graph, logits, self.prepared.roles, feeds, self.classes, self.batches.size, workers, before
        )
        self.scales = Scales(self.engine.layout, self.engine.parameters, self.prepared.roles.scales)
        self.gates_before = {n: v.copy() for n, v in self.engine.gates.items()}
        self.optimizer = optimizers.make(options, self.engine.layout.size)
        if saved:
            self._restore(saved)
        elif options.lr == "auto":
            self._find_rate()
        if self.state.lr is not None:
            self.options = replace(options, lr=self.state.lr)
            self.notes.append(f"The learning rate {self.state.lr:.3g} was found by a range test.")
        self.metrics = Metrics(folder, saved.header["metrics"] if saved else 0)
        self.curves = Curves(folder)

    @property
    def steps(self) -> int:
        """The steps of the run, with those that were added to clear the bar."""
        return self.planned + self.state.added * self.batches.epoch_steps

    def finish(self) -> Trained:
        """Train to the end."""
        for note in self.notes:
            self._report(0.0, note)
        if self.state.step == 0 and self.state.lr is not None:
            self._save()  # the range test is not done again
        begun = saved_at = time.monotonic()
        seconds_before, steps_before = self.state.seconds, self.state.step
        whole = True  # whether the state is one between two steps
        with DeferredInterrupt() as interrupt:
            try:
                while self.state.step < self.steps or self._goes_on():
                    whole = False
                    self._step()
                    self.state.seconds = seconds_before + time.monotonic() - begun
                    at_end = self.state.step % self.batches.epoch_steps == 0 or self.state.step == self.steps
                    if at_end:
                        self._end_epoch()
                        self.curves.draw()
                    whole = True
                    now = time.monotonic()
                    if at_end or self._due(now - saved_at):
                        self._save()
                        saved_at = now
                    self._report((self.state.step - steps_before) * self.batches.size / max(1e-9, now - begun))
                    interrupt.check()
            except KeyboardInterrupt:
                if whole:
                    self._save()
                raise
        self.curves.draw(at_end=True)
        trained = Trained(self._model(), self.state.history, tuple(self.notes))
        self._refuse_drop(trained)
        return trained

    def close(self) -> None:
        """Let threads and files go."""
        self.feeding.close()
        self.engine.close()
        self.metrics.close()

    def _loss(self, taught: bool) -> LossGraph:
        options = self.options
        weight = options.distill_weight if taught else 0.0
        loss = Loss(weight, options.distill, options.temperature, self.prepared.features, options.feature_weight)
        return add_loss(self.prepared.model, self.prepared.logits, loss)

    def _bar(self, teacher: onnx.ModelProto | None) -> Bar | None:
        options = self.options
        if options.max_drop is None or teacher is None:
            return None
        limit, output = options.evaluate_limit, options.output
        return Bar(teacher, self.dataset, self.feed.normalisation, limit, options.max_drop, output)

    def _find_rate(self) -> None:
        """Find a learning rate, and leave all as it was."""
        engine, options = self.engine, self.options
        before = {name: buffer.copy() for name, buffer in self._buffers().items()}

        def step(number: int, rate: float) -> float:
            result = engine.step(self.feeding.prepare(number))
            optimizers.clip(result.gradient, options.clip_norm)
            with self.scales.positive():
                self.optimizer.update(engine.parameters, result.gradient, rate, number)
            return result.terms["loss"]

        self.state.lr, _ = find_rate(step, math.log(self.classes), options.optimizer)
        for name, buffer in self._buffers().items():
            buffer[...] = before[name]

    def _goes_on(self) -> bool:
        """Whether an epoch is added, because the bar is missed and the budget allows it."""
        state = self.state
        if self._clears() or state.added >= self.options.budget:
            return False
        state.added += 1
        state.begin_epoch()
        return True

    def _clears(self) -> bool:
        return self.bar is None or self.bar.is_cleared_by(self.state.test_accuracy or 0.0)

    def _refuse_drop(self, trained: Trained) -> None:
        if self.bar is None or self._clears():
            return
        found, wanted = self.state.test_accuracy or 0.0, self.bar.teacher_accuracy
        epochs = self.steps / self.batches.epoch_steps
        where = f"; {self.checkpoints.last} holds it" if self.checkpoints else ""
        raise MissedBar(
            f"Training ended at {found:.2%} of the test images after {epochs:.4g} epochs, {wanted - found:.2%} below "
            f"its teacher's {wanted:.2%}, where max_drop allows {self.bar.max_drop:.2%}{where}; allow a larger "
            "max_drop or a larger budget, or take out less at a time.",
            trained,
        )

    def _rate(self, step: int) -> float:
        """The learning rate of step ``step``, from 0."""
        if step < self.planned:
            return schedules.learning_rate(self.options, step, self.planned)
        length = self.batches.epoch_steps
        return schedules.added_rate(self.options, (step - self.planned) % length, length)

    def _step(self) -> None:
        options, state, engine = self.options, self.state, self.engine
        lr = self._rate(state.step)
        factors = schedules.gate_values(options, state.step, self.planned, len(engine.gates))
        for name, factor in zip(engine.gates, factors, strict=True):
            engine.gates[name][...] = self.gates_before[name] * np.float32(factor)
        inputs = self.feeding.take(state.step, self.steps)
        labels = inputs[LABELS]
        result = engine.step(inputs)
        norm = optimizers.clip(result.gradient, options.clip_norm)
        self._refuse_divergence(result, norm, lr)
        self._refuse_collapse(result, lr)
        with self.scales.positive():
            self.optimizer.update(engine.parameters, result.gradient, lr, state.step)

        right = int((result.logits.argmax(1) == labels).sum())
        state.add(result.terms["loss"], right)
        record: dict[str, Any] = {"kind": "step", "step": state.step, **result.terms}
        record |= {"accuracy": right / len(labels), "lr": lr, "gradient_norm": norm}
        if engine.gates:
            record["gates"] = self._gates()
        self.metrics.write(record)

    def _end_epoch(self) -> None:
        state, options = self.state, self.options
        epoch, last = state.step / self.batches.epoch_steps, state.step == self.steps
        every = options.evaluate_every
        tested = (last and self.bar is not None) or (every > 0 and (last or round(epoch) % every == 0))
        if tested:
            state.test_accuracy = evaluate(
                self.prepared.runnable(self.engine.values()),
                self.dataset,
                limit=options.evaluate_limit,
                normalisation=options.normalisation,
            ).accuracy
        record = {
            "epoch": epoch,
            "step": state.step,
            "loss": state.loss,
            "accuracy": state.accuracy(self.batches.size),
            "test_accuracy": state.test_accuracy if tested else None,
            "lr": self._rate(state.step - 1),
            "gates": self._gates(),
            "seconds": round(state.seconds, 3),
        }
        state.history.append(record)
        self.metrics.write({"kind": "epoch", **record})
        if not last:
            state.begin_epoch()

    def _gates(self) -> list[float]:
        return [float(v.reshape(-1)[0]) for v in self.engine.gates.values()]

    def _model(self) -> onnx.ModelProto:
        """The person's graph with the present values; it names its normalisation if the options did."""
        model = self.prepared.with_values(self.engine.values())
        if self.options.normalisation is not None:
            kept = {p.key: p.value for p in model.metadata_props}
            onnx.helper.set_model_props(model, kept | {METADATA_KEY: self.feed.normalisation.name})
        return model

    def _refuse_divergence(self, result: StepResult, norm: float, lr: float) -> None:
        state, loss = self.state, result.terms["loss"]
        if state.follows(loss, math.log(self.classes)) and math.isfinite(norm):
            return
        last = self.checkpoints.last if self.checkpoints else None
        where = f"the last good checkpoint is {last}" if last else "there is no checkpoint"
        clip = "a lower clip_norm" if self.options.clip_norm else "a clip_norm above 0"
        way_out = f"train again in another folder with a lower lr or {clip}"
        if state.step == 0:
            way_out = "nothing has moved yet, so mend the model, its teacher or the images"
        raise UserError(
            f"Training diverged at step {state.step + 1} of {self.steps} (loss {loss:.4g}, gradient norm {norm:.4g}, "
            f"learning rate {lr:.3g}); {where}; {way_out}."
        )

    def _refuse_collapse(self, result: StepResult, lr: float) -> None:
        state = self.state
        if state.sees(result.logits):
            return
        begun = state.step + 2 - state.blind
        raise UserError(
            f"Training collapsed: from step {begun} to step {state.step + 1} of {self.steps} every image got the same "
            f"logits (loss {result.terms['loss']:.4g}, learning rate {lr:.3g}), and no gradient undoes that; train "
            "again in another folder with a lower lr, or with gates that fade faster or one after another."
        )

    def _due(self, seconds: float) -> bool:
        every_steps, every_seconds = self.options.checkpoint_steps, self.options.checkpoint_seconds
        by_steps = every_steps is not None and self.state.step % every_steps == 0
        return by_steps or (every_seconds > 0 and seconds >= every_seconds)

    def _buffers(self) -> dict[str, NDArray]:
        """All arrays of the state, live."""
        engine = self.engine
        buffers = {"parameters": engine.parameters, "means": engine.means, "variances": engine.variances}
        buffers |= {f"gate {n}": v for n, v in engine.gates.items()}
        return buffers | {f"slot {n}": v for n, v in self.optimizer.slots.items()}

    def _save(self) -> None:
        if self.checkpoints is not None:
            header = {"identity": self.identity, "state": vars(self.state), "metrics": self.metrics.sync()}
            header["rewrites"] = list(self.engine.rewrites)
            self.checkpoints.save(self.state.step, header, self._buffers())

    def _restore(self, saved: Checkpoint) -> None:
        for name, buffer in self._buffers().items():
            buffer[...] = saved.arrays[name]
        self.state = State(**saved.header["state"])
        if of_checkpoint(saved.header) != self.engine.rewrites:
            self.notes.append("This processor sums in another order than the one before: the last bits may differ.")
        self.notes.append(f"Training goes on from step {self.state.step} of {self.steps}, from {saved.path}.")

    def _report(self, speed: float, note: str | None = None) -> None:
        if self.progress is None:
            return
        state, epoch_steps = self.state, self.batches.epoch_steps
        self.progress(
            Progress(
                step=state.step,
                steps=self.steps,
                epoch=state.step / epoch_steps,
                epochs=self.steps / epoch_steps,
                loss=state.loss,
                accuracy=state.accuracy(self.batches.size),
                images_per_second=speed,
                seconds_left=(self.steps - state.step) * self.batches.size / speed if speed else math.nan,
                lr=self._rate(max(0, state.step - 1)),
                gates=tuple(self._gates()),
                test_accuracy=state.test_accuracy,
                history=tuple(state.history),
                note=note,
            )
        )
