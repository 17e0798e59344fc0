"""AWQ: columns with large inputs are scaled up before they are rounded in groups."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Integers
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.column_scaling import ScaledColumns, exponents_of_scales, input_magnitudes
from tersor.quant.feedback import round_to_alphabet
from tersor.quant.fixed_rate import (
    column_weights,
    columns_per_scale,
    feedback_factor,
    feedback_option,
    grid_of_groups,
    group_size_option,
    scale_dtype_option,
)
from tersor.quant.group_scales import GroupScales, absmax_scales, range_scales, search_scales
from tersor.quant.info import MethodInfo, boolean, describes, integer

# Rows that the search looks at, evenly spaced: alpha is one number for the whole matrix.
_SEARCH_ROWS = 256
_GROUP_SIZE = 128


@describes(
    MethodInfo(
        name="awq",
        budget="options",
        source="Lin et al. 2023, arXiv:2306.00978",
        summary="columns scaled by their inputs' magnitude ^ alpha, then integers with a zero point per group",
        options={
            "bits": integer(4, 2, 8, "width of a code in bits"),
            "group_size": group_size_option(_GROUP_SIZE),
            "symmetric": boolean(False, "codes about zero and no zero point"),
            "clip": boolean(True, "search each group's range for the least error"),
            "n_alphas": integer(20, 1, 100, "values of alpha tried, evenly spaced in 0..1"),
            "scale_dtype": scale_dtype_option(),
            "error_feedback": feedback_option(),
        },
        targets=frozenset({"storage", "cpu"}),
        keeps_zeros=True,
    )
)
def quantize_awq(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round W diag(s) in groups and undo s in the column exponents; config.step is not used.

    s_j = (mean |x_j|)^alpha to the quarter octave; alpha makes the output error tr(E H E') of 256 rows least, H the
    stored Hessian (its diagonal is the squared inputs if there is none). Then, with clip, each group's range shrinks to
    its least error weighted by the diagonal. Nothing else of the model is edited: the exponents are exact.
    Without statistics of the inputs (an embedding) s is 1.
    """
    check_arguments(weight, config, stats)
    options = quantize_awq.info.resolve(config.options)
    columns = weight.shape[1]
    size = columns_per_scale(columns, options["group_size"], _GROUP_SIZE)
    half = 1 << (options["bits"] - 1)
    alphabet = Integers(-half + 1 if options["symmetric"] else -half, half - 1)
    scaling = _best_scaling(weight, size, alphabet, stats, options["n_alphas"])
    scaled = scaling.weight(weight)
    groups = _scales(scaled, size, alphabet)
    if options["clip"]:
        weights = scaling.error_weights(column_weights(stats, columns))
        groups = search_scales(scaled, groups, alphabet, weights)
    factor = scaling.factor(feedback_factor(stats, options["error_feedback"]))
    return grid_of_groups(
        scaled,
        alphabet,
        groups,
        options["scale_dtype"],
        factor=factor,
        column_exponents=scaling.exponents,
        keep_scales=not options["clip"],
        mask=config.mask,
    )


def _scales(weight: np.ndarray, size: int, alphabet: Integers) -> GroupScales:
    if alphabet.low == -alphabet.high:
        return absmax_scales(weight, size, alphabet)
    return range_scales(weight, size, alphabet.low, alphabet.high)


def _best_scaling(
    weight: np.ndarray, size: int, alphabet: Integers, stats: TensorStatistics, n_alphas: int
) -> ScaledColumns:
    """The column scales of the best alpha; alpha = 0 (no scales) is among those tried."""
    unscaled = ScaledColumns(np.zeros(weight.shape[1], np.int16))
    magnitudes = input_magnitudes(stats)
    if magnitudes is None:
        return unscaled
    sample = weight[:: max(len(weight) // _SEARCH_ROWS, 1)][:_SEARCH_ROWS]
    hessian = _search_hessian(stats, magnitudes)
    best, least = unscaled, _output_error(sample, unscaled, size, alphabet, hessian)
    for alpha in np.arange(1, n_alphas) / n_alphas:
        scaling = ScaledColumns(exponents_of_scales(magnitudes**alpha))
        error = _output_error(sample, scaling, size, alphabet, hessian)
        if error < least:
            best, least = scaling, error
    return best


def _search_hessian(stats: TensorStatistics, magnitudes: np.ndarray) -> np.ndarray:
    if stats.hessian is not None:
        return np.asarray(stats.hessian, np.float32)
    return np.asarray(np.square(magnitudes / magnitudes.max()), np.float32)  # a diagonal


def _output_error(
    sample: np.ndarray, scaling: ScaledColumns, size: int, alphabet: Integers, hessian: np.ndarray
) -> float:
    """tr(E H E') of rounding the scaled sample to nearest, E in the units of the weight."""
    scaled = scaling.weight(sample)
    groups = _scales(scaled, size, alphabet)
    codes = round_to_alphabet(scaled, alphabet, groups)
    scales, zeros = groups.spread(slice(None))
    error = scaling.restore((alphabet.levels(codes) - zeros) * scales - scaled)
    weighted = error @ hessian if hessian.ndim == 2 else error * hessian
    return float(np.einsum("ij,ij->", weighted, error, dtype=np.float64))
