"""The contract of a quantizer, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tersor.errors import NonFiniteError, ShapeError, UsageError
from tersor.layouts.grid import Grid
from tersor.quant.code_lengths import CodeLengths
from tersor.quant.info import MethodInfo


@dataclass(frozen=True, slots=True)
class QuantConfig:
    """How finely to round.

    step: > 0, the spacing of the grid in units of the weight, before row and column factors. All rows and columns
        share it; one number per tensor, so a planner can trade size for error. Methods whose options set the size
        ignore it.
    rate_weight: >= 0, squared error (in steps) that one bit saved is worth; 0 rounds to nearest; None: the method's
        own. Error of MiniLM with gptq for 0 / .05 / .1 / .2: .0095 / .0094 / .0096 / .0108 at .1x, .0324 / .0308 /
        .0334 / .0391 at .075x.
    threads: >= 1; changes speed only.
    code_lengths: bits of a code by class, from an earlier pass; None: a built-in prior.
    options: the method's own, checked against its MethodInfo.
    mask: bool, like the weight; False: the place decodes to exactly 0 (a pruned weight), and its error is passed on
        like any other. Only methods whose `info.keeps_zeros` is true take one. None: no place is forced.
    """

    step: float
    rate_weight: float | None = None
    threads: int = 1
    code_lengths: CodeLengths | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None

    def rate_weight_or(self, default: float) -> float:
        """The rate weight, or the method's own if none was given."""
        return default if self.rate_weight is None else self.rate_weight


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """What calibration knows about one matrix; every part may be missing, any may be memory-mapped.

    factor: (columns, columns) float32, upper triangular U with H^-1 = U'U for the damped input Hessian H of mean
        diagonal 1.
    row_weights: (rows,) > 0, mean 1: how much an error in this row matters, relative to the others.
    row_factor: (rows, rows) float32, lower triangular L with G^-1 = LL' for the damped output Hessian G of mean
        diagonal 1.
    hessian: (columns, columns) float32, H undamped, of arbitrary scale. output_hessian: (rows, rows), G likewise.
    input_scales: (columns,) float32, mean |x_j| of the inputs.
    """

    factor: np.ndarray | None = None
    row_weights: np.ndarray | None = None
    row_factor: np.ndarray | None = None
    hessian: np.ndarray | None = None
    output_hessian: np.ndarray | None = None
    input_scales: np.ndarray | None = None


class Quantizer(Protocol):
    """Round a matrix to a grid.

    weight: (rows, columns) float32, finite; (out, in) for linear layers. Not modified.
    Returns a Grid whose `to_dense()` approximates weight; codes are unbounded integers, to be entropy coded.
    Deterministic: equal arguments give equal codes for any number of threads.
    Raises: ShapeError, NonFiniteError, UsageError.
    """

    info: MethodInfo

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
    if config.rate_weight is not None and not 0 <= config.rate_weight <= 10:
        raise UsageError(f"rate_weight must be in 0..10, got {config.rate_weight}")
    if config.threads < 1:
        raise UsageError(f"threads must be >= 1, got {config.threads}")
    if config.mask is not None:
        check_mask(config.mask, weight.shape)
    rows, columns = weight.shape
    shapes = {
        "factor": (columns, columns),
        "row_weights": (rows,),
        "row_factor": (rows, rows),
        "hessian": (columns, columns),
        "output_hessian": (rows, rows),
        "input_scales": (columns,),
    }
    for name, shape in shapes.items():
        part = getattr(stats, name)
        if part is not None and part.shape != shape:
            raise ShapeError(f"{name} has shape {part.shape}, a weight of shape {weight.shape} needs {shape}")


def check_mask(mask: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise unless a mask is bool and of the weight's shape."""
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise ShapeError(
            f"a mask of {mask.dtype} and shape {mask.shape}; a weight of shape {shape} needs bool of that shape"
        )
