"""Parts as they are stored: quantized with what the statistics of the matrix mean for each of them, or as floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tersor.errors import UsageError
from tersor.layouts.base import Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LEFT, RESIDUAL, RIGHT, LowRank, part_values
from tersor.layouts.sparse import smaller_float
from tersor.lowrank.base import Floats, factorize
from tersor.lowrank.pivots import pivoted
from tersor.lowrank.refit import refit_left
from tersor.lowrank.statistics import PartStatistics, left_statistics, right_statistics
from tersor.quant.base import TensorStatistics
from tersor.types import TensorSpec

# (matrix, what is known of it, "left" | "right" | "residual") -> its grid, at the step of the whole matrix.
Quantize = Callable[[Floats, TensorStatistics, str], Grid]
FLOAT_DTYPES: Mapping[str, Any] = {
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
}


def quantize_low_rank(
    weight: Floats,
    *,
    method: str,
    rank: int,
    residual: bool,
    stats: TensorStatistics,
    quantize: Quantize,
    options: Mapping[str, Any] | None = None,
) -> LowRank:
    """Factor a matrix and quantize its parts, each so that an error costs what it does in the product.

    quantize: is called with the pivots ("right"), with the left factor, fitted anew to the rounded pivots, and, if
        `residual`, with what the product misses. It rounds with the step that it would use for the matrix itself: parts
        are scaled before, grids after.
    Raises: what `factorize` and `quantize` raise.
    """
    parts = pivoted(*factorize(method, weight, rank, stats, options))
    right = _scaled(parts.right, right_statistics(parts, stats), quantize, RIGHT)
    fitted = refit_left(weight, parts, right.to_dense(), stats)
    left = _scaled(fitted, left_statistics(parts, right.to_dense(), stats), quantize, LEFT)
    stored = LowRank(left, right, pivots=parts.rows)
    if not residual:
        return stored
    missed = weight - stored.to_dense()
    return replace(stored, residual=quantize(missed, stats, RESIDUAL))


def cast_low_rank(
    weight: Floats,
    *,
    method: str,
    rank: int,
    residual: bool,
    stats: TensorStatistics,
    dtype: str,
    mask: npt.NDArray[np.bool_] | None = None,
    options: Mapping[str, Any] | None = None,
) -> LowRank:
    """Factor a matrix and keep its parts as floats of `dtype` ("F32", "F16", "BF16").

    residual: store what the product misses. mask: bool, the matrix's shape; the residual is zero where it is False
        (a pruned matrix: the product is what the removed weights leave behind).
    Raises: UsageError, and what `factorize` raises.
    """
    if dtype not in FLOAT_DTYPES:
        raise UsageError(f"low-rank parts of dtype {dtype!r}: needs one of {', '.join(FLOAT_DTYPES)}")
    parts = pivoted(*factorize(method, weight, rank, stats, options))
    right = _cast(parts.right, dtype)
    left = _cast(refit_left(weight, parts, part_values(right), stats), dtype)
    stored = LowRank(left, right, pivots=parts.rows)
    if not residual:
        return stored
    missed = weight - stored.to_dense()
    kept = missed if mask is None else np.where(mask, missed, np.float32(0))
    spec = TensorSpec(RESIDUAL, dtype, weight.shape)
    return replace(stored, residual=smaller_float(_cast(kept, dtype).array, spec))


def _scaled(matrix: Floats, known: PartStatistics, quantize: Quantize, part: str) -> Grid:
    """The grid of a part, quantized at the size at which an error of it costs what one of the whole matrix does."""
    scaled = np.asarray(matrix * np.float32(2.0 ** (known.scale / 4)), np.float32)
    grid = quantize(scaled, known.stats, part)
    return replace(grid, row_exponents=(grid.row_exponents - known.scale).astype(np.int16))


def _cast(part: Floats, dtype: str) -> Dense:
    return Dense(np.ascontiguousarray(part.astype(FLOAT_DTYPES[dtype])))
