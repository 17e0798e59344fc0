"""NormalFloat: 16 levels that are quantiles of a normal distribution, times a scale per group."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Levels
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.float4 import float4_options, quantize_float4
from tersor.quant.info import MethodInfo, describes

# Appendix E of the paper, rounded to float32 as bitsandbytes has them.
NF4_LEVELS = Levels(
    np.array(
        [
            -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
            -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
            0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
            0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
        ],
        np.float32,
    )
)  # fmt: skip


@describes(
    MethodInfo(
        name="nf4",
        budget="options",
        source="Dettmers et al. 2023, arXiv:2305.14314 (QLoRA)",
        summary="4 bits: quantiles of a normal distribution times a scale per group",
        options=float4_options(("absmax", "mse")),
        keeps_zeros=True,
    )
)
def quantize_nf4(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round to the nearest of 16 NormalFloat levels times the scale of the group; config.step is not used.

    The scales are those of the paper's first quantization; they are stored in 16 bits instead of being quantized again.
    """
    check_arguments(weight, config, stats)
    options = quantize_nf4.info.resolve(config.options)
    return quantize_float4(weight, NF4_LEVELS, options, stats, config.mask)
