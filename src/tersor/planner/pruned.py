"""The weights that quantization starts from: pruned where the plan says so, each tensor pruned once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.errors import NonFiniteError, ShapeError, UsageError
from tersor.npy import read_npy
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.treatments import PLAIN_PRUNER, PruneChoice
from tersor.prune import PRUNERS, Pruned, global_threshold, prune_matrix
from tersor.quant import TensorStatistics

ReadTensor = Callable[[str], np.ndarray]


class PrunedReader:
    """Reads tensors by name; what the plan prunes comes pruned, float32, in the tensor's own shape.

    read: the original array of a tensor. folder: keeps what was pruned, so that every attempt sees the same; it is made
    when it is needed. Memory: one tensor. Removed places hold exactly +0.0.
    """

    def __init__(
        self, read: ReadTensor, plan: Plan, statistics: Statistics, folder: Path, threads: int = 1
    ) -> None:
        self._read, self._statistics, self._folder, self._threads = read, statistics, folder, threads
        self._pruned = {
            tensor.spec.name: (number, tensor)
            for number, tensor in enumerate(plan.tensors)
            if tensor.is_pruned
        }
        self._thresholds: dict[int, float] = {}

    def __call__(self, name: str) -> np.ndarray:
        """The values of a tensor. Raises: NonFiniteError, ShapeError, UsageError naming the tensor."""
        if name not in self._pruned:
            return self._read(name)
        number, tensor = self._pruned[name]
        path = self._folder / f"{number}.npy"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            matrix = self._prune(tensor).weight
            own = matrix.T if tensor.is_transposed else matrix
            np.save(path, np.ascontiguousarray(own).reshape(tensor.spec.shape))
        return np.asarray(read_npy(path, mapped=True))

    def _prune(self, tensor: TensorPlan) -> Pruned:
        assert tensor.prune is not None
        weight = matrix_of(self._read(tensor.spec.name), tensor)
        threshold = self._threshold(tensor.prune) if tensor.prune.scope == "global" else None
        return prune(weight, tensor, statistics_of(tensor, self._statistics), threshold, self._threads)

    def _threshold(self, choice: PruneChoice) -> float:
        """The score below which weights go in all tensors that the same step prunes."""
        alike = [tensor for _, tensor in self._pruned.values() if tensor.prune == choice]
        key = id(alike[0].prune)
        if key not in self._thresholds:
            self._thresholds[key] = global_threshold(self._scores(alike), float(choice.sparsity or 0.0))
        return self._thresholds[key]

    def _scores(self, tensors: list[TensorPlan]) -> Iterator[np.ndarray]:
        for tensor in tensors:
            assert tensor.prune is not None
            known = statistics_of(tensor, self._statistics)
            pruner = PRUNERS.get(_pruner_that_can(tensor.prune.method, known))
            yield pruner.score(matrix_of(self._read(tensor.spec.name), tensor), known)


def prune(
    weight: np.ndarray,
    tensor: TensorPlan,
    known: TensorStatistics,
    threshold: float | None = None,
    threads: int = 1,
) -> Pruned:
    """Prune the matrix of a tensor, or what takes its place. Raises: NonFiniteError, ShapeError, UsageError."""
    choice = tensor.prune
    assert choice is not None
    method = _pruner_that_can(choice.method, known)
    try:
        return prune_matrix(method, weight, choice.config(threshold, threads), known)
    except (NonFiniteError, ShapeError, UsageError) as exc:
        raise type(exc)(f"tensor {tensor.spec.name!r}: {exc}") from exc


def matrix_of(array: np.ndarray, tensor: TensorPlan, rows: slice = slice(None)) -> np.ndarray:
    """The tensor, or some rows of it, as a float32 matrix (rows, columns), C-contiguous."""
    flat = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    return np.ascontiguousarray((flat.T if tensor.is_transposed else flat)[rows], dtype=np.float32)


def statistics_of(tensor: TensorPlan, statistics: Statistics) -> TensorStatistics:
    """What calibration knows about a tensor's matrix; nothing about small ones."""
    if tensor.parameter is None or tensor.is_fixed:
        return TensorStatistics()
    return statistics.of(tensor.parameter)


def _pruner_that_can(method: str, known: TensorStatistics) -> str:
    """The method, or the plain one if it needs statistics that calibration did not reach."""
    needs = PRUNERS.get(method).info.needs
    return PLAIN_PRUNER if any(getattr(known, part) is None for part in needs) else method
