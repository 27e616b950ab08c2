"""The recipes that come with graphops."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from graphops import recipe as recipes
from graphops.models import build
from graphops.plan import plan
from passes import find_skips


@pytest.mark.parametrize("name", list(recipes.shipped()))
def test_shipped_recipes_are_found_by_name_and_read(name: str) -> None:
    pipeline = recipes.read(recipes.find(name))
    assert pipeline.title
    assert plan(pipeline.steps) == pipeline.planned


WAYS = (
    *("algorithm1-weights", "algorithm1-logits", "algorithm1-features"),
    *("one-by-one-input", "one-by-one-output", "one-by-one-sensitivity"),
    *("gates-linear", "gates-cosine", "gates-quadratic", "gates-in-turn", "morph", "merge-prune"),
)


@pytest.mark.parametrize("name", WAYS)
def test_each_way_ends_without_a_skip(name: str, tmp_path: Path) -> None:
    """On digits and a ResNet8, with two steps of each training in place of its epochs."""
    content = yaml.safe_load(recipes.find(name).read_text())
    assert sum(step["finetune"]["epochs"] for step in content["steps"] if "finetune" in step) == 8
    for step in content["steps"]:
        if "finetune" in step:
            step["finetune"] |= {"steps": 2, "batch": 16, "workers": 1, "evaluate_every": 0}
    pipeline = recipes.parse(content | {"data": "digits", "limit": 50}, name, tmp_path)
    done = pipeline.run(build("resnet8", width=8, image=(1, 8, 8)), out=tmp_path / "run")
    assert [record["joins"] for record in done.records][:1] == [3]
    assert done.records[-1]["joins"] == 0
    assert not find_skips(done.load(done.records[-1]["folder"]))
