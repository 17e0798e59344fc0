"""What one run of `compress` works on: the checkpoint, the recipe, and the plan made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tersor.pipeline.names import archive_names, equal_tensors
from tersor.planner.choices import settle
from tersor.planner.plan import Plan, Wishes, make_plan
from tersor.recipe import Recipe
from tersor.sources.folder import Checkpoint
from tersor.sources.weights import Weights

Progress = Callable[[float, float, str], None]


@dataclass(slots=True)
class Job:
    """threads: change speed only. progress: called with (done, total, what).

    names: relative path of each weight file -> its archive file. tuned: values that replace the checkpoint's, by
    checkpoint name (small tensors after recovery).
    """

    checkpoint: Checkpoint
    weights: Weights
    recipe: Recipe
    threads: int
    progress: Progress
    plan: Plan
    names: dict[str, str]
    tuned: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_input_bytes(self) -> int:
        return sum(entry.n_bytes for entry in self.weights.files)

    @property
    def n_params(self) -> int:
        """Parameters of the model, tied ones once."""
        return sum(t.spec.n_elements for t in self.plan.tensors if t.method != "alias")

    def read(self, name: str) -> np.ndarray:
        """The values that tensor `name` shall have: the checkpoint's, or tuned ones."""
        return self.tuned[name] if name in self.tuned else self.weights.read(name)


def make_job(
    checkpoint: Checkpoint, weights: Weights, model: Any, recipe: Recipe, threads: int, progress: Progress
) -> Job:
    """Decide every tensor's treatment. model: what `load_checked` made of the checkpoint."""
    from tersor.calibrate import parameter_roles

    ties = weights.aliases | equal_tensors(weights)
    wishes = Wishes(recipe.method, recipe.options, recipe.targets, recipe.purpose)
    plan = make_plan(list(weights), parameter_roles(model), aliases=ties, wishes=wishes)
    if plan.follows_step or (recipe.size is None and recipe.max_loss is None):
        # Beside a global step, or without a budget, nothing chooses options: what is given and defaults count.
        plan = settle(plan, recipe.purpose)
    return Job(checkpoint, weights, recipe, threads, progress, plan, archive_names(weights))
