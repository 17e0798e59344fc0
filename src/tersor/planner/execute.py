"""Carrying out a plan at one global step, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.errors import NonFiniteError, UsageError
from tersor.layouts.base import Alias, Dense
from tersor.layouts.grid import Grid
from tersor.planner.plan import Plan, TensorPlan
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.code_lengths import CodeLengths
from tersor.quant.rtn import small_step

UNMEASURED_STEP = 0.5

ReadTensor = Callable[[str], np.ndarray]


def quantize_model(
    read: ReadTensor,
    plan: Plan,
    statistics: Statistics,
    delta: float,
    *,
    threads: int = 1,
    rate_weight: float | None = None,
    code_lengths: CodeLengths | None = None,
) -> Iterator[tuple[TensorPlan, Grid | Dense | Alias]]:
    """Yield each tensor of the plan in order with its layout; one tensor is in memory at a time.

    read: the original array of a tensor by its checkpoint name (any float type for quantized ones).
    delta: > 0, the global step: error per weight grows with its square, in every tensor alike.
    code_lengths: of an earlier pass at a similar step (SizeEstimator has them); None: a built-in prior.
    Deterministic, for any number of threads. Raises: NonFiniteError naming the tensor.
    """
    for tensor in plan.tensors:
        if tensor.method == "alias":
            yield tensor, Alias(str(tensor.target))
        elif tensor.method == "keep":
            yield tensor, Dense(np.ascontiguousarray(read(tensor.spec.name)))
        else:
            grid = quantize_tensor(
                read,
                tensor,
                statistics,
                delta,
                threads=threads,
                rate_weight=rate_weight,
                code_lengths=code_lengths,
            )
            yield tensor, grid


def quantize_tensor(
    read: ReadTensor,
    tensor: TensorPlan,
    statistics: Statistics,
    delta: float,
    *,
    threads: int = 1,
    rate_weight: float | None = None,
    code_lengths: CodeLengths | None = None,
    rows: slice = slice(None),
) -> Grid:
    """The grid of one tensor; `rows` restricts it to some rows of its matrix (for estimates)."""
    weight = matrix_of(read(tensor.spec.name), tensor, rows)
    return quantize_matrix(
        weight,
        tensor,
        statistics,
        delta,
        threads=threads,
        rate_weight=rate_weight,
        code_lengths=code_lengths,
        rows=rows,
    )


def quantize_matrix(
    weight: np.ndarray,
    tensor: TensorPlan,
    statistics: Statistics,
    delta: float,
    *,
    threads: int = 1,
    rate_weight: float | None = None,
    code_lengths: CodeLengths | None = None,
    rows: slice = slice(None),
) -> Grid:
    """The grid of `weight`, which takes the place of the matrix of `tensor` (drift correction changes it).

    rows: those of the tensor's matrix that `weight` holds.
    """
    known = _statistics_of_rows(_statistics_of(tensor, statistics), rows)
    quantizer = QUANTIZERS.get(_method_that_can(tensor.method, known))
    options = tensor.options if quantizer.info.name == tensor.method else {}
    if tensor.is_fixed:
        config = QuantConfig(small_step(weight), 0.0, threads, None, options)
    else:
        step = delta * _base_step(tensor, statistics, weight)
        config = QuantConfig(step, rate_weight, threads, code_lengths, options)
    try:
        grid = quantizer(weight, config, known)
    except (NonFiniteError, UsageError) as exc:
        raise type(exc)(f"tensor {tensor.spec.name!r}: {exc}") from exc
    return replace(grid, transposed=tensor.is_transposed)


def matrix_of(array: np.ndarray, tensor: TensorPlan, rows: slice = slice(None)) -> np.ndarray:
    """The tensor, or some rows of it, as a float32 matrix (rows, columns), C-contiguous."""
    flat = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    return np.ascontiguousarray((flat.T if tensor.is_transposed else flat)[rows], dtype=np.float32)


def _statistics_of(tensor: TensorPlan, statistics: Statistics) -> TensorStatistics:
    if tensor.parameter is None or tensor.is_fixed:
        return TensorStatistics()
    return statistics.of(tensor.parameter)


def _statistics_of_rows(known: TensorStatistics, rows: slice) -> TensorStatistics:
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


def _base_step(tensor: TensorPlan, statistics: Statistics, weight: np.ndarray) -> float:
    """The measured step for delta = 1; if there is none, half of what a typical tensor of this scale has."""
    known = statistics.base_steps.get(tensor.parameter or "")
    if known is not None:
        return known
    rms = float(np.sqrt(np.square(weight, dtype=np.float64).mean())) if weight.size else 0.0
    return UNMEASURED_STEP * max(rms, 1e-20)
