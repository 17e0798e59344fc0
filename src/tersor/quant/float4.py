"""What nf4 and fp4 share: a fixed codebook of 16 or fewer levels times a scale per group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Levels
from tersor.quant.base import TensorStatistics
from tersor.quant.fixed_rate import (
    column_weights,
    columns_per_scale,
    feedback_factor,
    feedback_option,
    grid_of_groups,
    group_size_option,
    scale_dtype_option,
)
from tersor.quant.group_scales import absmax_scales, power_of_two_scales, search_scales
from tersor.quant.info import Option, choice

_GROUP_SIZE = 64


def float4_options(scales: tuple[str, ...]) -> dict[str, Option]:
    """The options of a method with these ways to choose a scale, the first one by default."""
    meaning = {
        "absmax": "absmax: the outermost level is the largest weight",
        "mse": "mse: least (Hessian-weighted) error",
        "power_of_two": "power_of_two: MX rule, 2^(floor(log2 absmax) - 2)",
    }
    return {
        "group_size": group_size_option(_GROUP_SIZE),
        "scale": choice(scales[0], scales, "; ".join(meaning[name] for name in scales)),
        "scale_dtype": scale_dtype_option(),
        "error_feedback": feedback_option(),
    }


def quantize_float4(
    weight: np.ndarray,
    levels: Levels,
    options: Mapping[str, Any],
    stats: TensorStatistics,
    mask: np.ndarray | None = None,
) -> Grid:
    """The Grid of the levels nearest to weight / scale, with the scales that the options ask for.

    mask: False where the value shall be 0, which is one of the levels.
    """
    columns = weight.shape[1]
    groups = absmax_scales(weight, columns_per_scale(columns, options["group_size"], _GROUP_SIZE), levels)
    if options["scale"] == "mse":
        groups = search_scales(weight, groups, levels, column_weights(stats, columns))
    elif options["scale"] == "power_of_two":
        groups = power_of_two_scales(groups, levels)
    factor = feedback_factor(stats, options["error_feedback"])
    keep = options["scale"] != "mse"
    return grid_of_groups(
        weight, levels, groups, options["scale_dtype"], factor=factor, keep_scales=keep, mask=mask
    )
