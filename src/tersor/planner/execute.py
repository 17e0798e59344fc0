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
    rate_weight: float = 0.05,
) -> Iterator[tuple[TensorPlan, Grid | Dense | Alias]]:
    """Yield each tensor of the plan in order with its layout; one tensor is in memory at a time.

    read: the original array of a tensor by its checkpoint name (any float type for quantized ones).
    delta: > 0, the global step: error per weight grows with its square, in every tensor alike.
    Deterministic, for any number of threads. Raises: NonFiniteError naming the tensor.
    """
    for tensor in plan.tensors:
        if tensor.method == "alias":
            yield tensor, Alias(str(tensor.target))
        elif tensor.method == "keep":
            yield tensor, Dense(np.ascontiguousarray(read(tensor.spec.name)))
        else:
            yield (
                tensor,
                quantize_tensor(read, tensor, statistics, delta, threads=threads, rate_weight=rate_weight),
            )


def quantize_tensor(
    read: ReadTensor,
    tensor: TensorPlan,
    statistics: Statistics,
    delta: float,
    *,
    threads: int = 1,
    rate_weight: float = 0.05,
    rows: slice = slice(None),
) -> Grid:
    """The grid of one tensor; `rows` restricts it to some rows of its matrix (for estimates)."""
    weight = matrix_of(read(tensor.spec.name), tensor)[rows]
    known, method = _statistics_of(tensor, statistics), tensor.method
    if known.row_weights is not None:
        known = TensorStatistics(known.factor, known.row_weights[rows])
    if method == "gptq" and known.factor is None:
        method = "rtn"
    if tensor.is_fixed:
        config = QuantConfig(small_step(weight), 0.0, threads)
    else:
        config = QuantConfig(delta * _base_step(tensor, statistics, weight), rate_weight, threads)
    try:
        grid = QUANTIZERS.get(method)(weight, config, known)
    except (NonFiniteError, UsageError) as exc:
        raise type(exc)(f"tensor {tensor.spec.name!r}: {exc}") from exc
    return replace(grid, transposed=tensor.is_transposed)


def matrix_of(array: np.ndarray, tensor: TensorPlan) -> np.ndarray:
    """The tensor as a float32 matrix (rows, columns), C-contiguous."""
    flat = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    return np.ascontiguousarray(flat.T if tensor.is_transposed else flat, dtype=np.float32)


def _statistics_of(tensor: TensorPlan, statistics: Statistics) -> TensorStatistics:
    if tensor.parameter is None or tensor.is_fixed:
        return TensorStatistics()
    return statistics.of(tensor.parameter)


def _base_step(tensor: TensorPlan, statistics: Statistics, weight: np.ndarray) -> float:
    """The measured step for delta = 1; if there is none, half of what a typical tensor of this scale has."""
    known = statistics.base_steps.get(tensor.parameter or "")
    if known is not None:
        return known
    rms = float(np.sqrt(np.square(weight, dtype=np.float64).mean())) if weight.size else 0.0
    return UNMEASURED_STEP * max(rms, 1e-20)
