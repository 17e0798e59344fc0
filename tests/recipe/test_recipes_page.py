"""The recipes of docs/recipes.md are good ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tersor.recipe import describe_recipe, parse_recipe, resolve_recipe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", RECIPES)
def test_recipe_of_the_page_runs(text: str) -> None:
    assert resolve_recipe(parse_recipe(text))


def test_page_shows_every_field() -> None:
    shown = {name for text in RECIPES for name in parse_recipe(text)}
    assert shown == set(describe_recipe({}))
