"""What a plan will make of each tensor, from a sample of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.layouts.base import Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank
from tersor.layouts.sparse import Sparse
from tersor.planner.curves import grid_bytes, rows_of, sample_rows, sensitivity_of, tensor_error
from tersor.planner.execute import ReadTensor, Rounding, Value, quantize_matrix, store_tensor
from tersor.planner.float_size import float_bytes
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.pruned import matrix_of, statistics_of
from tersor.quant import CodeLengths

SAMPLE_ELEMENTS = 1 << 15


@dataclass(frozen=True, slots=True)
class Forecast:
    """n_bytes: of the tensor in the file, estimated. error: expected, of the model's output; None: not known."""

    n_bytes: float
    error: float | None


def forecast_tensors(
    read: ReadTensor,
    plan: Plan,
    statistics: Statistics,
    delta: float,
    *,
    code_lengths: CodeLengths | None = None,
    threads: int = 1,
    original: ReadTensor | None = None,
) -> dict[str, Forecast]:
    """What becomes of every tensor at a global step, by name.

    read: pruned where the plan says so. original: what errors are measured against; None: `read`.
    """
    rounding = Rounding(delta, None, threads, code_lengths)
    return {
        tensor.spec.name: _forecast(read, original or read, tensor, statistics, rounding)
        for tensor in plan.tensors
    }


def _forecast(
    read: ReadTensor, original: ReadTensor, tensor: TensorPlan, statistics: Statistics, rounding: Rounding
) -> Forecast:
    if tensor.method == "alias":
        return Forecast(0.0, 0.0)
    if tensor.method == "keep":
        return Forecast(float_bytes(tensor), 0.0)
    rows, share = sample_rows(tensor, SAMPLE_ELEMENTS)
    if tensor.low_rank is not None or tensor.method == "float":
        value = store_tensor(read, tensor, statistics, rounding)
        n_bytes, stored = _whole_bytes(value, tensor), _matrix(value, tensor)[rows]
    else:
        weight = matrix_of(read(tensor.spec.name), tensor, rows)
        grid = quantize_matrix(weight, tensor, statistics, rounding, rows=rows)
        n_bytes, stored = grid_bytes(grid, share), grid.to_dense()
    name = tensor.parameter
    if name is None or name not in statistics.errors:
        return Forecast(n_bytes, None)
    weight = matrix_of(original(tensor.spec.name), tensor, rows)
    known = rows_of(statistics_of(tensor, statistics), rows, with_feedback=tensor.prune is None)
    error = tensor_error(stored - weight, known)
    return Forecast(n_bytes, sensitivity_of(tensor, statistics, weight) * share * error)


def _whole_bytes(value: Value, tensor: TensorPlan) -> float:
    """Estimated bytes of a whole tensor."""
    if isinstance(value, LowRank):
        grids = [part for part in value.parts().values() if isinstance(part, Grid)]
        if grids:
            return sum(grid_bytes(grid, 1.0) for grid in grids)
    return float_bytes(tensor)


def _matrix(value: Value, tensor: TensorPlan) -> np.ndarray:
    """What a whole tensor stands for, as its matrix (rows, columns)."""
    if isinstance(value, LowRank | Grid):
        return value.to_dense()
    assert isinstance(value, Dense | Sparse)
    return matrix_of(value.array, tensor)


@dataclass(frozen=True, slots=True)
class Representatives:
    """A few tensors of a plan that stand for `share` times as much work."""

    plan: Plan
    share: float


def representatives(plan: Plan) -> list[Representatives]:
    """One tensor of each shape and treatment: embeddings, other matrices, and small tensors apart.

    Embeddings have no output factor and far more rows than columns: a weight of theirs costs other time than one of a
    linear layer. The work on small tensors goes with their number, on all others with their weights.
    """
    groups: dict[str, list[TensorPlan]] = {}
    for tensor in plan.tensors:
        if tensor.is_quantized or (tensor.method == "float" and not tensor.is_fixed):
            kind = "small" if tensor.is_fixed else "embedding" if "embedding" in tensor.reason else "matrix"
            groups.setdefault(kind, []).append(tensor)
    return [_representatives(tensors, by_number=kind == "small") for kind, tensors in groups.items()]


def _representatives(tensors: Sequence[TensorPlan], *, by_number: bool) -> Representatives:
    first: dict[tuple[object, ...], TensorPlan] = {}
    for tensor in tensors:
        treatment = tensor.method, str(dict(tensor.options)), str(tensor.prune), str(tensor.low_rank)
        first.setdefault((tensor.matrix_shape, *treatment), tensor)
    sizes = [[1 if by_number else t.spec.n_elements for t in group] for group in (tensors, first.values())]
    return Representatives(Plan(tuple(first.values())), sum(sizes[0]) / sum(sizes[1]))
