"""Wanda: weights times the size of their inputs."""

from __future__ import annotations

import numpy as np

from tersor.errors import UsageError
from tersor.prune.base import PruneConfig, Pruned, check_arguments, check_scored
from tersor.prune.info import PruneInfo
from tersor.prune.magnitude import removed
from tersor.prune.scopes import mask_by_scores
from tersor.quant.base import TensorStatistics


class Wanda:
    """Scores a weight by |w_ij| sqrt(H_jj), H the input Hessian: the error that its removal alone makes.

    Kept weights stay as they are. Source: they take the norm of the plain inputs, we the end-to-end statistics.
    """

    info = PruneInfo(
        name="wanda",
        source="Sun et al. 2023, arXiv:2306.11695",
        summary="weights that are small times the size of their inputs go",
        needs=frozenset({"hessian"}),
    )

    def score(self, weight: np.ndarray, stats: TensorStatistics) -> np.ndarray:
        check_scored(weight, stats, self.info)
        return np.asarray(np.abs(weight) * _input_norms(stats), np.float32)

    def __call__(self, weight: np.ndarray, config: PruneConfig, stats: TensorStatistics) -> Pruned:
        check_arguments(weight, config, stats, self.info)
        return removed(weight, mask_by_scores(self.score(weight, stats), config))


def _input_norms(stats: TensorStatistics) -> np.ndarray:
    """Root of the Hessian's diagonal, of mean square 1."""
    assert stats.hessian is not None
    diagonal = np.maximum(np.diagonal(stats.hessian).astype(np.float64), 0.0)
    mean = float(diagonal.mean()) if diagonal.size else 1.0
    if not np.isfinite(mean):
        raise UsageError("wanda: the Hessian holds NaN or infinity; check the calibration text")
    return np.sqrt(diagonal / mean if mean > 0 else np.ones_like(diagonal))


WANDA = Wanda()
