"""Every recipe that comes with the package runs, and its file loads. benchmarks/recipes.py runs them on real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tersor
from models import tiny_bert, tiny_gpt2
from tersor.recipe import read_recipe, shipped_recipes

# Layers are dropped by quarters; a tiny encoder has its own size, the larger share of which are small tensors.
MODELS = {"thin": lambda folder: tiny_gpt2(folder, layers=4)}
N_STEPS = 3


def shortened(name: str) -> dict[str, Any]:
    """The recipe with few steps of tuning, and a size that tiny models can have."""
    recipe = read_recipe(name)
    for step in recipe["steps"]:
        if "recover" in step:
            step["recover"]["steps"] = N_STEPS
    if recipe.get("size") is not None:
        recipe["size"] = {"storage-2bit": "3bpw", "pruned-4bit": "4bpw"}.get(name, "5bpw")
    return {**recipe, "drift": "off", "tune": "off"}


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_runs_and_its_file_loads(name: str, text: Path, tmp_path: Path) -> None:
    model = MODELS.get(name, tiny_bert)(tmp_path / "model")
    result = tersor.compress(model, tmp_path / "out", recipe=shortened(name), calibration=text)
    assert result["output"]["ratio"] < 1
    assert tersor.verify(tmp_path / "out")["ok"]
    tersor.load(tmp_path / "out")
