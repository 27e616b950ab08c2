"""The steps of a pipeline: one kind a file."""

from graphops.steps.base import Outcome, Step
from graphops.steps.building import Build, build
from graphops.steps.evaluating import Evaluate
from graphops.steps.finetuning import Finetune, finetune
from graphops.steps.rewriting import Rewrite

kinds: dict[str, type[Step]] = {cls.kind: cls for cls in (Build, Evaluate, Finetune)}
"""The steps that are no pass, as recipes call them."""

__all__ = ["Build", "Evaluate", "Finetune", "Outcome", "Rewrite", "Step", "build", "finetune", "kinds"]
