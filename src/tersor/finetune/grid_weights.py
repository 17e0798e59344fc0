"""Weights that train as the grids that they are stored in: latent values rounded in every forward pass."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from tersor.finetune.rounding import SIGN_REACH, Alphabet, StraightThrough
from tersor.layouts.grid import Grid

# A grid whose levels have few values starts from the teacher's weights, which say how far each is from its neighbours;
# a finer one from its own values, which carry the error feedback, and a part of what rounding took away.
COARSE_LEVELS = 3
KEPT_RESIDUE, MAX_RESIDUE = 0.5, 0.25
# Codes of the trellis: levels lie this many quarter octaves closer than those of a plain grid of equal error.
TRELLIS_FINER = 3
_RATE_REACH = 127
_RATE_REFRESH = 20


class TrainedGrid(nn.Module):
    """A parametrization of a weight: latent values -> what the grid makes of them.

    grid: as stored. mask: bool (rows, columns), False: pruned, stays zero; None: nothing is.
    transposed grids belong to weights whose matrix is the transpose. Steps learn where the grid has scales or a
    codebook; exponents stay.
    """

    def __init__(self, grid: Grid, mask: np.ndarray | None = None) -> None:
        super().__init__()
        self._grid = grid
        columns = grid.shape[1]
        self._size = grid.group_size or columns
        self.alphabet, self._order = alphabet_of(grid)
        base = _exponent_steps(grid.row_exponents)[:, None]
        if grid.group_scales is not None:
            base = base * grid.group_scales.astype(np.float32)
        column_steps = _exponent_steps(grid.column_exponents + (TRELLIS_FINER if grid.trellis_rows else 0))
        self._base: torch.Tensor = torch.from_numpy(np.ascontiguousarray(base))[:, :, None]
        uniform = bool((column_steps == 1.0).all())
        self._columns: torch.Tensor | None = None if uniform else torch.from_numpy(column_steps)
        self._zero: torch.Tensor | None = None
        if grid.zero_points is not None and grid.zero_points.any():
            self._zero = torch.from_numpy(grid.zero_points.astype(np.float32))[:, :, None]
        self._mask = None if mask is None else torch.from_numpy(mask)
        learns = grid.group_scales is not None or grid.codebook is not None
        # 1 is where it starts, so that one learning rate suits steps of any size.
        shape = tuple(self._base.shape) if grid.group_scales is not None else (1, 1, 1)
        self.factor = nn.Parameter(torch.ones(shape), requires_grad=learns)
        self.learns_steps = learns
        self._watched: tuple[torch.Tensor, ...] = ()
        self.first_bits = 0.0
        self.rate_weight = 0.0
        self.rate: torch.Tensor | None = None
        self._slopes: torch.Tensor | None = None
        self._n_forward = 0

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        x = self._in_steps(latent)
        if self.rate_weight and self.training:
            self._estimate_rate(x)
        levels = StraightThrough.apply(x, self.factor, self.alphabet, self._zero)  # type: ignore[no-untyped-call]
        return self._out_of_steps(levels)

    def _in_steps(self, latent: torch.Tensor) -> torch.Tensor:
        """(rows, groups, size), in units of the steps as they are stored."""
        matrix = latent.T if self._grid.transposed else latent
        rows, columns = self._grid.shape
        matrix = matrix.reshape(rows, columns)
        if self._mask is not None:
            matrix = matrix * self._mask
        if self._columns is not None:
            matrix = matrix / self._columns
        return matrix.reshape(rows, -1, self._size) / self._base

    def _out_of_steps(self, levels: torch.Tensor) -> torch.Tensor:
        rows, columns = self._grid.shape
        matrix = (levels * self._base).reshape(rows, columns)
        if self._columns is not None:
            matrix = matrix * self._columns
        return matrix.T if self._grid.transposed else matrix

    def _estimate_rate(self, x: torch.Tensor) -> None:
        """Mean bits of a code, with the gradient that moving a weight towards a cheaper code has."""
        magnitudes = x.detach().abs().round().clamp(max=_RATE_REACH).long()
        if self._slopes is None or self._n_forward % _RATE_REFRESH == 0:
            counts = torch.bincount(magnitudes.reshape(-1), minlength=_RATE_REACH + 2).double() + 0.5
            counts[1:] /= 2  # the sign
            bits = -(counts / counts.sum()).log2()
            self._slopes = (bits[1:] - bits[:-1]).clamp(-4, 4).float()
        self._n_forward += 1
        self.rate = (self._slopes[magnitudes] * x.abs()).mean()

    def initial(self, teacher: torch.Tensor | None, current: torch.Tensor) -> torch.Tensor:
        """Latent values to start from. current: the grid's; teacher: the original's, the same shape."""
        if teacher is None or teacher.shape != current.shape:
            return current.clone()
        if self.alphabet.high <= COARSE_LEVELS:
            return teacher.clone()
        step = self._out_of_steps(torch.ones_like(self._in_steps(current)))
        residue = KEPT_RESIDUE * (teacher - current)
        reach = MAX_RESIDUE * step
        return current + torch.minimum(torch.maximum(residue, -reach), reach)

    @torch.no_grad()
    def codes(self, latent: torch.Tensor | None = None) -> torch.Tensor:
        """The levels (codebook: their numbers) of the latent values now, (rows, groups, size)."""
        return self._codes_at(self._watched[0] if latent is None else latent, self.factor)

    def _codes_at(self, latent: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        x = self._in_steps(latent) / factor
        if self._zero is not None:
            x = x + self._zero
        if self.alphabet.kind == "codebook":
            return self._order[self.alphabet.nearest(x)]
        return self.alphabet.snap(x)

    def watch(self, latent: torch.Tensor) -> None:
        """Remember which parameter holds the latent values; in a tuple, so that it is no part of this module."""
        self._watched = (latent,)

    def steps(self) -> np.ndarray:
        """The steps now, (rows, groups)."""
        with torch.no_grad():
            return np.asarray((self._base * self.factor)[:, :, 0].numpy())

    @torch.no_grad()
    def to_grid(self, latent: torch.Tensor, widening: float) -> Grid:
        """The grid of latent values, steps wider by a factor; trellis codes become plain ones."""
        grid = self._grid
        rows, columns = grid.shape
        if grid.group_scales is None and grid.codebook is None:
            return self._on_exponents(latent, widening)
        factor = self.factor * widening
        changes: dict[str, Any] = {}
        if grid.group_scales is not None:
            scales = (grid.group_scales.astype(np.float32) * factor[:, :, 0].numpy()).astype(
                grid.group_scales.dtype
            )
            # The steps as they will be read decide the codes.
            stored = scales.astype(np.float32) / np.maximum(grid.group_scales.astype(np.float32), 1e-30)
            factor = torch.from_numpy(stored)[:, :, None].clamp_min(1e-30)
            changes["group_scales"] = scales
        else:
            assert grid.codebook is not None
            changes["codebook"] = grid.codebook * np.float32(float(factor))
        codes = self._codes_at(latent, factor).reshape(rows, columns).numpy().astype(np.int32)
        return replace(grid, codes=codes, **changes)

    def _on_exponents(self, latent: torch.Tensor, widening: float) -> Grid:
        """Rounded to nearest on the grid's own exponents, all of them moved by the widening."""
        grid = self._grid
        moved = round(4 * math.log2(widening))
        x = self._in_steps(latent) / 2.0 ** (moved / 4)
        codes = self.alphabet.snap(x).reshape(grid.shape).numpy().astype(np.int32)
        finer = TRELLIS_FINER if grid.trellis_rows else 0
        return replace(
            grid,
            codes=codes,
            column_exponents=(grid.column_exponents + moved + finer).astype(np.int16),
            column_classes=(grid.column_classes - moved - finer).astype(np.int16),
            trellis_rows=0,
        )


def alphabet_of(grid: Grid) -> tuple[Alphabet, torch.Tensor]:
    """The levels that a grid's codes may take, told from the grid itself; and of ascending codebook levels the codes.

    Scales or one exponent for all: integers with ends, the smallest 2^b - 1 that holds all codes (with zero points or a
    lower code, -2^b .. 2^b - 1); only -1 and 1: signs. Exponents by row or column: integers without ends.
    """
    if grid.codebook is not None:
        values = torch.from_numpy(np.ascontiguousarray(grid.codebook, np.float32))
        values, order = torch.sort(values, stable=True)
        return Alphabet("codebook", float(values[0]), float(values[-1]), values), order
    no_order = torch.empty(0, dtype=torch.long)
    return _integers_of(grid), no_order


def _integers_of(grid: Grid) -> Alphabet:
    is_uniform = len(np.unique(grid.row_exponents)) <= 1 and len(np.unique(grid.column_exponents)) <= 1
    if grid.group_scales is None and not is_uniform:
        return Alphabet("integers", -math.inf, math.inf)
    low, high = int(grid.codes.min(initial=0)), int(grid.codes.max(initial=0))
    if low == -1 and high == 1 and not (grid.codes == 0).any():
        return Alphabet("signs", -SIGN_REACH, SIGN_REACH)
    bits = max(1, int(max(-low, high)).bit_length())
    top = (1 << bits) - 1
    if grid.zero_points is not None and grid.zero_points.any():
        half = 1 << max(0, int(max(-low - 1, high)).bit_length())
        return Alphabet("integers", -half, half - 1)
    return Alphabet("integers", -top, top)


def trained_grids(model: nn.Module) -> dict[str, TrainedGrid]:
    """Every grid that trains, by the name of its weight."""
    return {
        name.replace(".parametrizations.weight.0", ".weight"): module
        for name, module in model.named_modules()
        if isinstance(module, TrainedGrid)
    }


def rate_of(model: nn.Module) -> torch.Tensor | None:
    """Mean bits of the codes that train, with gradients; None if no rate is asked for."""
    rates = [m.rate for m in model.modules() if isinstance(m, TrainedGrid) and m.rate is not None]
    return torch.stack(rates).mean() if rates else None


def _exponent_steps(exponents: np.ndarray) -> np.ndarray:
    """2^(e / 4), float32."""
    return np.exp2(exponents.astype(np.float64) / 4).astype(np.float32)
