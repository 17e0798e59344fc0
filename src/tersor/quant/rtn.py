"""Round to nearest."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.info import MethodInfo, describes
from tersor.quant.rounding import round_to_grid
from tersor.quant.steps import dithered_quarter_octaves, quarter_octaves

# Norm gains and biases are .1% of a model: 256 steps per rms (about 10 bits) cost .002 bit per weight of MiniLM. With
# 64 steps they made .00016 of its error, which is a tenth of all at 4 bits per weight.
SMALL_STEPS_PER_RMS = 256


@describes(
    MethodInfo(
        name="rtn",
        budget="step",
        keeps_zeros=True,
        source="textbook uniform quantization",
        summary="every weight to the nearest multiple of its step",
    )
)
def quantize_rtn(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round every weight to the nearest multiple of its step; `stats.factor` is not used.

    Row steps are step / sqrt(row weight). Column exponents alternate between the two quarter octaves around the step.
    """
    check_arguments(weight, config, stats)
    quantize_rtn.info.resolve(config.options)
    rows, columns = weight.shape
    row_exponents = row_step_exponents(rows, stats.row_weights)
    return round_to_grid(weight, row_exponents, dithered_quarter_octaves(config.step, columns), None, config)


def row_step_exponents(rows: int, row_weights: np.ndarray | None) -> np.ndarray:
    """Quarter octaves (int16) of weight^-1/2: what matters more is rounded more finely."""
    if row_weights is None:
        return np.zeros(rows, np.int16)
    return quarter_octaves(1.0 / np.sqrt(row_weights.astype(np.float64)))


def small_step(weight: np.ndarray) -> float:
    """The fixed step of a small tensor: rms / 256, within 2**-14 of the largest weight; 1 for a tensor of zeros."""
    if weight.size == 0 or not weight.any():
        return 1.0
    rms = float(np.sqrt(np.square(weight, dtype=np.float64).mean()))
    return max(rms / SMALL_STEPS_PER_RMS, float(np.abs(weight).max()) / 2**14)
