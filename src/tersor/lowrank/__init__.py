"""Factorizers: (weight, rank, statistics) -> two factors. To add one: a file here and a line in base.py."""

from __future__ import annotations

from tersor.lowrank.base import FACTORIZERS, Factorizer, FactorizerInfo, factorize, method_that_can
from tersor.lowrank.ranks import RankCurve, allocate_ranks, n_parameters, rank_curve, rank_for
from tersor.lowrank.stored import cast_low_rank, quantize_low_rank

__all__ = [
    "FACTORIZERS",
    "Factorizer",
    "FactorizerInfo",
    "RankCurve",
    "allocate_ranks",
    "cast_low_rank",
    "factorize",
    "method_that_can",
    "n_parameters",
    "quantize_low_rank",
    "rank_curve",
    "rank_for",
]
