"""What is known about the parts of a pivoted matrix, from what is known about the matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tersor.lowrank.base import Floats
from tersor.lowrank.pivots import Pivoted
from tersor.lowrank.whitening import Whitening, to_float64
from tersor.quant.base import TensorStatistics

if TYPE_CHECKING:
    import torch

# H and G are damped already, once for the whole matrix.
DAMPING = 1e-6


@dataclass(frozen=True, slots=True)
class PartStatistics:
    """stats: of the part. scale: quarter octaves by which an error of it costs more than one of the matrix."""

    stats: TensorStatistics
    scale: int


def right_statistics(parts: Pivoted, stats: TensorStatistics) -> PartStatistics:
    """Of the pivots B: an error dB is in the pivots and in what the others take of them, M dB, M = (identity; left).

    It costs tr((M' G M) dB H dB').
    """
    import torch

    from tersor.quant.factor import inverse_row_factor

    rank = len(parts.rows)
    whole = torch.zeros(rank + len(parts.left), rank, dtype=torch.float64)
    whole[parts.rows] = torch.eye(rank, dtype=torch.float64)
    whole[parts.others] = to_float64(parts.left)
    white = Whitening(stats, columns=False).apply_left(whole)
    output_hessian, mean = _normalized(white.T @ white)
    known = TensorStatistics(
        factor=stats.factor,
        row_weights=_weights(output_hessian),
        row_factor=inverse_row_factor(output_hessian, DAMPING),
        hessian=stats.hessian,
        output_hessian=output_hessian,
        input_scales=stats.input_scales,
    )
    return PartStatistics(known, _quarter_octaves(mean))


def left_statistics(parts: Pivoted, right: Floats, stats: TensorStatistics) -> PartStatistics:
    """Of the left factor A of the rows that are no pivots: an error dA costs tr(G dA (B H B') dA'), G of those rows.

    right: B as it is stored.
    """
    from tersor.quant.factor import inverse_factor, inverse_row_factor

    white = Whitening(stats, rows=False).apply_right(to_float64(right))
    hessian, mean = _normalized(white @ white.T)
    known = TensorStatistics(
        factor=inverse_factor(hessian, DAMPING),
        hessian=hessian,
        input_scales=np.sqrt(np.diagonal(hessian)),
    )
    output = output_metric(stats, len(parts.rows) + len(parts.left))
    if output is None or not len(parts.left):
        return PartStatistics(known, _quarter_octaves(mean))
    # G of these rows may weigh more or less than that of all, by which steps go.
    own, own_mean = _normalized(output[parts.others][:, parts.others])
    row_factor = None if stats.row_factor is None else inverse_row_factor(own, DAMPING)
    known = replace(known, row_weights=_weights(own), row_factor=row_factor, output_hessian=own)
    return PartStatistics(known, _quarter_octaves(mean * own_mean))


def output_metric(stats: TensorStatistics, n_rows: int) -> torch.Tensor | None:
    """G of the matrix, float64; None if it is the identity."""
    import torch

    if stats.row_factor is None and stats.row_weights is None:
        return None
    root = Whitening(stats, columns=False).apply_left(torch.eye(n_rows, dtype=torch.float64))
    return root.T @ root


def _normalized(metric: torch.Tensor) -> tuple[Floats, float]:
    """The matrix over the mean of its diagonal, float32, and that mean; 1 for a matrix of zeros."""
    import torch

    mean = float(metric.diagonal().mean()) or 1.0
    return np.ascontiguousarray((metric / mean).to(torch.float32).numpy()), mean


def _weights(metric: Floats) -> npt.NDArray[np.float32]:
    """The diagonal, none of it 0."""
    weights: npt.NDArray[np.float32] = np.maximum(np.diagonal(metric), 1e-6).astype(np.float32)
    return weights


def _quarter_octaves(square: float) -> int:
    """4 log2 of its root, rounded."""
    return round(2 * log2(square))
