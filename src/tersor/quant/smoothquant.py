"""SmoothQuant: column scales that make inputs easy to round at run time, then integers per row."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Integers
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.column_scaling import ScaledColumns, exponents_of_scales, input_magnitudes
from tersor.quant.fixed_rate import grid_of_groups, scale_dtype_option
from tersor.quant.group_scales import absmax_scales
from tersor.quant.info import MethodInfo, describes, integer, number


@describes(
    MethodInfo(
        name="smoothquant",
        budget="options",
        source="Xiao et al. 2022, arXiv:2211.10438",
        summary="8-bit rows for 8-bit inputs: column scales share the difficulty between inputs and weights",
        options={
            "bits": integer(8, 2, 8, "width of a code in bits"),
            "alpha": number(0.5, 0.0, 1.0, "share of the inputs' range that moves into the weights"),
            "scale_dtype": scale_dtype_option(),
        },
        targets=frozenset({"storage", "cpu"}),
        keeps_zeros=True,
    )
)
def quantize_smoothquant(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round W diag(s) to integers with one absmax scale per row, and undo s in the column exponents.

    s_j = |x_j|^alpha / (max_i |w_ij|)^(1 - alpha) to the quarter octave. |x_j| is the mean magnitude of the calibration
    inputs where the paper has the largest: a factor common to all columns does not matter. A run time that
    rounds inputs to 8 bits multiplies them with 2^(column exponent / 4) first. (MiniLM, 1 - cos:
    .00022, plain 8-bit rows .00048.) Without statistics of the inputs s is 1. config.step is not used.
    """
    check_arguments(weight, config, stats)
    options = quantize_smoothquant.info.resolve(config.options)
    largest = (1 << (options["bits"] - 1)) - 1
    alphabet = Integers(-largest, largest)
    scaling = ScaledColumns(_exponents(weight, options["alpha"], stats))
    scaled = scaling.weight(weight)
    groups = absmax_scales(scaled, max(weight.shape[1], 1), alphabet)
    return grid_of_groups(
        scaled,
        alphabet,
        groups,
        options["scale_dtype"],
        column_exponents=scaling.exponents,
        mask=config.mask,
    )


def _exponents(weight: np.ndarray, alpha: float, stats: TensorStatistics) -> np.ndarray:
    magnitudes = input_magnitudes(stats)
    if magnitudes is None or not weight.any():
        return np.zeros(weight.shape[1], np.int16)
    ranges = np.abs(weight).max(axis=0).astype(np.float64)
    ranges = np.maximum(ranges, 1e-4 * ranges.max())  # a column of zeros needs some scale
    return exponents_of_scales(magnitudes**alpha / ranges ** (1.0 - alpha))
