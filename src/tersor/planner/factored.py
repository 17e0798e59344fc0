"""Tensors in two factors: quantized or as floats, with a residual that may be pruned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tersor.calibrate.threads import single_thread
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import RESIDUAL, LowRank
from tersor.layouts.sparse import smaller_float
from tersor.lowrank import cast_low_rank, quantize_low_rank
from tersor.planner.plan import TensorPlan
from tersor.planner.pruned import prune
from tersor.quant import TensorStatistics
from tersor.types import DTYPES, TensorSpec

# (matrix, what is known of it, mask) -> its grid, at the step of the tensor.
QuantizePart = Callable[[np.ndarray, TensorStatistics, np.ndarray | None], Grid]


@single_thread()
def quantized_factors(
    weight: np.ndarray, tensor: TensorPlan, known: TensorStatistics, quantize: QuantizePart
) -> LowRank:
    """The factors of a matrix, and its residual, as grids; it keeps the zeros of what is pruned."""
    choice = tensor.low_rank
    assert choice is not None

    def part(matrix: np.ndarray, of_part: TensorStatistics, name: str) -> Grid:
        if name != RESIDUAL:
            return quantize(matrix, of_part, None)
        kept, mask = _pruned_residual(matrix, weight, tensor, of_part)
        return quantize(kept, of_part, mask)

    made = quantize_low_rank(
        weight,
        method=choice.method,
        rank=choice.rank_of((weight.shape[0], weight.shape[1])),
        residual=choice.residual,
        stats=known,
        quantize=part,
        options=choice.options,
    )
    return replace(made, transposed=tensor.is_transposed)


@single_thread()
def float_factors(weight: np.ndarray, tensor: TensorPlan, known: TensorStatistics) -> LowRank:
    """The factors of a matrix, and its residual, as floats of the type that the tensor is stored in."""
    choice = tensor.low_rank
    assert choice is not None
    dtype = tensor.stored_spec.dtype
    dtype = dtype if dtype in ("F32", "F16", "BF16") else "F32"
    made = cast_low_rank(
        weight,
        method=choice.method,
        rank=choice.rank_of((weight.shape[0], weight.shape[1])),
        residual=False,
        stats=known,
        dtype=dtype,
        options=choice.options,
    )
    if not choice.residual:
        return replace(made, transposed=tensor.is_transposed)
    missed, _ = _pruned_residual(weight - made.to_dense(), weight, tensor, known)
    spec = TensorSpec(RESIDUAL, dtype, (missed.shape[0], missed.shape[1]))
    residual = smaller_float(np.ascontiguousarray(missed.astype(DTYPES[dtype][1])), spec)
    return replace(made, residual=residual, transposed=tensor.is_transposed)


def _pruned_residual(
    missed: np.ndarray, weight: np.ndarray, tensor: TensorPlan, known: TensorStatistics
) -> tuple[np.ndarray, np.ndarray | None]:
    """(what the product misses, where it is kept; None: everywhere)."""
    if tensor.prune is None:
        return missed, None
    if tensor.prune.of_residual:
        pruned = prune(missed, tensor, known)
        return pruned.weight, pruned.mask
    mask = weight != 0
    return np.where(mask, missed, np.float32(0)), mask
