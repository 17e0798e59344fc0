"""The contract of a quantizer, and the checks that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tersor.errors import NonFiniteError, ShapeError, UsageError
from tersor.layouts.grid import Grid


@dataclass(frozen=True, slots=True)
class QuantConfig:
    """How finely to round.

    step: > 0, the spacing of the grid in units of the weight, before row and column factors. All rows and columns
        share it; one number per tensor, so a planner can trade size for error.
    rate_weight: >= 0, squared error (in steps) that one bit saved is worth; 0 rounds to nearest. Error of MiniLM
        for 0 / .05 / .1 / .2: .0095 / .0094 / .0096 / .0108 at .1x, .0324 / .0308 / .0334 / .0391 at .075x.
    threads: >= 1; changes speed only.
    """

    step: float
    rate_weight: float = 0.05
    threads: int = 1


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """What calibration knows about one matrix; every part may be missing.

    factor: (columns, columns) float32, upper triangular U with H^-1 = U'U for the damped input Hessian H of mean
        diagonal 1; may be memory-mapped.
    row_weights: (rows,) > 0, mean 1: how much an error in this row matters, relative to the others.
    """

    factor: np.ndarray | None = None
    row_weights: np.ndarray | None = None


class Quantizer(Protocol):
    """Round a matrix to a grid.

    weight: (rows, columns) float32, finite; (out, in) for linear layers. Not modified.
    Returns a Grid whose `to_dense()` approximates weight; codes are unbounded integers, to be entropy coded.
    Deterministic: equal arguments give equal codes for any number of threads.
    Raises: ShapeError, NonFiniteError, UsageError.
    """

    def __call__(self, weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid: ...


def check_arguments(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> None:
    """Raise unless the three fit each other as the contract says."""
    if weight.ndim != 2:
        raise ShapeError(f"quantizers take matrices, got shape {weight.shape}; reshape to (rows, columns)")
    if not np.isfinite(weight).all():
        raise NonFiniteError(
            f"weight of shape {weight.shape} holds {int((~np.isfinite(weight)).sum())} NaN or infinite elements; "
            "only finite weights can be quantized"
        )
    if not (np.isfinite(config.step) and config.step > 0):
        raise UsageError(f"step must be finite and > 0, got {config.step}")
    if not 0 <= config.rate_weight <= 10:
        raise UsageError(f"rate_weight must be in 0..10, got {config.rate_weight}")
    if config.threads < 1:
        raise UsageError(f"threads must be >= 1, got {config.threads}")
    rows, columns = weight.shape
    if stats.factor is not None and stats.factor.shape != (columns, columns):
        raise ShapeError(
            f"factor has shape {stats.factor.shape}, a weight of shape {weight.shape} needs {(columns,) * 2}"
        )
    if stats.row_weights is not None and stats.row_weights.shape != (rows,):
        raise ShapeError(
            f"row_weights has shape {stats.row_weights.shape}, a weight of shape {weight.shape} needs {(rows,)}"
        )
