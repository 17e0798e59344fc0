"""Pruners: (weight, config, statistics) -> the weight with elements removed. To add one: a file, a line in base.py."""

from __future__ import annotations

from tersor.prune.base import PRUNERS, PruneConfig, Pruned, Pruner, prune_matrix
from tersor.prune.info import PruneInfo
from tersor.prune.scopes import global_threshold

__all__ = ["PRUNERS", "PruneConfig", "PruneInfo", "Pruned", "Pruner", "global_threshold", "prune_matrix"]
