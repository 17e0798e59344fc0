"""Carrying out a plan at one global step, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.errors import NonFiniteError, ShapeError, UsageError
from tersor.layouts.base import Alias, Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank
from tersor.layouts.sparse import Sparse, smaller_float
from tersor.planner.factored import float_factors, quantized_factors
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.pruned import matrix_of, statistics_of
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.code_lengths import CodeLengths
from tersor.quant.rtn import small_step
from tersor.types import DTYPES

UNMEASURED_STEP = 0.5

ReadTensor = Callable[[str], np.ndarray]
OnPart = Callable[[np.ndarray, TensorStatistics, np.ndarray | None], None]
Value = Grid | Dense | Sparse | LowRank | Alias


@dataclass(frozen=True, slots=True)
class Rounding:
    """How finely everything is rounded.

    delta: > 0, the global step: error per weight grows with its square, in every tensor alike.
    rate_weight: see QuantConfig. threads: change speed only.
    code_lengths: of an earlier pass at a similar step (SizeEstimator has them); None: a built-in prior.
    """

    delta: float
    rate_weight: float | None = None
    threads: int = 1
    code_lengths: CodeLengths | None = None


def quantize_model(
    read: ReadTensor,
    plan: Plan,
    statistics: Statistics,
    delta: float,
    *,
    threads: int = 1,
    rate_weight: float | None = None,
    code_lengths: CodeLengths | None = None,
) -> Iterator[tuple[TensorPlan, Value]]:
    """Yield each tensor of the plan in order with its stored form; one tensor is in memory at a time.

    read: the array of a tensor by its checkpoint name (any float type for quantized ones); pruned, where the plan
        prunes the tensor itself (`PrunedReader`).
    delta, threads, rate_weight, code_lengths: see Rounding.
    Deterministic, for any number of threads. Raises: NonFiniteError naming the tensor.
    """
    rounding = Rounding(delta, rate_weight, threads, code_lengths)
    for tensor in plan.tensors:
        yield tensor, store_tensor(read, tensor, statistics, rounding)


def store_tensor(read: ReadTensor, tensor: TensorPlan, statistics: Statistics, rounding: Rounding) -> Value:
    """The form that one tensor is stored in. Arguments as for `quantize_model`."""
    if tensor.method == "alias":
        return Alias(str(tensor.target))
    if tensor.method == "keep":
        return Dense(np.ascontiguousarray(read(tensor.spec.name)))
    array = read(tensor.spec.name)
    if tensor.low_rank is not None:
        return low_rank_of(matrix_of(array, tensor), tensor, statistics, rounding)
    if tensor.method == "float":
        return smaller_float(_as_stored(array, tensor), tensor.stored_spec)
    return quantize_matrix(matrix_of(array, tensor), tensor, statistics, rounding)


def quantize_matrix(
    weight: np.ndarray,
    tensor: TensorPlan,
    statistics: Statistics,
    rounding: Rounding,
    *,
    rows: slice = slice(None),
    mask: np.ndarray | None = None,
) -> Grid:
    """The grid of `weight`, which takes the place of the matrix of `tensor` (drift correction changes it).

    rows: those of the tensor's matrix that `weight` holds.
    mask: bool, False: stays zero; None: what is zero in the weight of a tensor that is pruned.
    """
    known = rows_known(statistics_of(tensor, statistics), rows)
    if mask is None and tensor.is_pruned:
        mask = weight != 0
    if tensor.is_fixed:
        config = QuantConfig(small_step(weight), 0.0, rounding.threads, None, tensor.options, mask)
    else:
        config = _config(tensor, base_step_of(tensor, statistics, weight), rounding, mask)
    return replace(_round(weight, tensor, config, known), transposed=tensor.is_transposed)


def low_rank_of(
    weight: np.ndarray,
    tensor: TensorPlan,
    statistics: Statistics,
    rounding: Rounding,
    *,
    on_part: OnPart | None = None,
) -> LowRank:
    """The factors of a tensor's matrix, quantized or as floats; its residual pruned, where the plan says so.

    on_part: sees (matrix, what is known of it, mask) of every part before it is rounded.
    """
    known = statistics_of(tensor, statistics)
    if not tensor.is_quantized:
        return float_factors(weight, tensor, known)
    base_step = base_step_of(tensor, statistics, weight)

    def quantize(part: np.ndarray, of_part: TensorStatistics, mask: np.ndarray | None) -> Grid:
        if on_part is not None:
            on_part(part, of_part, mask)
        return round_part(part, tensor, base_step, rounding, of_part, mask)

    return quantized_factors(weight, tensor, known, quantize)


def round_part(
    part: np.ndarray,
    tensor: TensorPlan,
    base_step: float,
    rounding: Rounding,
    known: TensorStatistics,
    mask: np.ndarray | None,
) -> Grid:
    """The grid of a factor or a residual, or of some rows of it. base_step: of the tensor (`base_step_of`)."""
    config = _config(tensor, base_step, rounding, mask)
    return _round(part, tensor, replace(config, options=_fitting(config.options, part.shape[1])), known)


def _config(tensor: TensorPlan, base_step: float, rounding: Rounding, mask: np.ndarray | None) -> QuantConfig:
    step = rounding.delta * base_step
    return QuantConfig(
        step, rounding.rate_weight, rounding.threads, rounding.code_lengths, tensor.options, mask
    )


def _round(weight: np.ndarray, tensor: TensorPlan, config: QuantConfig, known: TensorStatistics) -> Grid:
    """The grid of a matrix by the tensor's method, or by rtn where its statistics are missing."""
    quantizer = QUANTIZERS.get(_method_that_can(tensor.method, known))
    if quantizer.info.name != tensor.method:
        config = replace(config, options={})
    try:
        return quantizer(weight, config, known)
    except (NonFiniteError, ShapeError, UsageError) as exc:
        raise type(exc)(f"tensor {tensor.spec.name!r}: {exc}") from exc


def _fitting(options: Mapping[str, Any], columns: int) -> Mapping[str, Any]:
    """The options without a group size that does not divide the columns of a factor."""
    size = options.get("group_size")
    if not size or columns % size == 0:
        return options
    return {name: value for name, value in options.items() if name != "group_size"}


def _as_stored(array: np.ndarray, tensor: TensorPlan) -> np.ndarray:
    """The elements in the type that the tensor is stored in.

    Raises: NonFiniteError where finite elements are beyond that type.
    """
    spec = tensor.stored_spec
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array).astype(DTYPES[spec.dtype][1])
    lost = int((np.isfinite(np.asarray(array, np.float64)) & ~np.isfinite(stored.astype(np.float64))).sum())
    if lost:
        raise NonFiniteError(
            f"tensor {spec.name!r}: {lost} elements are beyond the largest number of {spec.dtype}; cast to bfloat16, "
            f"or give the step `targets` that leave it out"
        )
    return stored


def rows_known(known: TensorStatistics, rows: slice) -> TensorStatistics:
    """What is known about some rows alone: their steps stay, the feedback between rows goes."""
    if rows == slice(None):
        return known
    weights = None if known.row_weights is None else known.row_weights[rows]
    factor = None if known.row_factor is None else np.diag(np.diagonal(known.row_factor)[rows])
    return replace(known, row_weights=weights, row_factor=factor, output_hessian=None)


def _method_that_can(method: str, known: TensorStatistics) -> str:
    """The method, or rtn if it needs statistics that calibration did not reach."""
    needs = QUANTIZERS.get(method).info.needs
    return "rtn" if any(getattr(known, part) is None for part in needs) else method


def base_step_of(tensor: TensorPlan, statistics: Statistics, weight: np.ndarray) -> float:
    """The measured step for delta = 1; if there is none, half of what a typical tensor of this scale has."""
    known = statistics.base_steps.get(tensor.parameter or "")
    if known is not None:
        return known
    rms = float(np.sqrt(np.square(weight, dtype=np.float64).mean())) if weight.size else 0.0
    return UNMEASURED_STEP * max(rms, 1e-20)
