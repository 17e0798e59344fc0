"""FP4 (E2M1): the 15 values of a 4-bit float, times a scale per group."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Levels
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.float4 import float4_options, quantize_float4
from tersor.quant.info import MethodInfo, describes

FP4_LEVELS = Levels(
    np.array(
        [-6.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0],
        np.float32,
    )
)


@describes(
    MethodInfo(
        name="fp4",
        budget="options",
        source="OCP Microscaling Formats (MX) 1.0, E2M1; arXiv:2310.10537",
        summary="4-bit floats (E2M1) times a scale per group; MXFP4 with group_size 32 and scale power_of_two",
        options=float4_options(("absmax", "mse", "power_of_two")),
        targets=frozenset({"storage", "gguf"}),
        keeps_zeros=True,
    )
)
def quantize_fp4(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round to the nearest E2M1 value times the scale of the group; config.step is not used.

    scale="power_of_two" is the rule of MXFP4: 2^(floor(log2(absmax)) - 2), so weights above 6 scales are clipped.
    Of the 16 bit patterns of E2M1 two are zero, so there are 15 levels.
    """
    check_arguments(weight, config, stats)
    options = quantize_fp4.info.resolve(config.options)
    return quantize_float4(weight, FP4_LEVELS, options, stats, config.mask)
