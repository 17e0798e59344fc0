"""GPTQ on an unbounded, entropy-coded grid with one step per column."""

from __future__ import annotations

import numpy as np

from tersor.errors import UsageError
from tersor.layouts.grid import Grid
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.info import MethodInfo, describes
from tersor.quant.rounding import round_to_grid
from tersor.quant.rtn import row_step_exponents
from tersor.quant.steps import quarter_octaves


@describes(
    MethodInfo(
        name="gptq",
        budget="step",
        keeps_zeros=True,
        source="Frantar et al. 2022, arXiv:2210.17323; column steps: WaterSIC, arXiv:2603.04956",
        summary="column after column with error feedback, unbounded codes, one step per column",
        needs=frozenset({"factor"}),
    )
)
def quantize_gptq(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round column after column, each error compensated by the columns not yet rounded.

    stats.factor is required: with H^-1 = U'U, column j has the step config.step * U_jj / sqrt(row weight), which
    makes every code's error cost the same, and its error e (over U_jj) moves column k > j by -e U_jk. Codes are never
    clipped.
    Sources: Frantar et al. 2022, arXiv:2210.17323 (feedback; they clip to fixed bits); WaterSIC, arXiv:2603.04956
        (column steps).
    """
    check_arguments(weight, config, stats)
    quantize_gptq.info.resolve(config.options)
    if stats.factor is None:
        raise UsageError("gptq needs input statistics (stats.factor); calibrate first, or use rtn")
    diagonal = np.ascontiguousarray(np.diagonal(stats.factor)).astype(np.float64)
    column_exponents = quarter_octaves(config.step * diagonal)
    row_exponents = row_step_exponents(weight.shape[0], stats.row_weights)
    return round_to_grid(weight, row_exponents, column_exponents, stats.factor, config)
