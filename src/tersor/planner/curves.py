"""Rate-quality curves: what each setting of a method costs in bytes and in expected error, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.errors import UsageError
from tersor.layouts.grid import Grid
from tersor.planner.choices import settings
from tersor.planner.execute import (
    UNMEASURED_STEP,
    ReadTensor,
    Rounding,
    low_rank_of,
    quantize_matrix,
)
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.pruned import matrix_of, statistics_of
from tersor.planner.rate import BYTES_PER_TENSOR, CODER_OVERHEAD
from tersor.quant import QUANTIZERS, TensorStatistics
from tersor.quant.alphabet_classes import conditional_entropy_bits
from tersor.quant.classes import exponent_bits

# Rows of about so many elements stand for a tensor: bits within 1%, and a curve of 21 points of a MiniLM layer in
# .3 s. All of MiniLM at once would take minutes.
SAMPLE_ELEMENTS = 1 << 15
MIN_SAMPLE_ROWS = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting of a tensor's method. n_bytes: of the whole tensor, estimated. error: expected, of the model."""

    options: dict[str, Any]
    n_bytes: float
    error: float


def rate_curves(
    read: ReadTensor,
    plan: Plan,
    statistics: Statistics,
    *,
    purpose: str = "storage",
    threads: int = 1,
    after_tensor: Callable[[], None] | None = None,
) -> dict[int, list[Choice]]:
    """Number of each tensor whose method's options set its size -> its choices, at least one.

    Errors of different tensors compare: they are what the rounding does to the model's output, as far as the
    Hessians tell (`tensor_error`). Deterministic for any number of threads.
    Raises: UsageError, ShapeError if the options that the user gave cannot work for a tensor.
    """
    numbers = [number for number, tensor in enumerate(plan.tensors) if tensor.follows_options]

    def curve(number: int) -> list[Choice]:
        found = _curve(read, plan.tensors[number], statistics, purpose)
        if after_tensor is not None:
            after_tensor()
        return found

    with ThreadPoolExecutor(max(1, threads)) as pool:
        return dict(zip(numbers, pool.map(curve, numbers), strict=True))


def tensor_error(error: np.ndarray, known: TensorStatistics) -> float:
    """tr(G E H E') for the error E of a matrix (rows, columns), with G and H scaled to mean diagonal 1.

    H is the input Hessian, the identity where there is none. Of G only the diagonal counts (errors of different rows
    are taken as independent): that of the output Hessian, else the row weights, else ones.
    """
    weighted = error if known.hessian is None else error @ _unit(known.hessian)
    by_row = np.einsum("ij,ij->i", weighted, error, dtype=np.float64)
    return float(by_row @ _row_importance(known, len(error)))


def _curve(read: ReadTensor, tensor: TensorPlan, statistics: Statistics, purpose: str) -> list[Choice]:
    info = QUANTIZERS.get(tensor.method).info
    trials = settings(info, tensor.options, tensor.matrix_shape[1], purpose)
    if tensor.low_rank is not None:
        choices = _factor_choices(read, tensor, statistics, trials)
    else:
        choices = _matrix_choices(read, tensor, statistics, trials)
    if not all(np.isfinite(choice.error) for choice in choices):
        raise UsageError(
            f"tensor {tensor.spec.name!r}: method {tensor.method!r} gives values that are not finite"
        )
    return choices


def _matrix_choices(
    read: ReadTensor, tensor: TensorPlan, statistics: Statistics, trials: list[dict[str, Any]]
) -> list[Choice]:
    """By some rows of the matrix."""
    rows, share = sample_rows(tensor, SAMPLE_ELEMENTS)
    weight = matrix_of(read(tensor.spec.name), tensor)[rows]
    known = rows_of(statistics_of(tensor, statistics), rows)
    sensitivity = sensitivity_of(tensor, statistics, weight)
    choices = []
    for options in trials:
        trial = replace(tensor, options=options)
        grid = quantize_matrix(weight, trial, statistics, Rounding(1.0), rows=rows)
        error = tensor_error(grid.to_dense() - weight, known)
        choices.append(Choice(options, grid_bytes(grid, share), sensitivity * share * error))
    return choices


def _factor_choices(
    read: ReadTensor, tensor: TensorPlan, statistics: Statistics, trials: list[dict[str, Any]]
) -> list[Choice]:
    """By the whole tensor: rows of a product tell nothing about the right factor."""
    weight = matrix_of(read(tensor.spec.name), tensor)
    known = rows_of(statistics_of(tensor, statistics), slice(None))
    sensitivity = sensitivity_of(tensor, statistics, weight)
    choices = []
    for options in _without_group_sizes(trials):
        made = low_rank_of(weight, replace(tensor, options=options), statistics, Rounding(1.0))
        n_bytes = sum(grid_bytes(part, 1.0) for part in made.parts().values() if isinstance(part, Grid))
        choices.append(Choice(options, n_bytes, sensitivity * tensor_error(made.to_dense() - weight, known)))
    return choices


def _without_group_sizes(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One trial of each kind whatever its groups: a factor's columns are few, and each trial takes a factorization."""
    kinds: dict[str, dict[str, Any]] = {}
    for options in trials:
        kinds.setdefault(str({k: v for k, v in options.items() if k != "group_size"}), options)
    return list(kinds.values())


def sample_rows(tensor: TensorPlan, n_elements: int) -> tuple[slice, float]:
    """Evenly spaced rows, and how many rows each stands for."""
    n_rows, n_columns = tensor.matrix_shape
    wanted = max(MIN_SAMPLE_ROWS, n_elements // max(1, n_columns))
    stride = max(1, n_rows // wanted)
    return slice(stride // 2, None, stride), n_rows / len(range(stride // 2, n_rows, stride))


def rows_of(known: TensorStatistics, rows: slice, *, with_feedback: bool = False) -> TensorStatistics:
    """The parts that `tensor_error` needs, for some rows.

    with_feedback: the method compensates errors between rows: what is left counts as its row factor says.
    """
    output = None if known.output_hessian is None else known.output_hessian[rows, rows]
    weights = None if known.row_weights is None else known.row_weights[rows]
    if with_feedback and known.row_factor is not None:
        output, weights = None, np.diagonal(known.row_factor)[rows].astype(np.float64) ** -2.0
    return TensorStatistics(hessian=known.hessian, output_hessian=output, row_weights=weights)


def sensitivity_of(tensor: TensorPlan, statistics: Statistics, weight: np.ndarray) -> float:
    """Error of the model per unit of `tensor_error`: measured; else by the base step, in the same unit."""
    name = tensor.parameter or ""
    if name in statistics.errors:
        return statistics.errors[name]
    step = statistics.base_steps.get(name)
    if step is None:
        power = float(np.square(weight, dtype=np.float64).mean()) if weight.size else 0.0
        step = UNMEASURED_STEP * max(power, 1e-30) ** 0.5
    # Base steps are a constant times errors**-0.5.
    both = [n for n in statistics.errors if n in statistics.base_steps]
    products = [statistics.errors[n] * statistics.base_steps[n] ** 2 for n in both]
    return (median(products) if products else 1.0) / step**2


def grid_bytes(grid: Grid, share: float) -> float:
    """Estimated bytes of a tensor whose rows are `share` times those of the grid."""
    bits = conditional_entropy_bits(grid.codes, grid.row_classes, grid.column_classes)
    bits += exponent_bits(grid.row_exponents) + exponent_bits(grid.row_classes)
    side = 0.0
    if grid.group_scales is not None and grid.zero_points is not None:
        side = grid.group_scales.nbytes + grid.zero_points.size * _entropy(grid.zero_points) / 8
    columns = exponent_bits(grid.column_exponents) + exponent_bits(grid.column_classes)
    codebook = 0 if grid.codebook is None else grid.codebook.nbytes
    return share * (CODER_OVERHEAD * bits / 8 + side) + columns / 8 + codebook + BYTES_PER_TENSOR


def _entropy(values: np.ndarray) -> float:
    """Bits per value."""
    _, counts = np.unique(values, return_counts=True)
    shares = counts / max(values.size, 1)
    return float(-(shares * np.log2(shares)).sum())


def _unit(hessian: np.ndarray) -> np.ndarray:
    mean = float(np.diagonal(hessian).mean(dtype=np.float64))
    return np.asarray(hessian / np.float32(mean if mean > 0 else 1.0), np.float32)


def _row_importance(known: TensorStatistics, n_rows: int) -> np.ndarray:
    if known.output_hessian is not None:
        diagonal = np.maximum(np.diagonal(known.output_hessian).astype(np.float64), 0.0)
        return diagonal / max(float(diagonal.mean()), 1e-30)
    if known.row_weights is not None:
        return known.row_weights.astype(np.float64)
    return np.ones(n_rows)
