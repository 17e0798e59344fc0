"""Which layers to drop: greedily, by how far the output moves with each of them skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tersor.calibrate.batches import Batch
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.objective import Objective
from tersor.calibrate.threads import single_thread
from tersor.errors import UsageError
from tersor.structured.anatomy import Anatomy

# Each round tries only as many layers as this, those that cost least when they were last tried: 30 layers, of which 7
# are dropped, take 30 + 6 * 8 passes instead of 189.
MAX_TRIED = 8


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """kept: numbers of the layers that stay. losses: distance of the output after each drop, in order."""

    kept: list[int]
    losses: list[float]


def check_layers(model: nn.Module, anatomy: Anatomy) -> None:
    """Raise UsageError if a layer computes something else at another depth."""
    config: Any = getattr(model, "config", None)
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        raise UsageError(
            f"{type(model).__name__}: config.json sets scale_attn_by_inverse_layer_idx, so a layer at another depth "
            "computes something else; leave out step 'layers'"
        )
    if len(anatomy.blocks) != getattr(config, "num_hidden_layers", None):
        raise UsageError(
            f"{anatomy.name}: holds {len(anatomy.blocks)} layers, config.json says "
            f"{getattr(config, 'num_hidden_layers', 'nothing')}; layers cannot be dropped from this model"
        )


def n_dropped(n_layers: int, share: float) -> int:
    """How many layers a share is. Raises: UsageError if none or all."""
    n = round(share * n_layers)
    if not 0 < n < n_layers:
        raise UsageError(
            f"step 'layers': share={share} of {n_layers} layers drops {n}; needed: 1..{n_layers - 1}"
        )
    return n


def choose_layers(
    model: nn.Module,
    anatomy: Anatomy,
    batches: Sequence[Batch],
    objective: Objective,
    n_drop: int,
    progress: Callable[[int, int], None],
) -> LayerChoice:
    """Drop one layer after the other, each time the one whose absence leaves the output closest to the original's."""
    n_layers = len(anatomy.blocks)
    losses = dict.fromkeys(range(n_layers), 0.0)
    dropped: list[int] = []
    path: list[float] = []
    n_total = n_layers + (n_drop - 1) * min(MAX_TRIED, n_layers)
    n_done = 0
    with single_thread(), frozen(model), torch.no_grad():
        reference = [objective.outputs(model, batch) for batch in batches]
        for number in range(n_drop):
            tried = sorted(losses, key=lambda layer: losses[layer])[: None if number == 0 else MAX_TRIED]
            for layer in tried:
                with skipped(model, anatomy, [*dropped, layer]):
                    losses[layer] = _distance(model, batches, objective, reference)
                n_done += 1
                progress(n_done, n_total)
            best = min(tried, key=lambda layer: losses[layer])
            dropped.append(best)
            path.append(losses.pop(best))
    return LayerChoice([layer for layer in range(n_layers) if layer not in dropped], path)


def drop_layers(model: nn.Module, anatomy: Anatomy, kept: Sequence[int]) -> None:
    """Take layers out of the list that holds them."""
    parent, _, name = anatomy.name.rpartition(".")
    blocks: Any = model.get_submodule(anatomy.name)
    setattr(model.get_submodule(parent), name, nn.ModuleList([blocks[layer] for layer in kept]))


@contextmanager
def skipped(model: nn.Module, anatomy: Anatomy, layers: Sequence[int]) -> Iterator[None]:
    """Inside, some layers return the hidden states that they are given."""
    modules = [model.get_submodule(anatomy.blocks[layer].name) for layer in layers]
    saved = [module.__dict__.get("forward") for module in modules]
    for module in modules:
        module.forward = _pass_on
    try:
        yield
    finally:
        for module, forward in zip(modules, saved, strict=True):
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def _pass_on(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return hidden_states


def _distance(
    model: nn.Module, batches: Sequence[Batch], objective: Objective, reference: Sequence[torch.Tensor]
) -> float:
    found = [
        objective.distances(before, objective.outputs(model, batch))
        for batch, before in zip(batches, reference, strict=True)
    ]
    return float(torch.cat(found).mean())
