"""Low-rank weights that train as their factors."""

from __future__ import annotations

import torch
from torch import nn

from tersor.finetune.grid_weights import TrainedGrid
from tersor.layouts.base import Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank, Part, part_values


class TrainedFactors(nn.Module):
    """A parametrization of a weight: left @ right + residual, whatever the latent weight says.

    Factors that are grids are rounded to them in every pass; the residual stays as it is stored.
    """

    def __init__(self, stored: LowRank) -> None:
        super().__init__()
        self._stored = stored
        self.left = nn.Parameter(_tensor(stored.left))
        self.right = nn.Parameter(_tensor(stored.right))
        self._left_grid = _grid_of(stored.left, self.left)
        self._right_grid = _grid_of(stored.right, self.right)
        residual = stored.residual
        self._residual = None if residual is None else torch.from_numpy(part_values(residual).copy())

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        left = self.left if self._left_grid is None else self._left_grid(self.left)
        right = self.right if self._right_grid is None else self._right_grid(self.right)
        product = left @ right
        if self._residual is not None:
            product = product + self._residual
        return (product.T if self._stored.transposed else product).reshape(latent.shape)

    def to_low_rank(self, widening: float) -> LowRank:
        """The factors now, in the form in which they are stored."""
        left = _part_like(self._stored.left, self._left_grid, self.left, widening)
        right = _part_like(self._stored.right, self._right_grid, self.right, widening)
        return LowRank(left, right, self._stored.residual, self._stored.transposed)


def _tensor(part: Part) -> torch.Tensor:
    return torch.from_numpy(part_values(part).copy())


def _grid_of(part: Part, latent: nn.Parameter) -> TrainedGrid | None:
    if not isinstance(part, Grid):
        return None
    grid = TrainedGrid(part)
    grid.watch(latent)
    return grid


def _part_like(part: Part, grid: TrainedGrid | None, latent: nn.Parameter, widening: float) -> Part:
    if grid is not None:
        return grid.to_grid(latent.detach(), widening)
    assert isinstance(part, Dense), "a part is a grid or dense"
    return Dense(latent.detach().numpy().astype(part.array.dtype))
