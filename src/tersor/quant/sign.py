"""Binary weights: a sign, and one magnitude per row or group."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Signs
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
from tersor.quant.group_scales import GroupScales
from tersor.quant.info import MethodInfo, describes


@describes(
    MethodInfo(
        name="sign",
        budget="options",
        source="Rastegari et al. 2016, arXiv:1603.05279 (XNOR-Net); BinaryBERT, arXiv:2012.15701",
        summary="one bit: the sign, times the mean magnitude of the row or group",
        options={
            "group_size": group_size_option(ROW),
            "scale_dtype": scale_dtype_option(),
            "error_feedback": feedback_option(),
        },
        targets=frozenset({"storage", "cpu"}),
    )
)
def quantize_sign(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Keep the sign (0 counts as +) and the mean magnitude of each row or group; config.step is not used.

    The mean is weighted by the Hessian's diagonal if there is one; it is the magnitude with the least squared error.
    Codes are -1 and 1 and cost one bit each in a file.
    """
    check_arguments(weight, config, stats)
    options = quantize_sign.info.resolve(config.options)
    rows, columns = weight.shape
    size = columns_per_scale(columns, options["group_size"])
    weights = column_weights(stats, columns).reshape(-1, size)  # (groups, size)
    magnitudes = np.abs(weight).reshape(rows, -1, size)  # (rows, groups, size)
    scales = np.einsum("rgs,gs->rg", magnitudes, weights, dtype=np.float64) / weights.sum(axis=1)
    groups = GroupScales(size, scales.astype(np.float32), np.zeros(scales.shape, np.int32))
    factor = feedback_factor(stats, options["error_feedback"])
    return grid_of_groups(weight, Signs(), groups, options["scale_dtype"], factor=factor)
