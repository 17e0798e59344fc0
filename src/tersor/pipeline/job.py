"""What one run of `compress` works on: the checkpoint, the recipe, and the plan made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tersor.calibrate import Statistics, parameter_roles
from tersor.calibrate.roles import ParameterRole
from tersor.pipeline.names import archive_names, equal_tensors
from tersor.planner.choices import settle
from tersor.planner.plan import Plan, Wishes, make_plan
from tersor.planner.pruned import PrunedReader, ReadTensor
from tersor.planner.ranks import Ranks, choose_ranks, with_ranks
from tersor.recipe import Recipe, Step
from tersor.sources.folder import Checkpoint
from tersor.sources.weights import Weights

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True)
class Original:
    """The model that `compress` was given: sizes, losses and teachers go by it, whatever becomes of it on the way."""

    root: Path
    n_bytes: int
    n_params: int


@dataclass(slots=True)
class Job:
    """checkpoint, weights: what is quantized: the original, or what structured steps made of it.

    threads: change speed only. progress: called with (done, total, what).
    names: relative path of each weight file -> its archive file. tuned: values that replace the checkpoint's, by
    checkpoint name (small tensors after recovery). pruned: reads tensors that are pruned, once statistics are there.
    ranks: of factored tensors by name, likewise.
    """

    checkpoint: Checkpoint
    weights: Weights
    recipe: Recipe
    threads: int
    progress: Progress
    plan: Plan
    names: dict[str, str]
    original: Original
    ties: dict[str, str]
    roles: Mapping[str, ParameterRole]
    tuned: dict[str, np.ndarray] = field(default_factory=dict)
    pruned: ReadTensor | None = None
    ranks: Ranks = field(default_factory=dict)

    @property
    def n_input_bytes(self) -> int:
        return self.original.n_bytes

    @property
    def n_params(self) -> int:
        """Parameters of the original, tied ones once."""
        return self.original.n_params

    def read(self, name: str) -> np.ndarray:
        """The values that tensor `name` shall have: the checkpoint's, pruned or tuned ones."""
        if name in self.tuned:
            return self.tuned[name]
        return self.weights.read(name) if self.pruned is None else self.pruned(name)

    def prune(self, statistics: Statistics, folder: Path) -> None:
        """From here on the plan knows the ranks of factors, and `read` gives pruned tensors. folder: keeps those."""
        self.ranks = choose_ranks(self.plan, self.weights.read, statistics)
        self.plan = with_ranks(self.plan, self.ranks)
        self.pruned = PrunedReader(self.weights.read, self.plan, statistics, folder, self.threads)

    def plan_of(self, steps: Sequence[Step]) -> Plan:
        """The plan, as if the recipe had these of its steps only."""
        recipe = self.recipe
        wishes = Wishes(recipe.method, recipe.options, recipe.targets, recipe.purpose, steps)
        plan = make_plan(list(self.weights), self.roles, aliases=self.ties, wishes=wishes)
        return with_ranks(plan, self.ranks)


def make_job(
    checkpoint: Checkpoint,
    weights: Weights,
    model: Any,
    recipe: Recipe,
    threads: int,
    progress: Progress,
    original: Original | None = None,
) -> Job:
    """Decide every tensor's treatment. model: what `load_checked` made of the checkpoint.

    original: None: the checkpoint is it.
    """
    ties = weights.aliases | equal_tensors(weights)
    found = original or Original(
        checkpoint.root,
        sum(entry.n_bytes for entry in weights.files),
        sum(spec.n_elements for spec in weights if spec.name not in ties),
    )
    job = Job(
        checkpoint,
        weights,
        recipe,
        threads,
        progress,
        Plan(()),
        archive_names(weights),
        found,
        ties,
        parameter_roles(model),
    )
    job.plan = job.plan_of(recipe.all_steps)
    if job.plan.follows_step or (recipe.size is None and recipe.max_loss is None):
        # Beside a global step, or without a budget, nothing chooses options: what is given and defaults count.
        job.plan = settle(job.plan, recipe.purpose)
    return job
