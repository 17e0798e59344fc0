"""A codebook for each tensor: k-means of its weights, weighted by what errors cost."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Levels
from tersor.quant.alphabet_classes import alphabet_classes
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.feedback import round_to_alphabet
from tersor.quant.fixed_rate import column_weights, feedback_factor, feedback_option
from tersor.quant.group_scales import GroupScales, row_chunks
from tersor.quant.info import MethodInfo, describes, integer

# Weights are binned before clustering: 2^14 bins over 20 standard deviations are 1/50 of the cells of 256 levels.
_N_BINS = 1 << 14
_MAX_ROUNDS = 300
_TOLERANCE = 1e-5  # of the range of weights


@describes(
    MethodInfo(
        name="codebook",
        budget="options",
        source="Han et al. 2016, arXiv:1510.00149 (Deep Compression); weighted: Choi et al. 2017, arXiv:1612.01543",
        summary="n levels for each tensor, found by weighted k-means",
        options={
            "levels": integer(16, 2, 256, "levels of a tensor; a code costs at most log2 of it in bits"),
            "error_feedback": feedback_option(),
        },
    )
)
def quantize_codebook(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round to the nearest of n levels, which k-means finds; config.step is not used.

    A weight counts by its column's Hessian diagonal and its row's weight, where known. Lloyd's algorithm starts where
    the cube root of the density has equal shares (optimal for many levels) and ends when no level moves.
    """
    check_arguments(weight, config, stats)
    options = quantize_codebook.info.resolve(config.options)
    rows, columns = weight.shape
    levels = Levels(_cluster(weight, options["levels"], stats))
    factor = feedback_factor(stats, options["error_feedback"])
    ones = GroupScales(max(columns, 1), np.ones((rows, 1), np.float32), np.zeros((rows, 1), np.int32))
    codes = round_to_alphabet(weight, levels, ones, factor)
    largest = np.abs(levels.values).max()
    row_classes, column_classes = alphabet_classes(codes, np.abs(levels.levels(codes) / largest), levels)
    return Grid(
        codes=codes,
        row_exponents=np.zeros(rows, np.int16),
        column_exponents=np.zeros(columns, np.int16),
        row_classes=row_classes,
        column_classes=column_classes,
        codebook=levels.values,
    )


def _cluster(weight: np.ndarray, n_levels: int, stats: TensorStatistics) -> np.ndarray:
    """At most n_levels levels (float32, strictly increasing, at least two)."""
    low, high = float(weight.min(initial=0.0)), float(weight.max(initial=0.0))
    if not high > low:
        return np.array([0.0, 1.0], np.float32)
    mass, first_moment = _histogram(weight, low, high, stats)
    used = mass > 0
    levels = _lloyd(mass[used], first_moment[used], n_levels, _TOLERANCE * (high - low))
    levels = np.unique(levels.astype(np.float32))
    return levels if len(levels) > 1 else np.array([levels[0], np.nextafter(levels[0], np.inf)], np.float32)


def _histogram(
    weight: np.ndarray, low: float, high: float, stats: TensorStatistics
) -> tuple[np.ndarray, np.ndarray]:
    """Mass of each bin of low .. high, and the sum of mass times weight (float64)."""
    columns = column_weights(stats, weight.shape[1]).astype(np.float64)
    rows = np.ones(len(weight)) if stats.row_weights is None else stats.row_weights.astype(np.float64)
    mass, first_moment = np.zeros(_N_BINS), np.zeros(_N_BINS)
    for part in row_chunks(weight.shape):
        values = weight[part].astype(np.float64)
        bins = np.minimum((values - low) * (_N_BINS / (high - low)), _N_BINS - 1).astype(np.int64).ravel()
        masses = np.outer(rows[part], columns)
        mass += np.bincount(bins, masses.ravel(), _N_BINS)
        first_moment += np.bincount(bins, (masses * values).ravel(), _N_BINS)
    return mass, first_moment


def _lloyd(mass: np.ndarray, first_moment: np.ndarray, n_levels: int, tolerance: float) -> np.ndarray:
    """Levels of least squared error, locally, for bins of positive mass in rising order."""
    points = first_moment / mass
    masses, moments = (np.concatenate([[0.0], np.cumsum(x)]) for x in (mass, first_moment))
    spread = np.cumsum(np.cbrt(mass))
    shares = (np.arange(n_levels) + 0.5) / n_levels * spread[-1]
    levels = points[np.minimum(np.searchsorted(spread, shares), len(points) - 1)]
    for _ in range(_MAX_ROUNDS):
        cuts = np.searchsorted(points, (levels[1:] + levels[:-1]) / 2)
        cuts = np.concatenate([[0], cuts, [len(points)]])
        cell = np.diff(masses[cuts])
        moved = np.where(cell > 0, np.diff(moments[cuts]) / np.where(cell > 0, cell, 1.0), levels)
        change = np.abs(moved - levels).max()
        levels = moved
        if change <= tolerance:
            break
    return np.asarray(levels)
