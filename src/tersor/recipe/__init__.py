"""What `compress` is asked to do: a budget and a recipe, both checked before work starts.

A recipe is a YAML mapping, a Python mapping or a `Recipe`:

    size: 0.15x               # or max_loss: 1% (with metric: perplexity, kl or embedding)
    for: storage              # or cpu, gguf, vllm: only what these can run
    method: two_sided         # a name that `tersor methods` lists under quantizers
    options: {}               # the method's own, such as bits: 4
    targets:                  # exceptions; the first pattern that fits a tensor's name counts
      - {match: "pooler.*", keep: true}
    steps: []                 # instead of method and options: several steps in their order (docs/recipes.md)
    drift: auto               # drift correction: auto, on, off
    tune: auto                # tuning of the small parameters: auto, on, off
    calibration: text.txt     # relative to the recipe's folder; left out: the built-in text
    seed: 0
"""

from __future__ import annotations

from tersor.recipe.kinds import KINDS, StepKind
from tersor.recipe.latency import LATENCY_FORMS, LatencyLimit, parse_latency
from tersor.recipe.loss import LOSS_FORMS, METRICS, LossLimit, parse_loss
from tersor.recipe.methods import DEFAULT_METHOD, PURPOSES
from tersor.recipe.model import Recipe, TargetRule, describe_recipe
from tersor.recipe.resolve import (
    MAX_RECIPE_BYTES,
    read_recipe,
    recipe_text,
    resolve_recipe,
    shipped_recipes,
)
from tersor.recipe.schema import recipe_schema
from tersor.recipe.size import SIZE_FORMS, Budget, parse_size
from tersor.recipe.step import Step
from tersor.recipe.text import parse_recipe

__all__ = [
    "DEFAULT_METHOD",
    "KINDS",
    "LATENCY_FORMS",
    "LOSS_FORMS",
    "MAX_RECIPE_BYTES",
    "METRICS",
    "PURPOSES",
    "SIZE_FORMS",
    "Budget",
    "LatencyLimit",
    "LossLimit",
    "Recipe",
    "Step",
    "StepKind",
    "TargetRule",
    "describe_recipe",
    "parse_latency",
    "parse_loss",
    "parse_recipe",
    "parse_size",
    "read_recipe",
    "recipe_schema",
    "recipe_text",
    "resolve_recipe",
    "shipped_recipes",
]
