"""From step exponents to a Grid: the one place that calls the compiled loop."""

from __future__ import annotations

import numpy as np

from tersor import _core
from tersor.errors import UsageError
from tersor.layouts.grid import Grid
from tersor.quant.base import QuantConfig
from tersor.quant.classes import choose_classes, expected_classes
from tersor.quant.steps import QUARTERS_PER_OCTAVE, steps_of

DEFAULT_RATE_WEIGHT = 0.05  # figures: QuantConfig
# Slope of the code length of a Laplacian of rms scale s: sqrt(2) log2(e) / s bits per unit, halved because
# minimising (u - k)^2 + rate_weight * slope * |k| moves the threshold by half of rate_weight * slope.
_HALF_SLOPE = 0.5 * 2**0.5 * 1.4426950408889634
_NO_FACTOR = np.zeros((0, 0), np.float32)


def round_to_grid(
    weight: np.ndarray,
    row_exponents: np.ndarray,
    column_exponents: np.ndarray,
    factor: np.ndarray | None,
    config: QuantConfig,
) -> Grid:
    """Round `weight` to integers times 2**((row + column) / 4), with error feedback if there is a factor.

    row_exponents, column_exponents: int16 (rows,), (columns,). Codes are 0 where config.mask is False.
    Guarantee without a factor and with rate_weight = 0: |weight - dense| <= step / 2, up to float32 rounding.
    """
    row_steps, column_steps = steps_of(row_exponents), steps_of(column_exponents)
    row_classes, column_classes = expected_classes(weight, row_steps, column_steps)
    codes = np.empty(weight.shape, np.int32)
    try:
        _core.round_with_feedback(
            np.ascontiguousarray(weight, np.float32),
            _NO_FACTOR if factor is None else np.ascontiguousarray(factor, np.float32),
            row_steps,
            column_steps,
            _dead_zones(row_classes, config.rate_weight_or(DEFAULT_RATE_WEIGHT) * _HALF_SLOPE),
            _dead_zones(column_classes, 1.0),
            codes,
            config.threads,
            contiguous_mask(config.mask),
        )
    except ValueError as exc:
        raise UsageError(
            f"step {config.step:g} is too small for weights up to {np.abs(weight).max(initial=0.0):g}: "
            "codes would need more than 23 bits; use a larger step or keep the tensor dense"
        ) from exc
    row_classes, column_classes = choose_classes(codes, row_classes, column_classes)
    return Grid(codes, row_exponents, column_exponents, row_classes, column_classes)


def contiguous_mask(mask: np.ndarray | None) -> np.ndarray | None:
    """A mask as the compiled loops take it."""
    return None if mask is None else np.ascontiguousarray(mask)


def _dead_zones(classes: np.ndarray, scale: float) -> np.ndarray:
    """scale / (expected magnitude of the class)."""
    return np.float32(scale) * np.exp2(-classes / QUARTERS_PER_OCTAVE).astype(np.float32)
