"""The contract of a factorizer, the registry of all of them, and the checks that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.errors import NonFiniteError, ShapeError, UsageError
from tersor.quant.base import TensorStatistics
from tersor.quant.info import STATISTICS, Option, resolve_options
from tersor.registry import Registry

Floats = npt.NDArray[np.float32]
Pair = tuple[Floats, Floats]
Function = Callable[[Floats, int, TensorStatistics, Mapping[str, Any]], Pair]


@dataclass(frozen=True, slots=True)
class FactorizerInfo:
    """A factorizer's own description.

    needs: the parts of TensorStatistics without which `factorize` takes the next simpler method, `fallback`.
    source: where it was published. summary: one line.
    """

    name: str
    summary: str
    source: str
    options: Mapping[str, Option] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    fallback: str = "svd"

    def __post_init__(self) -> None:
        if unknown := sorted(self.needs - STATISTICS):
            raise ValueError(f"method {self.name!r}: unknown needs {unknown}; known: {sorted(STATISTICS)}")

    def resolve(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Every option's value: those given, checked, over the defaults. Raises: UsageError naming the option."""
        return resolve_options(f"method {self.name!r}", self.options, options)


class Factorizer:
    """Finds left (rows, rank) and right (rank, columns), float32, whose product approximates a matrix.

    weight: (rows, columns) float32, finite; (out, in) for linear layers. Not modified.
    rank: 1 .. min(rows, columns). At full rank the product is the weight up to rounding.
    Component k of both has the same norm: |left[:, k]| = |right[k]|, not increasing in k of `svd`.
    Deterministic on one torch thread; the last bits may depend on the number of threads.
    Raises: ShapeError, NonFiniteError, UsageError.
    """

    def __init__(self, function: Function, info: FactorizerInfo) -> None:
        update_wrapper(self, function)
        self._function = function
        self.info = info

    def __call__(
        self, weight: Floats, rank: int, stats: TensorStatistics, options: Mapping[str, Any]
    ) -> Pair:
        resolved = self.info.resolve(options)
        check_arguments(weight, rank, stats)
        return self._function(weight, rank, stats, resolved)


def describes(info: FactorizerInfo) -> Callable[[Function], Factorizer]:
    """Decorator that makes a factorizer of a function."""
    return lambda function: Factorizer(function, info)


FACTORIZERS: Registry[Factorizer] = Registry(
    "factorizer",
    {
        "svd": "tersor.lowrank.svd:factorize_svd",
        "whitened_svd": "tersor.lowrank.whitened_svd:factorize_whitened_svd",
        "two_sided_svd": "tersor.lowrank.two_sided_svd:factorize_two_sided_svd",
    },
)


def factorize(
    name: str,
    weight: Floats,
    rank: int,
    stats: TensorStatistics,
    options: Mapping[str, Any] | None = None,
) -> Pair:
    """Factor a matrix by the factorizer of that name, or by the next simpler one that its statistics are enough for.

    Options are checked against the method that was asked for, whichever runs.
    Raises: UnknownNameError naming the nearest, and what Factorizer does.
    """
    wanted, found = FACTORIZERS.get(name), method_that_can(name, stats)
    resolved = wanted.info.resolve(options or {})
    known = FACTORIZERS.get(found).info.options
    return FACTORIZERS.get(found)(weight, rank, stats, {k: v for k, v in resolved.items() if k in known})


def method_that_can(name: str, stats: TensorStatistics) -> str:
    """The method, or the next simpler one if calibration did not reach what it needs."""
    while any(getattr(stats, part) is None for part in FACTORIZERS.get(name).info.needs):
        name = FACTORIZERS.get(name).info.fallback
    return name


def check_arguments(weight: Floats, rank: int, stats: TensorStatistics) -> None:
    """Raise unless the three fit each other as the contract says."""
    if weight.ndim != 2 or not weight.size:
        raise ShapeError(f"factorizers take matrices with elements, got shape {list(weight.shape)}")
    if not np.isfinite(weight).all():
        raise NonFiniteError(
            f"weight of shape {list(weight.shape)} holds {int((~np.isfinite(weight)).sum())} NaN or infinite "
            "elements; only finite weights can be factored"
        )
    rows, columns = weight.shape
    if not 1 <= rank <= min(rows, columns):
        raise UsageError(f"rank={rank}: a matrix of {rows} x {columns} needs 1 to {min(rows, columns)}")
    shapes = {
        "factor": (columns, columns),
        "row_factor": (rows, rows),
        "row_weights": (rows,),
        "hessian": (columns, columns),
        "output_hessian": (rows, rows),
    }
    for name, shape in shapes.items():
        part = getattr(stats, name)
        if part is not None and part.shape != shape:
            raise ShapeError(
                f"{name} has shape {list(part.shape)}, a weight of {rows} x {columns} needs {list(shape)}"
            )
