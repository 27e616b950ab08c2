"""Fine-tuning a graph on a data set: ``train`` takes a model and gives it back with trained values.

The randomness of a step comes from (seed, epoch, step) alone and the state between two steps is parameters, running
statistics and optimizer slots, so a run that is stopped anywhere and started again on the same folder ends, bit for
bit, where an uninterrupted run ends (with the same number of workers on the same kind of processor).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from graphops.data import DataSet, Split
from graphops.data.feed import METADATA_KEY, Feed
from graphops.training import augment, optimizers, schedules
from graphops.training.checkpoint import Checkpoint, Checkpoints
from graphops.training.engine import Engine, StepResult, usable_cores
from graphops.training.interrupt import DeferredInterrupt
from graphops.training.loss import LABELS, TEACHER, Loss, add_loss
from graphops.training.metrics import Metrics
from graphops.training.options import TrainOptions
from graphops.training.prepare import Prepared, prepare, probe
from graphops.training.teacher import Teacher
from passes.errors import UserError

# A loss this many times the first one, or chance level if that is higher, is divergence.
DIVERGED = 20.0


@dataclass(frozen=True)
class Progress:
    """How far a training is, after each step.

    Attributes:
        step, steps: steps done, steps in all.
        epoch, epochs: the same in passes over the training images; fractions.
        loss, accuracy: mean over the epoch so far, on training images; accuracy from 0 to 1.
        images_per_second: since this process began; 0 at first.
        seconds_left: estimate for the rest, evaluations left out.
        lr: learning rate of the last step.
        gates: value of each skip gate, from the input side.
        test_accuracy: of the last evaluation, from 0 to 1, if there was one.
        note: a sentence for the person, if there is one to say.
    """

    step: int
    steps: int
    epoch: float
    epochs: float
    loss: float = math.nan
    accuracy: float = math.nan
    images_per_second: float = 0.0
    seconds_left: float = math.nan
    lr: float = 0.0
    gates: tuple[float, ...] = ()
    test_accuracy: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Trained:
    """What training gives back.

    Attributes:
        model: the model that was given, with trained values in its initialisers.
        history: one record an epoch: epoch, step, loss, accuracy (both on training images as they were seen),
            test_accuracy (None where it was not evaluated), lr, gates, seconds since the start.
        notes: one sentence for each thing that a person should know.
    """

    model: onnx.ModelProto
    history: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


@dataclass
class _State:
    """What a checkpoint holds besides the flat buffers."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0  # over the steps of this epoch
    right: int = 0  # images of this epoch that were classified correctly
    counted: int = 0  # steps of this epoch
    level: float = math.nan  # moving mean of the loss
    first_loss: float = math.nan
    test_accuracy: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


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
        folder: where checkpoints and ``metrics.jsonl`` go. A second call with the same arguments and folder goes on
            where the first stopped, or gives the finished result at once.
        progress: called after each step; an exception from it stops the training.

    Raises:
        UserError: when the model cannot be trained, the data do not fit, the folder holds another run, the disk is
            full, or the loss diverges.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was saved.
    """
    run = _Run(model, dataset, options or TrainOptions(), teacher, Path(folder) if folder else None, progress)
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
        if options.features and teacher is None:
            raise UserError("`features` are distilled from a teacher, and there is none; give one.")
        self.options, self.dataset, self.split, self.progress = options, dataset, dataset.train, progress
        self.feed = Feed(model, dataset, options.normalisation)
        self.prepared, shapes = _checked(model, self.feed, dataset, options)
        classes = shapes[self.prepared.logits][0]
        self.notes = list(self.prepared.notes)
        self.state = _State()

        self.batch = min(options.batch, len(self.split))
        self.epoch_steps = len(self.split) // self.batch
        self.steps = options.steps or max(1, round(options.epochs * self.epoch_steps))
        height, width = self.split.images.shape[2:]
        self.augment = augment.kind(options, dataset.name, height, width)

        self.checkpoints = Checkpoints(folder) if folder else None
        saved = self.checkpoints.load() if self.checkpoints else None
        self.workers = options.workers or (saved.header["identity"]["workers"] if saved else usable_cores())
        self.identity = self._identity(model, teacher) if folder else {}
        if saved:
            self._refuse_other(saved)
        if self.checkpoints:
            self.notes += self.checkpoints.damaged

        loss = Loss(
            options.distill_weight if teacher is not None else 0.0,
            options.distill,
            options.temperature,
            options.features,
            options.feature_weight,
        )
        graph = add_loss(self.prepared.model, self.prepared.logits, loss)
        self.teacher = (
            Teacher(teacher, dataset, self.feed.normalisation, graph.wanted, self.prepared.logits, self.workers)
            if teacher is not None and graph.wanted
            else None
        )
        feeds = {
            n: (a.dtype, a.shape[1:]) for n, a in self._inputs(self.split.images[:2], self.split.labels[:2]).items()
        }
        _check_teacher(feeds, shapes)
        self.engine = Engine(graph, self.prepared.logits, self.prepared.roles, feeds, classes, self.batch, self.workers)
        self.gates_before = {n: v.copy() for n, v in self.engine.gates.items()}
        self.optimizer = optimizers.make(options, self.engine.layout.size)
        if saved:
            self._restore(saved)
        self.metrics = Metrics(folder, saved.header["metrics"] if saved else 0)
        self._chance = math.log(classes)
        self._order: tuple[int, NDArray] = (-1, np.empty(0))

    def finish(self) -> Trained:
        """Train to the end."""
        begun = time.monotonic()
        seconds_before, steps_before, saved_at = self.state.seconds, self.state.step, begun
        for note in self.notes:
            self._report(0.0, note=note)
        whole = True  # whether the state is that between two steps
        with DeferredInterrupt() as interrupt:
            try:
                while self.state.step < self.steps:
                    whole = False
                    self._step()
                    now = time.monotonic()
                    self.state.seconds = seconds_before + now - begun
                    at_end = self.state.step % self.epoch_steps == 0 or self.state.step == self.steps
                    if at_end:
                        self._end_epoch()
                        self.state.seconds = seconds_before + time.monotonic() - begun
                    whole = True
                    if at_end or self._due(now - saved_at):
                        self._save()
                        saved_at = time.monotonic()
                    self._report((self.state.step - steps_before) * self.batch / max(1e-9, now - begun))
                    interrupt.check()
            except KeyboardInterrupt:
                if whole:
                    self._save()
                raise
        return Trained(self._model(), self.state.history, tuple(self.notes))

    def close(self) -> None:
        """Let threads and files go."""
        for name in ("engine", "metrics"):
            if hasattr(self, name):
                getattr(self, name).close()

    def _step(self) -> None:
        state = self.state
        epoch, position = divmod(state.step, self.epoch_steps)
        images, labels = self._batch(epoch, position)
        lr = schedules.learning_rate(self.options, state.step, self.steps)
        for name, factor in zip(self.engine.gates, self._gates(), strict=True):
            self.engine.gates[name][...] = self.gates_before[name] * np.float32(factor)
        result = self.engine.step(self._inputs(images, labels))
        norm = optimizers.clip(result.gradient, self.options.clip_norm)
        self._refuse_divergence(result, norm, lr)
        self.optimizer.update(self.engine.parameters, result.gradient, lr, state.step)

        right = int((result.logits.argmax(1) == labels).sum())
        state.step += 1
        state.loss_sum += result.terms["loss"]
        state.right += right
        state.counted += 1
        record: dict[str, Any] = {"kind": "step", "step": state.step, **result.terms}
        record |= {"accuracy": right / self.batch, "lr": lr, "gradient_norm": norm}
        if self.engine.gates:
            record["gates"] = self._gate_values()
        self.metrics.write(record)

    def _batch(self, epoch: int, position: int) -> tuple[NDArray, NDArray]:
        seed = self.options.seed
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([seed, 0, epoch]).permutation(len(self.split)))
        chosen = self._order[1][position * self.batch : (position + 1) * self.batch]
        generator = np.random.default_rng([seed, 1, epoch, position])
        images = augment.augment(self.split.images[chosen], self.augment, self.options.crop, generator)
        return images, self.split.labels[chosen]

    def _inputs(self, images: NDArray, labels: NDArray) -> dict[str, NDArray]:
        inputs = {self.prepared.input: self.feed(images), LABELS: labels}
        return inputs | self.teacher(images) if self.teacher else inputs

    def _gates(self) -> list[float]:
        return schedules.gate_values(self.options, self.state.step, self.steps, len(self.engine.gates))

    def _gate_values(self) -> list[float]:
        return [float(v.reshape(-1)[0]) for v in self.engine.gates.values()]

    def _end_epoch(self) -> None:
        state, every = self.state, self.options.evaluate_every
        epoch = state.step / self.epoch_steps
        last = state.step == self.steps
        tested = bool(every) and (last or round(epoch) % every == 0)
        if tested:
            from graphops.evaluate import evaluate

            state.test_accuracy = evaluate(
                self.prepared.runnable(self.engine.values()),
                self.dataset,
                limit=self.options.evaluate_limit,
                normalisation=self.options.normalisation,
            ).accuracy
        record: dict[str, Any] = {"kind": "epoch", "epoch": epoch, "step": state.step}
        record |= {"loss": state.loss_sum / state.counted, "accuracy": state.right / (state.counted * self.batch)}
        record |= {"test_accuracy": state.test_accuracy if tested else None}
        record |= {"lr": schedules.learning_rate(self.options, state.step - 1, self.steps)}
        record |= {"gates": self._gate_values(), "seconds": round(state.seconds, 3)}
        state.history.append({k: v for k, v in record.items() if k != "kind"})
        self.metrics.write(record)
        if not last:
            state.loss_sum, state.right, state.counted = 0.0, 0, 0

    def _model(self) -> onnx.ModelProto:
        """The person's graph with the present values; it names its normalisation if the options did."""
        model = self.prepared.with_values(self.engine.values())
        if self.options.normalisation is not None:
            onnx.helper.set_model_props(
                model, {p.key: p.value for p in model.metadata_props} | {METADATA_KEY: self.feed.normalisation.name}
            )
        return model

    def _refuse_divergence(self, result: StepResult, norm: float, lr: float) -> None:
        state, loss = self.state, result.terms["loss"]
        if math.isnan(state.first_loss):
            state.first_loss = state.level = loss
        state.level = 0.9 * state.level + 0.1 * loss
        limit = DIVERGED * max(state.first_loss, self._chance)
        if math.isfinite(loss) and math.isfinite(norm) and state.level <= limit:
            return
        last = self.checkpoints.last if self.checkpoints else None
        where = f"the last good checkpoint is {last}" if last else "there is no checkpoint"
        raise UserError(
            f"Training diverged at step {state.step + 1} of {self.steps} (loss {loss:.4g}, gradient norm {norm:.4g}, "
            f"learning rate {lr:.3g}); {where}; train again in another folder with a lower lr or a lower clip_norm."
        )

    def _due(self, seconds: float) -> bool:
        options = self.options
        by_steps = bool(options.checkpoint_steps) and self.state.step % (options.checkpoint_steps or 1) == 0
        return by_steps or bool(options.checkpoint_seconds and seconds >= options.checkpoint_seconds)

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        header = {"identity": self.identity, "state": vars(self.state), "metrics": self.metrics.sync()}
        engine = self.engine
        arrays = {"parameters": engine.parameters, "means": engine.means, "variances": engine.variances}
        arrays |= {f"gate {n}": v for n, v in engine.gates.items()}
        arrays |= {f"slot {n}": v for n, v in self.optimizer.slots.items()}
        self.checkpoints.save(self.state.step, header, arrays)

    def _restore(self, saved: Checkpoint) -> None:
        engine, arrays = self.engine, saved.arrays
        targets = {"parameters": engine.parameters, "means": engine.means, "variances": engine.variances}
        targets |= {f"gate {n}": v for n, v in engine.gates.items()}
        targets |= {f"slot {n}": v for n, v in self.optimizer.slots.items()}
        for name, target in targets.items():
            target[...] = arrays[name]
        self.state = _State(**saved.header["state"])
        self.notes.append(f"Training goes on from step {self.state.step} of {self.steps}, from {saved.path}.")

    def _identity(self, model: onnx.ModelProto, teacher: onnx.ModelProto | None) -> dict[str, Any]:
        return {
            "model": _hash(model.SerializeToString(deterministic=True)),
            "teacher": _hash(teacher.SerializeToString(deterministic=True)) if teacher is not None else None,
            "data": _data_hash(self.split),
            "normalisation": self.feed.normalisation.name,
            **{k: v for k, v in self.options.identity().items() if k != "normalisation"},
            "workers": self.workers,
        }

    def _refuse_other(self, saved: Checkpoint) -> None:
        before = saved.header["identity"]
        for key in {**before, **self.identity}:
            old, new = before.get(key), self.identity.get(key)
            if old != new:
                change = f"another {key}" if isinstance(new, str) and len(new) == 64 else f"{key}={old!r}, not {new!r}"
                raise UserError(
                    f"{saved.path.parent} holds a training with {change}; choose another folder, or remove that one."
                )

    def _report(self, speed: float, note: str | None = None) -> None:
        if self.progress is None:
            return
        state, last = self.state, self.state.history[-1] if self.state.history else {}
        done = state.counted > 0
        left = (self.steps - state.step) * self.batch
        self.progress(
            Progress(
                step=state.step,
                steps=self.steps,
                epoch=state.step / self.epoch_steps,
                epochs=self.steps / self.epoch_steps,
                loss=state.loss_sum / state.counted if done else last.get("loss", math.nan),
                accuracy=state.right / (state.counted * self.batch) if done else last.get("accuracy", math.nan),
                images_per_second=speed,
                seconds_left=left / speed if speed else math.nan,
                lr=schedules.learning_rate(self.options, max(0, state.step - 1), self.steps),
                gates=tuple(self._gate_values()),
                test_accuracy=state.test_accuracy,
                note=note,
            )
        )


def _checked(
    model: onnx.ModelProto, feed: Feed, dataset: DataSet, options: TrainOptions
) -> tuple[Prepared, dict[str, tuple[int, ...]]]:
    """The prepared model and the shapes for one image of its logits and features, after it was run on a few.

    Raises:
        UserError: when model and data do not fit each other.
    """
    prepared = prepare(model, options.output, options.freeze, options.features)
    images = feed(dataset.train.images[: min(2, len(dataset.train))])
    prepared, shapes = probe(prepared, images, options.features)
    classes = shapes[prepared.logits][0]
    if classes != len(dataset.classes):
        raise UserError(
            f"The model has {classes} classes and {dataset.name} has {len(dataset.classes)}; "
            "choose a data set or a model that fits."
        )
    return prepared, shapes


def _check_teacher(feeds: dict[str, tuple[Any, tuple[int, ...]]], shapes: dict[str, tuple[int, ...]]) -> None:
    for tensor, shape in shapes.items():
        given = feeds.get(TEACHER + tensor, (None, shape))[1]
        if given != shape:
            raise UserError(
                f"The teacher's values for {tensor!r} are {list(given)} an image and the model's {list(shape)}; "
                "give a teacher of the same classes and feature sizes."
            )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _data_hash(split: Split) -> str:
    digest = hashlib.sha256(repr((split.images.shape, split.images.dtype.str)).encode())
    digest.update(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
