"""docs/recipes.md names every recipe that comes with the package, and every kind of step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tersor.recipe import KINDS, shipped_recipes

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*shipped_recipes(), *KINDS])
def test_page_names_it(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("kind", KINDS)
def test_page_names_every_option_of_a_step(kind: str) -> None:
    for option in KINDS[kind].options:
        assert f"`{option}" in PAGE
