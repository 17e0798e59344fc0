"""Weights that train as grids: the forward pass is what the archive holds, and what is written is the forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tersor.finetune.factor_weights import TrainedFactors
from tersor.finetune.grid_weights import TrainedGrid, alphabet_of
from tersor.layouts.base import Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics

METHODS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "8 bits, step 2^-8": ("fixed", {"bits": 8, "granularity": "tensor", "delta": "2^-8"}),
    "one step": ("fixed", {"bits": 4, "granularity": "tensor"}),
    "groups": ("fixed", {"bits": 4, "group_size": 16}),
    "zero points": ("fixed", {"bits": 4, "group_size": 16, "symmetric": False}),
    "ternary": ("ternary", {}),
    "sign": ("sign", {}),
    "nf4": ("nf4", {}),
    "fp4": ("fp4", {}),
    "rtn": ("rtn", {}),
}


def _weight(seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((24, 64)) * 0.05).astype(np.float32)


def _grid(method: str, weight: np.ndarray) -> Grid:
    name, options = METHODS[method]
    return QUANTIZERS.get(name)(weight, QuantConfig(0.01, 0.0, options=options), TensorStatistics())


@pytest.mark.parametrize("method", METHODS)
def test_a_grid_that_is_not_trained_gives_its_own_values(method: str) -> None:
    grid = _grid(method, _weight())
    dense = torch.from_numpy(grid.to_dense())
    trained = TrainedGrid(grid)
    torch.testing.assert_close(trained(dense), dense, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_is_what_the_forward_pass_computed(method: str) -> None:
    grid = _grid(method, _weight())
    trained = TrainedGrid(grid)
    moved = torch.from_numpy(_weight(1))
    with torch.no_grad():
        trained.factor *= 1.1 if trained.learns_steps else 1.0
    written = trained.to_grid(moved, 1.0)
    # Scales are stored in 16 bits, so a weight midway between two codes may take the other one.
    difference = np.abs(written.to_dense() - trained(moved).detach().numpy())
    assert np.mean(difference > 2e-3 * np.abs(written.to_dense()).max()) < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_the_written_grid_of_untouched_values_is_the_grid(method: str) -> None:
    grid = _grid(method, _weight())
    written = TrainedGrid(grid).to_grid(torch.from_numpy(grid.to_dense()), 1.0)
    np.testing.assert_allclose(written.to_dense(), grid.to_dense(), rtol=1e-6)
    assert written.codes.min() >= grid.codes.min()
    assert written.codes.max() <= grid.codes.max()


@pytest.mark.parametrize("method", ["groups", "rtn"])
def test_wider_steps_have_smaller_codes(method: str) -> None:
    grid = _grid(method, _weight())
    latent = torch.from_numpy(_weight())
    wide = TrainedGrid(grid).to_grid(latent, 2.0)
    assert np.abs(wide.codes).mean() < 0.6 * np.abs(grid.codes).mean()
    assert np.abs(wide.to_dense() - latent.numpy()).mean() < 0.02


def test_a_transposed_grid_belongs_to_the_transposed_weight() -> None:
    grid = replace(_grid("groups", _weight()), transposed=True)
    latent = torch.from_numpy(np.ascontiguousarray(grid.to_dense().T))
    torch.testing.assert_close(TrainedGrid(grid)(latent), latent, rtol=1e-6, atol=0)


def test_trellis_codes_are_written_as_plain_ones_on_the_grid_of_equal_error() -> None:
    weight = _weight()
    grid = QUANTIZERS.get("two_sided")(weight, QuantConfig(0.01, 0.0), TensorStatistics())
    assert grid.trellis_rows
    written = TrainedGrid(grid).to_grid(torch.from_numpy(weight), 1.0)
    assert written.trellis_rows == 0
    error, before = (np.square(one.to_dense() - weight).mean() for one in (written, grid))
    assert error < 1.6 * before


def test_pruned_places_stay_zero() -> None:
    grid = _grid("groups", _weight())
    mask = np.random.default_rng(1).random(grid.shape) < 0.5
    trained = TrainedGrid(grid, mask)
    latent = torch.from_numpy(_weight(2)).requires_grad_(True)
    output = trained(latent)
    assert not output.detach().numpy()[~mask].any()
    output.sum().backward()
    assert latent.grad is not None
    assert not latent.grad.numpy()[~mask].any()
    assert not trained.to_grid(latent.detach(), 1.0).to_dense()[~mask].any()


def test_few_levels_start_from_the_teacher_and_many_from_themselves() -> None:
    weight = _weight()
    teacher = torch.from_numpy(weight)
    ternary, fine = _grid("ternary", weight), _grid("groups", weight)
    start = TrainedGrid(ternary).initial(teacher, torch.from_numpy(ternary.to_dense()))
    assert torch.equal(start, teacher)
    current = torch.from_numpy(fine.to_dense())
    trained = TrainedGrid(fine)
    start = trained.initial(teacher, current)
    assert torch.equal(trained.codes(start), trained.codes(current))
    assert (start - teacher).abs().mean() < (current - teacher).abs().mean()


def test_an_alphabet_is_told_from_the_codes() -> None:
    kinds = {method: alphabet_of(_grid(method, _weight()))[0] for method in METHODS}
    assert (kinds["8 bits, step 2^-8"].low, kinds["groups"].high) == (-63, 7)
    assert (kinds["ternary"].low, kinds["ternary"].high) == (-1, 1)
    assert kinds["sign"].kind == "signs"
    assert kinds["nf4"].kind == "codebook"
    assert np.isinf(kinds["rtn"].high)


def test_factors_train_as_factors_and_the_residual_stays() -> None:
    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal(s).astype(np.float32) for s in ((24, 4), (4, 64)))
    residual = np.zeros((24, 64), np.float32)
    residual[0, 0] = 1.0
    stored = LowRank(Dense(left), _grid("groups", right), Dense(residual))
    trained = TrainedFactors(stored)
    latent = torch.zeros(24, 64)
    torch.testing.assert_close(trained(latent), torch.from_numpy(stored.to_dense()), rtol=1e-4, atol=1e-5)
    trained(latent).sum().backward()
    assert trained.left.grad is not None
    assert trained.right.grad is not None
    written = trained.to_low_rank(1.0)
    np.testing.assert_allclose(written.to_dense(), stored.to_dense(), rtol=1e-4, atol=1e-5)


def test_a_rate_pulls_towards_cheaper_codes() -> None:
    grid = _grid("rtn", _weight())
    trained = TrainedGrid(grid)
    trained.rate_weight = 1.0
    latent = torch.from_numpy(_weight()).requires_grad_(True)
    trained(latent)
    assert trained.rate is not None
    trained.rate.backward()
    assert latent.grad is not None
    moved = (latent.grad * latent.detach()).sum()
    assert moved > 0  # downhill is towards zero
