"""Means and their standard errors, from independent groups (sentences, windows of text)."""

from __future__ import annotations

import math

import numpy as np


def mean_and_stderr(values: np.ndarray) -> tuple[float, float]:
    """Mean of independent values and its standard error, s / sqrt(n).

    values: float64 (n,), n >= 1. One value says nothing of its spread: its standard error is 0.
    """
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), spread


def ratio_and_stderr(totals: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """sum(totals) / sum(counts) and its standard error, groups being independent.

    totals, counts: float64 (n,), n >= 1, counts > 0: a group's sum over its positions and their number.
    Positions inside a group may depend on each other. The usual linearised variance of a ratio estimator:
    n / (n - 1) * sum (totals - ratio * counts)^2 / sum(counts)^2 (Cochran 1977, section 6.4).
    """
    n = len(totals)
    ratio = float(totals.sum() / counts.sum())
    if n < 2:
        return ratio, 0.0
    residual = totals - ratio * counts
    return ratio, math.sqrt(n / (n - 1) * float(residual @ residual)) / float(counts.sum())
