"""Training of the codes (QAT): latent weights rounded in every pass, gradients straight through, steps learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from tersor.archive.reader import open_archive
from tersor.errors import UsageError
from tersor.finetune.archive_model import ArchiveModel
from tersor.finetune.factor_weights import TrainedFactors
from tersor.finetune.grid_weights import TrainedGrid
from tersor.finetune.linear import linear_weights
from tersor.finetune.objective import Teacher
from tersor.finetune.small_stage import Stage, small_values
from tersor.finetune.student import Student
from tersor.finetune.task_stage import Course, run_trainer
from tersor.finetune.tracking import entropy_bits
from tersor.finetune.trainer import Rates
from tersor.finetune.write import Widening
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank
from tersor.layouts.sparse import Sparse
from tersor.pipeline.stored_values import Stored

_ORIGINAL = "parametrizations.weight.original"


@dataclass(frozen=True, slots=True)
class TrainedCodes(Stage):
    """As Stage, with the weights that trained as codes. modules: by parameter name."""

    modules: Mapping[str, nn.Module] = field(default_factory=dict)

    def values(self, widening: Widening) -> Mapping[str, Stored]:
        found: dict[str, Stored] = dict(small_values(self.model, widening.small))
        for name, module in self.modules.items():
            tensor = self.model.stored[name].spec.name
            weight: Any = module.parametrizations["weight"]  # type: ignore[index]
            form, latent = weight[0], weight.original.detach()
            if isinstance(form, TrainedGrid):
                found[tensor] = form.to_grid(latent, widening.codes)
            elif isinstance(form, TrainedFactors):
                found[tensor] = form.to_low_rank(widening.codes)
            else:
                array = form(latent).numpy().astype(self.model.stored[name].spec.numpy_dtype)
                found[tensor] = Sparse(np.ascontiguousarray(array))
        return found


class MaskedWeight(nn.Module):
    """A parametrization of a pruned weight of floats: what was removed stays removed."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self._mask = mask

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return latent * self._mask


def train_codes(model: ArchiveModel, course: Course, folder: Path, teacher: Teacher | None) -> Stage:
    """Train codes, steps, factors, norms, biases and the head; the model then holds the best of the checkpoints.

    Weights of linear layers train; embeddings keep their codes: most rows are not seen in a batch, and they would be
    rounded in every pass all the same.
    """
    small = model.small()
    modules = parametrize_weights(model, teacher, course.settings.rate)
    if not modules:
        raise UsageError(f"{model.folder}: no linear layer is stored as codes or factors; use --train small")
    trained, steps = _trained(model, modules)
    student = Student(model.loaded.model, {**small, **trained})
    heads = frozenset(model.loaded.missing) & model.head().keys()
    record = run_trainer(student, model.loaded, course, folder, teacher, Rates(head=heads, steps=steps))
    return TrainedCodes(record, model, modules=modules)


def parametrize_weights(model: ArchiveModel, teacher: Teacher | None, rate: float) -> dict[str, nn.Module]:
    """Put rounding before every linear weight that is stored as codes, factors or pruned floats; by parameter name."""
    originals = {} if teacher is None else teacher.weights()
    is_pruned = _is_pruned(model.folder)
    found: dict[str, nn.Module] = {}
    names = linear_weights(model)
    stored = model.values(list(names))
    for name, module in names.items():
        value = stored[name]
        current = module.weight.detach().clone()  # type: ignore[operator]
        form = _form_of(value, current, is_pruned)
        if form is None:
            continue
        parametrize.register_parametrization(module, "weight", form)
        if isinstance(form, TrainedGrid):
            latent = module.parametrizations.weight.original  # type: ignore[union-attr]
            with torch.no_grad():
                latent.copy_(form.initial(originals.get(name), current))  # type: ignore[operator]
            form.watch(latent)  # type: ignore[arg-type]
            form.rate_weight = rate
            form.first_bits = entropy_bits(form.codes(current))
        found[name] = module
    return found


def _form_of(value: Stored, current: torch.Tensor, is_pruned: bool) -> nn.Module | None:
    if isinstance(value, Grid):
        mask = value.to_dense() != 0 if is_pruned else None
        return TrainedGrid(value, mask)
    if isinstance(value, LowRank):
        return TrainedFactors(value)
    if isinstance(value, Sparse):
        return MaskedWeight((current != 0).float())
    return None


def _trained(
    model: ArchiveModel, modules: Mapping[str, nn.Module]
) -> tuple[dict[str, nn.Parameter], frozenset[str]]:
    """(latent weights, factors and steps by name, names of the steps)."""
    inside = tuple(name.removesuffix(".weight") + ".parametrizations." for name in modules)
    trained, steps = {}, set()
    for name, parameter in model.loaded.model.named_parameters():
        if not name.startswith(inside):
            continue
        owner = model.loaded.model.get_submodule(name.rpartition(".")[0])
        is_step = isinstance(owner, TrainedGrid) and name.endswith(".factor")
        if is_step and not owner.learns_steps:
            continue
        if name.endswith(_ORIGINAL) and isinstance(owner[0], TrainedFactors):
            continue  # the product takes its place
        trained[name] = parameter
        if is_step:
            steps.add(name)
    return trained, frozenset(steps)


def _is_pruned(folder: Path) -> bool:
    """Whether the archive's recipe removed weights: zeros of its grids are then meant."""
    with open_archive(folder) as archive:
        recipe = archive.provenance.get("recipe")
    steps = recipe.get("steps") if isinstance(recipe, dict) else None
    return any(isinstance(step, dict) and "prune" in step for step in steps or ())
