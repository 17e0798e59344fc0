"""What the quantizers of fixed width share: weights of columns, and the grid of an alphabet with group scales."""

from __future__ import annotations

import math

import numpy as np

from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Alphabet, Integers, Levels
from tersor.quant.alphabet_classes import alphabet_classes
from tersor.quant.base import TensorStatistics
from tersor.quant.feedback import round_to_alphabet, scales_for_feedback
from tersor.quant.group_scales import (
    SCALE_DTYPES,
    GroupScales,
    check_group_size,
    row_chunks,
)
from tersor.quant.info import Option, boolean, choice
from tersor.quant.steps import EXPONENT_LIMIT, QUARTERS_PER_OCTAVE

ROW = 0  # option group_size: one scale for a whole row
_DAMPING = 0.01  # of the mean: no column is free
_LEAST_SHARE = 4  # a divisor below usual size / 4 costs too many scales


def group_size_option(usual: int) -> Option:
    """Columns that share a scale; 0 is a whole row. usual: left out, the nearest size below it that fits."""

    def check(value: object) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1 << 16
        return (
            ""
            if good or (value is None and usual)
            else "an integer 0..65536 that divides the columns, 0 for a row"
        )

    what = f"left out: {usual}, or the next smaller divisor of the columns" if usual else "0 for a whole row"
    text = f"columns that share a scale; {what}. A scale of 16 bits costs 16 / group_size bits per weight"
    return Option(None if usual else ROW, check, text)


def scale_dtype_option() -> Option:
    """The type that scales are stored in."""
    return choice("float16", tuple(SCALE_DTYPES), "type of the stored scales")


def feedback_option() -> Option:
    """Whether the error of a column moves the columns after it."""
    return boolean(False, "GPTQ: pass the error of each column on to the next ones (needs calibration)")


def columns_per_scale(columns: int, group_size: int | None, usual: int = ROW) -> int:
    """The size of a group in columns: group_size, ROW for all, or None for the usual size where that fits.

    Where it does not, the largest divisor of columns below it; a whole row if even that is under a quarter of it.
    Raises: ShapeError if a size that was asked for does not divide the columns.
    """
    if group_size is None:
        group_size = max(size for size in range(1, usual + 1) if columns % size == 0)
        if group_size * _LEAST_SHARE < usual:
            group_size = ROW
    if group_size == ROW:
        return max(columns, 1)
    check_group_size(columns, group_size)
    return group_size


def column_weights(stats: TensorStatistics, columns: int) -> np.ndarray:
    """How much a squared error in each column costs (float32, mean about 1): the Hessian's diagonal, else equal."""
    if stats.hessian is None:
        return np.ones(columns, np.float32)
    diagonal = np.maximum(np.diagonal(stats.hessian).astype(np.float64), 0.0)
    mean = float(diagonal.mean()) if columns else 0.0
    if not (np.isfinite(mean) and mean > 0):
        return np.ones(columns, np.float32)
    return np.asarray(diagonal / mean + _DAMPING, np.float32)


def feedback_factor(stats: TensorStatistics, is_wanted: bool) -> np.ndarray | None:
    """The factor for error feedback, if it is wanted and there is one (an embedding may have none)."""
    return stats.factor if is_wanted else None


def grid_of_groups(
    weight: np.ndarray,
    alphabet: Alphabet,
    groups: GroupScales,
    scale_dtype: str,
    *,
    factor: np.ndarray | None = None,
    column_exponents: np.ndarray | None = None,
    keep_scales: bool = False,
    mask: np.ndarray | None = None,
) -> Grid:
    """The Grid of weight in `alphabet`, with these scales rounded to scale_dtype first.

    keep_scales: else with a factor all scales are first multiplied by the ratio that suits the feedback.
    column_exponents: int16 quarter octaves that values are multiplied with after their scale; weight, groups and
        factor are those of the weight before that.
    mask: as in `round_to_alphabet`.
    Guarantee without a factor: a code is the nearest one to its weight for the scales as stored.
    """
    if factor is not None and not keep_scales:
        groups = scales_for_feedback(weight, alphabet, groups, factor, mask)
    groups = groups.stored(scale_dtype)
    codes = round_to_alphabet(weight, alphabet, groups, factor, mask)
    rows, columns = weight.shape
    row_classes, column_classes = alphabet_classes(codes, _sizes(codes, alphabet, groups), alphabet)
    return Grid(
        codes=codes,
        row_exponents=np.full(rows, QUARTERS_PER_OCTAVE * groups.octaves, np.int16),
        column_exponents=np.zeros(columns, np.int16) if column_exponents is None else column_exponents,
        row_classes=row_classes,
        column_classes=column_classes,
        codebook=alphabet.codebook,
        group_size=groups.size,
        group_scales=groups.scales,
        zero_points=groups.zero_points,
    )


def grid_of_one_step(codes: np.ndarray, alphabet: Integers, step: float, zero_point: int) -> Grid:
    """The Grid of (code - zero_point) * step with one step for all, exact in float32.

    A power of two is stored as an exponent, beside the codes as they are. Any other step, or a zero point, is stored
    as a codebook of the multiples: 4 bytes a level for the whole tensor.
    """
    rows, columns = codes.shape
    octave = exact_octave(step)
    is_plain = octave is not None and zero_point == 0
    multiples = np.arange(alphabet.low - zero_point, alphabet.high - zero_point + 1)
    levels = Levels(multiples.astype(np.float32) * np.float32(step))
    stored = codes if is_plain else codes - alphabet.low
    sizes = np.abs((codes - zero_point).astype(np.float32))
    row_classes, column_classes = alphabet_classes(stored, sizes, alphabet if is_plain else levels)
    return Grid(
        codes=stored,
        row_exponents=np.full(rows, QUARTERS_PER_OCTAVE * (octave or 0) if is_plain else 0, np.int16),
        column_exponents=np.zeros(columns, np.int16),
        row_classes=row_classes,
        column_classes=column_classes,
        codebook=None if is_plain else levels.values,
    )


def exact_octave(step: float) -> int | None:
    """log2(step) if step is a power of two that an exponent can hold, else None."""
    mantissa, octave = math.frexp(step)
    return octave - 1 if mantissa == 0.5 and abs(octave) <= EXPONENT_LIMIT // QUARTERS_PER_OCTAVE else None


def _sizes(codes: np.ndarray, alphabet: Alphabet, groups: GroupScales) -> np.ndarray:
    """|level - zero point| of every code, float32."""
    sizes = np.asarray(np.abs(alphabet.levels(codes)))
    if groups.zero_points.any():
        for rows in row_chunks(codes.shape):
            zeros = np.repeat(groups.zero_points[rows].astype(np.float32), groups.size, axis=1)
            sizes[rows] = np.abs(alphabet.levels(codes[rows]) - zeros)
    return sizes
