"""Rows of the factors of a tensor, made once, so that estimates at many steps need no factorization each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.planner.execute import Rounding, low_rank_of, rows_known
from tersor.planner.plan import TensorPlan
from tersor.quant import TensorStatistics


@dataclass(frozen=True, slots=True)
class FactorSample:
    """Evenly spaced rows of a left or right factor, or of a residual.

    known: about these rows. mask: where they are kept; None: everywhere. share: rows that each of them stands for.
    """

    matrix: np.ndarray
    known: TensorStatistics
    mask: np.ndarray | None
    share: float


def factor_samples(
    weight: np.ndarray, tensor: TensorPlan, statistics: Statistics, rounding: Rounding, n_elements: int
) -> list[FactorSample]:
    """Samples of about n_elements of each part. weight: the tensor's matrix.

    The right factor is that of a left one rounded at `rounding`.
    """
    found: list[FactorSample] = []

    def record(matrix: np.ndarray, known: TensorStatistics, mask: np.ndarray | None) -> None:
        rows, share = sampled(matrix.shape[0], matrix.shape[1], n_elements)
        kept = None if mask is None else mask[rows]
        found.append(FactorSample(np.ascontiguousarray(matrix[rows]), rows_known(known, rows), kept, share))

    low_rank_of(weight, tensor, statistics, rounding, on_part=record)
    return found


def sampled(n_rows: int, n_columns: int, n_elements: int, min_rows: int = 32) -> tuple[slice, float]:
    """Evenly spaced rows of about n_elements, and how many rows each stands for."""
    wanted = max(min_rows, n_elements // max(1, n_columns))
    stride = max(1, n_rows // wanted)
    rows = slice(stride // 2, None, stride) if stride > 1 else slice(None)
    return rows, n_rows / len(range(*rows.indices(n_rows)))
