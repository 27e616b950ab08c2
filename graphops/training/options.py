"""What a person can say about a training: one frozen dataclass, the same in Python, in recipes and as flags."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from graphops.data import normalisation
from graphops.options import make
from passes.base import plain
from passes.errors import UserError

# Fields that change nothing in the result; all others are part of a run's identity.
HOUSEKEEPING = frozenset({"checkpoint_seconds", "checkpoint_steps"})
# Fields that came later: at their defaults they are left out, so that runs of before go on.
LATER = {"max_drop": None, "budget": 0}


def _field(default: Any, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class TrainOptions:
    """How to train; the defaults fit residual networks on CIFAR.

    Each field's help text, with its unit, is its metadata's ``help``. A value out of range raises ``UserError``.
    """

    # how long
    epochs: float = _field(10.0, "passes over the training images; fractions are allowed")
    steps: int | None = _field(None, "number of optimizer steps, in place of epochs")
    batch: int = _field(128, "images a step; the incomplete batch at an epoch's end is left out")
    # the optimizer
    optimizer: Literal["sgd", "adamw"] = _field("sgd", "what turns gradients into steps")
    lr: float | Literal["auto"] = _field(0.05, "peak learning rate; auto finds one by a short range test")
    momentum: float = _field(0.9, "momentum of sgd, 0 to below 1")
    nesterov: bool = _field(True, "Nesterov's form of the momentum")
    beta1: float = _field(0.9, "adamw: decay of the mean of gradients")
    beta2: float = _field(0.999, "adamw: decay of the mean of squared gradients")
    epsilon: float = _field(1e-8, "adamw: added to the root of the mean of squared gradients")
    weight_decay: float = _field(1e-4, "weight decay on every trained value, as torch.optim has it")
    clip_norm: float = _field(2.0, "largest norm of the whole gradient; 0 leaves it as it is")
    # the learning rate over time
    schedule: Literal["constant", "cosine", "step"] = _field(
        "cosine", "the learning rate after the warm-up; cosine ends at 0, step multiplies by gamma at each milestone"
    )
    milestones: tuple[float, ...] = _field((0.5, 0.75), "step schedule: where, as fractions of the run")
    gamma: float = _field(0.1, "step schedule: factor at each milestone")
    warmup: int = _field(100, "steps in which the learning rate rises linearly, at most a tenth of the run")
    # the gates of skip connections
    gates: Literal["linear", "cosine", "quadratic", "keep"] = _field(
        "linear", "how the gates of skip connections fade to 0; quadratic takes its time at the end"
    )
    gates_end: float = _field(0.5, "fraction of the run after which all gates are 0")
    gates_order: Literal["together", "input", "output"] = _field(
        "together", "whether gates fade together, or one after another from the input or the output side"
    )
    # the loss
    distill_weight: float = _field(0.35, "share of the distillation in the loss, 0 to 1, when there is a teacher")
    distill: Literal["mse", "kl"] = _field("mse", "the distillation on logits; kl has a temperature")
    temperature: float = _field(4.0, "temperature of the kl distillation")
    features: tuple[str, ...] = _field(
        (), "tensors, or patterns (* and ?) of their names, that follow the teacher's tensor of the same name"
    )
    feature_weight: float = _field(1.0, "weight of each feature's mean squared error, added to the loss")
    # how good is good enough
    max_drop: float | None = _field(
        None, "largest drop of the test accuracy (0 to 1) below the teacher's; where it is larger, training goes on"
    )
    budget: int = _field(0, "epochs that may be added to keep to max_drop; beyond them the run stops")
    # the data
    augment: Literal["auto", "none", "crop", "crop-flip"] = _field(
        "auto", "random crop and flip of training images; auto goes by size and data set, none for series"
    )
    crop: int = _field(4, "pixels of padding on each side before the random crop")
    normalisation: str | None = _field(None, "name of the images' normalisation; default: the model's, else the data's")
    # what is trained
    freeze: tuple[str, ...] = _field(
        (), "name patterns (* and ?) of initialisers that keep their values; batch norms go by statistics that are kept"
    )
    output: str | None = _field(None, "the output that holds the logits, when the model has several")
    # the run
    seed: int = _field(0, "seed of the order of images and of the augmentation")
    workers: int | None = _field(None, "gradient sessions of one thread each; default: the usable cores")
    evaluate_every: int = _field(1, "epochs between two evaluations on test images; 0 leaves them out")
    evaluate_limit: int | None = _field(None, "test images in an evaluation; default: all")
    checkpoint_seconds: float = _field(60.0, "seconds between two checkpoints; 0: at each epoch's end only")
    checkpoint_steps: int | None = _field(None, "steps between two checkpoints")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        normalisation.check(self.normalisation)
        for name in "epochs steps batch temperature workers evaluate_limit checkpoint_steps epsilon".split():
            self._require(name, lambda v: v > 0, "above 0")
        not_negative = "weight_decay clip_norm warmup crop seed evaluate_every checkpoint_seconds feature_weight budget"
        for name in not_negative.split():
            self._require(name, lambda v: v >= 0, "0 or more")
        for name in ("momentum", "beta1", "beta2"):
            self._require(name, lambda v: 0 <= v < 1, "from 0 to below 1")
        self._require("lr", lambda v: v == "auto" or v > 0, "above 0, or auto")
        self._require("lr", lambda v: v == "auto" or math.isfinite(v), "finite")
        for name in ("distill_weight", "gates_end", "max_drop"):
            self._require(name, lambda v: 0 <= v <= 1, "from 0 to 1")
        self._require("gamma", lambda v: 0 < v <= 1, "above 0, at most 1")
        self._require("milestones", lambda v: all(0 < m < 1 for m in v), "fractions between 0 and 1")
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal:
                self._require(name, get_args(kind).__contains__, "one of " + ", ".join(get_args(kind)))
            elif kind is float:
                self._require(name, math.isfinite, "finite")
            elif int in (kind, *get_args(kind)):
                self._require(name, lambda v: isinstance(v, int), "a whole number")
            elif get_origin(kind) is tuple:
                self._require(name, lambda v: not isinstance(v, str), "a tuple")
        if self.budget and self.max_drop is None:
            raise UserError(f"budget is {self.budget}, but it is for keeping to max_drop; give max_drop as well.")

    def _require(self, name: str, holds: Any, what: str) -> None:
        value = getattr(self, name)
        try:
            right = value is None or holds(value)
        except TypeError:
            right = False
        if not right:
            raise UserError(f"{name} is {value!r}; it must be {what}.")

    def refuse_idle(self, taught: bool, gated: bool) -> None:
        """Refuse what would do nothing without a teacher, or for a model without gates.

        Raises:
            UserError: it names the first such option.
        """
        needs = dict.fromkeys(("features", "max_drop", "distill_weight", "distill", "temperature"), (taught, "teacher"))
        needs |= dict.fromkeys(("gates", "gates_end", "gates_order"), (gated, "gate, as gate-skips makes them,"))
        for name, (is_there, what) in needs.items():
            if not is_there and getattr(self, name) != getattr(TrainOptions(), name):
                raise UserError(f"`{name}` needs a {what}, and there is none; give one, or leave `{name}` out.")

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result, as JSON takes them."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in HOUSEKEEPING}
        values = {k: v for k, v in values.items() if k not in LATER or v != LATER[k]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TrainOptions:
        """Options from a mapping such as a recipe's.

        Raises:
            UserError: for an unknown key, with the nearest right one, or a bad value.
        """
        return make(cls, values, "Training")
