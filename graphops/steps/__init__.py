"""The steps of a pipeline: one kind a file."""

from graphops.steps.base import Outcome, Step
from graphops.steps.building import Build, build
from graphops.steps.comparing import Compare, compare
from graphops.steps.evaluating import Evaluate
from graphops.steps.exporting import ExportHls, export_hls
from graphops.steps.finetuning import Finetune, finetune
from graphops.steps.rewriting import Rewrite
from graphops.steps.simulating import Simulate, simulate
from graphops.steps.synthesising import Synthesise, synth

kinds: dict[str, type[Step]] = {
    cls.kind: cls for cls in (Build, Evaluate, Finetune, ExportHls, Simulate, Synthesise, Compare)
}
"""The steps that are no pass, as recipes call them."""

__all__ = [
    "Build",
    "Compare",
    "Evaluate",
    "ExportHls",
    "Finetune",
    "Outcome",
    "Rewrite",
    "Simulate",
    "Step",
    "Synthesise",
    "build",
    "compare",
    "export_hls",
    "finetune",
    "kinds",
    "simulate",
    "synth",
]
