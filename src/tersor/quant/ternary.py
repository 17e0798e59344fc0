"""Ternary weights: -1, 0 or 1 times one magnitude per row or group."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Integers
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.fixed_rate import (
    ROW,
    column_weights,
    columns_per_scale,
    feedback_factor,
    feedback_option,
    grid_of_groups,
    group_size_option,
    scale_dtype_option,
)
from tersor.quant.group_scales import GroupScales, row_chunks
from tersor.quant.info import MethodInfo, choice, describes

TWN_THRESHOLD = 0.7  # of the mean magnitude


@describes(
    MethodInfo(
        name="ternary",
        budget="options",
        source="Li et al. 2016, arXiv:1605.04711 (TWN); optimal threshold: by sorting, exact",
        summary="-1, 0 or 1, times the mean magnitude of what is kept in the row or group",
        options={
            "rule": choice(
                "optimal", ("optimal", "twn"), "optimal: least error; twn: keep |w| > .7 mean |w|"
            ),
            "group_size": group_size_option(ROW),
            "scale_dtype": scale_dtype_option(),
            "error_feedback": feedback_option(),
        },
        targets=frozenset({"storage", "cpu", "gguf"}),
        keeps_zeros=True,
    )
)
def quantize_ternary(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round to -s, 0 or s, s for each row or group; config.step is not used.

    "optimal": the kept set and its mean that make the squared error, weighted by the Hessian's diagonal, least. For a
    magnitude s everything above s / 2 is kept, so the set is the k largest magnitudes; all k are tried after sorting.
    "twn": s is the mean of the magnitudes above .7 of the mean magnitude; then too the nearest level is taken.
    """
    check_arguments(weight, config, stats)
    options = quantize_ternary.info.resolve(config.options)
    rows, columns = weight.shape
    size = columns_per_scale(columns, options["group_size"])
    weights = column_weights(stats, columns).reshape(-1, size)  # (groups, size)
    magnitude = _optimal if options["rule"] == "optimal" else _twn
    scales = np.empty((rows, columns // size), np.float32)
    for part in row_chunks(weight.shape):
        scales[part] = magnitude(np.abs(weight[part]).reshape(-1, columns // size, size), weights)
    groups = GroupScales(size, scales, np.zeros(scales.shape, np.int32))
    factor = feedback_factor(stats, options["error_feedback"])
    return grid_of_groups(
        weight, Integers(-1, 1), groups, options["scale_dtype"], factor=factor, mask=config.mask
    )


def _optimal(magnitudes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The magnitude of each group that makes sum h (|w| - s)^2 over the kept, plus sum h w^2 over the rest, least.

    For the k largest it is their weighted mean, and saves (sum h |w|)^2 / sum h.
    """
    order = np.argsort(-magnitudes, axis=2, kind="stable")
    sorted_weights = np.take_along_axis(np.broadcast_to(weights, magnitudes.shape), order, axis=2)
    sorted_magnitudes = np.take_along_axis(magnitudes, order, axis=2).astype(np.float64)
    sums = np.cumsum(sorted_weights * sorted_magnitudes, axis=2)
    totals = np.cumsum(sorted_weights, axis=2, dtype=np.float64)
    best = np.argmax(sums * sums / totals, axis=2)[:, :, None]
    return np.asarray(np.take_along_axis(sums / totals, best, axis=2)[:, :, 0], np.float32)


def _twn(magnitudes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    thresholds = TWN_THRESHOLD * magnitudes.mean(axis=2, keepdims=True, dtype=np.float64)
    kept = (magnitudes > thresholds) * weights
    sums = np.einsum("rgs,rgs->rg", magnitudes, kept, dtype=np.float64)
    return np.asarray(sums / np.maximum(kept.sum(axis=2), 1e-30), np.float32)
