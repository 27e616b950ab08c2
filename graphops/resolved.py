"""A pipeline as the recipe that makes it again: every default spelled out, every path good from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from graphops.bench import Bench
from graphops.plan import INPUT_FOLDER, Planned

if TYPE_CHECKING:
    from graphops.pipeline import Pipeline


def resolved(pipeline: Pipeline, bench: Bench) -> str:
    """``pipeline`` as YAML, to lie in its run folder, where the model it was given is kept as well."""
    plan = pipeline.planned
    recipe = {
        "title": pipeline.title,
        "model": f"{INPUT_FOLDER}/model.onnx" if plan[0].folder == INPUT_FOLDER else None,
        "data": _data(bench, pipeline.data),
        "data_dir": pipeline.data_dir and str(Path(pipeline.data_dir).absolute()),
        "limit": pipeline.limit,
        "bits": pipeline.bits,
        "steps": [_item(planned, bench, plan) for planned in plan if planned.step],
    }
    recipe = {key: value for key, value in recipe.items() if value is not None}
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)


def _item(planned: Planned, bench: Bench, plan: list[Planned]) -> dict[str, Any]:
    assert planned.step is not None, "the input is no step of a recipe"
    settings = planned.step.settings()
    if "data" in settings:
        settings["data"] = _data(bench, settings["data"])
    if settings.get("teacher"):
        (teacher,) = planned.teachers
        settings["teacher"] = _step(teacher, plan) or str(bench.model_path(teacher).absolute())
    if settings.get("builds"):
        settings["builds"] = [folder for folder, _ in planned.builds]
    item: dict[str, Any] = {planned.step.name: settings}
    if planned.name != planned.step.name:
        item["name"] = planned.name
    if planned.start:
        item["from"] = _step(planned.start, plan)
    return item


def _step(folder: str, plan: list[Planned]) -> str | None:
    """How a recipe refers to the step in ``folder``."""
    if folder == INPUT_FOLDER:
        return "input"
    return folder if any(planned.folder == folder for planned in plan) else None


def _data(bench: Bench, name: str | None) -> str | None:
    from graphops.data import names

    return name if name is None or name in names() else str(Path(bench.data_name(name)).absolute())
