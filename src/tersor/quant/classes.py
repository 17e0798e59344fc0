"""Entropy classes: how large the codes of a row and of a column are expected to be.

|W| is modelled as the outer product of row scales a and column scales b; an element's class is
round(4 log2(a_i / row step)) + round(4 log2(b_j / column step)), quarter octaves of its code's expected magnitude.
The coder keeps one table per class, shared by the file, so classes cost nothing but their exponents, and those only
pay in matrices large enough: `choose_classes` measures.
"""

from __future__ import annotations

import numpy as np

from tersor.quant.steps import quarter_octaves

N_FIT_ROUNDS = 3
_TINY = 1e-30
# Classes beyond: codes that are all zero (lowest), or so large that their low bits are uniform anyway (highest).
CLASS_LIMIT = 60
_MAX_MAGNITUDE = 255
_ROWS_AT_ONCE = 1024
_SAMPLE_ELEMENTS = 1 << 18


def fit_scales(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row scales a and column scales b (float64, > 0) with weight_ij^2 ~ (a_i b_j)^2, by alternating means."""
    row_power = np.ones(weight.shape[0])
    column_power = np.ones(weight.shape[1])
    for _ in range(N_FIT_ROUNDS):
        column_power = np.maximum(_squares_times(weight, row_power, axis=0), _TINY)
        row_power = np.maximum(_squares_times(weight, column_power, axis=1), _TINY)
    return np.sqrt(row_power), np.sqrt(column_power)


def _squares_times(weight: np.ndarray, power: np.ndarray, axis: int) -> np.ndarray:
    """Mean of weight^2 / power along `axis`, float64; a few rows at a time, for memory."""
    inverse = (1.0 / power).astype(np.float32)
    mean = np.zeros(weight.shape[1 - axis])
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        squared = np.square(weight[rows])
        if axis == 0:
            mean += np.einsum("ij,i->j", squared, inverse[rows])
        else:
            mean[rows] = np.einsum("ij,j->i", squared, inverse)
    return np.asarray(mean / weight.shape[axis])


def expected_classes(
    weight: np.ndarray, row_steps: np.ndarray, column_steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Row and column classes (int16) of the codes of `weight` on the grid of these steps."""
    row_scales, column_scales = fit_scales(weight)
    # The common factor of the two scales is arbitrary: put it into the rows.
    level = float(np.exp(np.mean(np.log(column_scales / column_steps))))
    rows = quarter_octaves(row_scales / row_steps * level)
    columns = quarter_octaves(column_scales / column_steps / level)
    return _limited(rows), _limited(columns)


def choose_classes(codes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest of: both classes, columns only, rows only, one class for all; side information counted.

    The classes that are given up become constant at their mean, which keeps the level right. Code bits are those of a
    sample of rows.
    """
    flat_rows = np.full_like(rows, int(np.rint(rows.mean())))
    flat_columns = np.full_like(columns, int(np.rint(columns.mean())))
    candidates = [(flat_rows, flat_columns), (flat_rows, columns), (rows, flat_columns), (rows, columns)]
    sample = slice(None, None, max(1, codes.size // _SAMPLE_ELEMENTS))
    scale = len(codes) / max(1, len(codes[sample]))
    costs = [
        scale * code_bits(codes[sample], of_row[sample], of_column)
        + exponent_bits(of_row)
        + exponent_bits(of_column)
        for of_row, of_column in candidates
    ]
    return candidates[int(np.argmin(costs))]


def exponent_bits(exponents: np.ndarray) -> float:
    """Estimated bits of a vector of small integers: its entropy and a short table; a constant is almost free."""
    _, counts = np.unique(exponents, return_counts=True)
    if len(counts) <= 1:
        return 8.0
    return float(-(counts * np.log2(counts / counts.sum())).sum()) + 6.0 * len(counts) + 16.0


def code_bits(codes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """Estimated bits of `codes` under fixed tables of their classes (no table is adapted to this tensor)."""
    bits = _table_of_bits()
    total = 0.0
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        classes = np.clip(rows[part, None] + columns[None, :], -CLASS_LIMIT, CLASS_LIMIT) + CLASS_LIMIT
        magnitudes = np.minimum(np.abs(codes[part]), _MAX_MAGNITUDE)
        total += float(bits[classes, magnitudes].sum(dtype=np.float64))
    return total


_bits_cache: list[np.ndarray] = []


def _table_of_bits() -> np.ndarray:
    """Bits of a signed code by class and magnitude: a Gaussian of the class's scale with a heavier tail."""
    if not _bits_cache:
        scales = np.exp2(np.arange(-CLASS_LIMIT, CLASS_LIMIT + 1) / 4)[:, None]
        z = np.arange(_MAX_MAGNITUDE + 1)[None, :] / scales
        density = np.exp(-z * z / 2) + 0.05 * np.exp(-1.2 * z) + 1e-9
        multiplicity = np.where(np.arange(_MAX_MAGNITUDE + 1) > 0, 2.0, 1.0)
        total = (density * multiplicity).sum(axis=1, keepdims=True)
        _bits_cache.append(-np.log2(density / total).astype(np.float32))
    return _bits_cache[0]


def _limited(classes: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(classes, -CLASS_LIMIT, CLASS_LIMIT), np.int16)
