"""Magnitude pruning: the smallest weights go."""

from __future__ import annotations

import numpy as np

from tersor.prune.base import PruneConfig, Pruned, check_arguments, check_scored
from tersor.prune.info import PruneInfo
from tersor.prune.scopes import mask_by_scores
from tersor.quant.base import TensorStatistics


class Magnitude:
    """Scores a weight by |w|; needs no statistics, and kept weights stay as they are."""

    info = PruneInfo(
        name="magnitude",
        source="Han et al. 2015, arXiv:1506.02626",
        summary="the smallest weights go; needs no calibration",
    )

    def score(self, weight: np.ndarray, stats: TensorStatistics) -> np.ndarray:
        check_scored(weight, stats, self.info)
        return np.asarray(np.abs(weight), np.float32)

    def __call__(self, weight: np.ndarray, config: PruneConfig, stats: TensorStatistics) -> Pruned:
        check_arguments(weight, config, stats, self.info)
        return removed(weight, mask_by_scores(self.score(weight, stats), config))


def removed(weight: np.ndarray, mask: np.ndarray) -> Pruned:
    """The weight with the places that the mask removes set to +0.0."""
    return Pruned(np.where(mask, weight, np.float32(0.0)), mask)


MAGNITUDE = Magnitude()
