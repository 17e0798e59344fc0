"""A factor per row on weights whose codes stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from tersor.finetune.archive_model import ArchiveModel
from tersor.finetune.linear import linear_weights
from tersor.layouts.grid import Grid

# What a factor takes where the grid has no scales yet: 16 bits.
GAIN_BYTES = 2


class RowGains(nn.Module):
    """A parametrization of a frozen weight: each output's row times a factor, 1 at first."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self._grid = grid
        self.gain = nn.Parameter(torch.ones(grid.shape[0], 1))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * (self.gain.T if self._grid.transposed else self.gain)

    def to_grid(self) -> Grid:
        """The same codes, their scales times the factors; a grid without scales gets one for each row."""
        gain = self.gain.detach().numpy()
        grid = self._grid
        if grid.group_scales is not None:
            scales = grid.group_scales.astype(np.float32) * gain
            return replace(grid, group_scales=scales.astype(grid.group_scales.dtype))
        return replace(
            grid,
            group_size=grid.shape[1],
            group_scales=gain.astype(np.float16),
            zero_points=np.zeros((grid.shape[0], 1), np.int32),
        )


def add_gains(model: ArchiveModel, *, everywhere: bool) -> dict[str, RowGains]:
    """Put factors on the linear weights that are grids, by parameter name.

    everywhere: also where the grid has no scales, which then cost GAIN_BYTES a row.
    """
    names = linear_weights(model)
    stored = model.values(list(names))
    found: dict[str, RowGains] = {}
    for name, module in names.items():
        grid = stored[name]
        has_scales = isinstance(grid, Grid) and grid.group_scales is not None
        if isinstance(grid, Grid) and grid.codebook is None and (has_scales or everywhere):
            found[name] = RowGains(grid)
            parametrize.register_parametrization(module, "weight", found[name])
    return found


def gain_parameters(model: ArchiveModel, gains: Mapping[str, RowGains]) -> dict[str, nn.Parameter]:
    """The factors by their names in the model."""
    wanted = {id(module.gain) for module in gains.values()}
    return {name: value for name, value in model.loaded.model.named_parameters() if id(value) in wanted}
