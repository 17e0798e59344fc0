"""The contract of a pruner, the registry of all of them, and the checks that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from tersor.errors import NonFiniteError, ShapeError, UsageError
from tersor.prune.info import PruneInfo
from tersor.prune.pattern import Pattern
from tersor.quant.base import TensorStatistics
from tersor.registry import Registry

Scope = Literal["row", "layer", "global"]
SCOPES: tuple[Scope, ...] = ("row", "layer", "global")


@dataclass(frozen=True, slots=True)
class PruneConfig:
    """How much to remove, and among what.

    sparsity: 0..1, the share of weights removed; needed unless a pattern or a threshold says it.
    scope: "row": the same share of every row; "layer": of the matrix; "global": what scores at most `threshold`.
    pattern: "n:m", n kept of every m neighbouring columns; the scope then says nothing.
    threshold: for scope global, from `global_threshold` over the scores of all tensors.
    options: the method's own, checked against its PruneInfo. threads: >= 1; changes speed only.
    Raises: UsageError for what does not fit together.
    """

    sparsity: float | None = None
    scope: Scope = "row"
    pattern: str | None = None
    threshold: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1

    def __post_init__(self) -> None:
        if self.sparsity is not None and not 0 <= self.sparsity <= 1:
            raise UsageError(f"sparsity={self.sparsity}: needs 0..1, the share of weights removed")
        if self.scope not in SCOPES:
            raise UsageError(f"scope={self.scope!r}: needs one of {', '.join(SCOPES)}")
        if self.threads < 1:
            raise UsageError(f"threads must be >= 1, got {self.threads}")
        self._check_amount()

    def _check_amount(self) -> None:
        if self.pattern is not None:
            implied = Pattern.parse(self.pattern).sparsity
            if self.sparsity is not None and abs(self.sparsity - implied) > 1e-6:
                raise UsageError(
                    f"sparsity={self.sparsity} and pattern {self.pattern!r}, which removes {implied:g}; "
                    "give one of them"
                )
        elif self.scope == "global":
            if self.threshold is None or not self.threshold >= 0:
                raise UsageError(f"scope 'global' needs a threshold >= 0, got {self.threshold}")
        elif self.sparsity is None:
            raise UsageError(f"scope {self.scope!r} needs a sparsity, or a pattern such as '2:4'")


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """A matrix with elements removed.

    weight: float32 (rows, columns); removed places hold exactly +0.0, others may have moved.
    mask: bool, the same shape; True = kept.
    """

    weight: np.ndarray
    mask: np.ndarray

    @property
    def sparsity(self) -> float:
        """Share of the places removed; 0 of an empty matrix."""
        return 1.0 - float(self.mask.mean()) if self.mask.size else 0.0


class Pruner(Protocol):
    """Removes the weights that matter least.

    weight: (rows, columns) float32, finite; (out, in) for linear layers. Not modified.
    Deterministic: equal arguments give equal results for any number of threads.
    Raises: ShapeError, NonFiniteError, UsageError (also where `info.needs` is missing).
    """

    info: PruneInfo

    def score(self, weight: np.ndarray, stats: TensorStatistics) -> np.ndarray:
        """float32 of the weight's shape, >= 0; higher = keep. Proportional to the root of what removing it costs."""

    def __call__(self, weight: np.ndarray, config: PruneConfig, stats: TensorStatistics) -> Pruned:
        """Remove what `config` says."""


PRUNERS: Registry[Pruner] = Registry(
    "pruner",
    {
        "magnitude": "tersor.prune.magnitude:MAGNITUDE",
        "wanda": "tersor.prune.wanda:WANDA",
        "sparsegpt": "tersor.prune.sparsegpt:SPARSEGPT",
    },
)


def prune_matrix(name: str, weight: np.ndarray, config: PruneConfig, stats: TensorStatistics) -> Pruned:
    """Prune a matrix by the pruner of that name. Raises: UnknownNameError naming the nearest, and what Pruner does."""
    return PRUNERS.get(name)(weight, config, stats)


def check_arguments(
    weight: np.ndarray, config: PruneConfig, stats: TensorStatistics, info: PruneInfo
) -> None:
    """Raise unless the matrix can be pruned by this method in this way."""
    check_scored(weight, stats, info)
    info.resolve(config.options)
    if config.pattern is not None:
        Pattern.parse(config.pattern).check_columns(weight.shape[1])


def check_scored(weight: np.ndarray, stats: TensorStatistics, info: PruneInfo) -> None:
    """Raise unless the weight is a finite matrix and the statistics that the method needs are there and fit it."""
    if weight.ndim != 2:
        raise ShapeError(f"pruners take matrices, got shape {weight.shape}; reshape to (rows, columns)")
    if not np.isfinite(weight).all():
        raise NonFiniteError(
            f"weight of shape {weight.shape} holds {int((~np.isfinite(weight)).sum())} NaN or infinite elements; "
            "only finite weights can be pruned"
        )
    for part in sorted(info.needs):
        if getattr(stats, part) is None:
            raise UsageError(
                f"{info.name} needs input statistics (stats.{part}); calibrate first, or use magnitude"
            )
    rows, columns = weight.shape
    shapes = {"factor": (columns, columns), "hessian": (columns, columns), "row_factor": (rows, rows)}
    for name, shape in shapes.items():
        known = getattr(stats, name)
        if known is not None and known.shape != shape:
            raise ShapeError(
                f"{name} has shape {known.shape}, a weight of shape {weight.shape} needs {shape}"
            )
