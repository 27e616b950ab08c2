"""The recipes that come with graphops."""

from __future__ import annotations

import pytest

from graphops import recipe as recipes
from graphops.plan import plan


@pytest.mark.parametrize("name", list(recipes.shipped()))
def test_shipped_recipes_are_found_by_name_and_read(name: str) -> None:
    pipeline = recipes.read(recipes.find(name))
    assert pipeline.title
    assert plan(pipeline.steps) == pipeline.planned
