"""What a plan will make of each tensor, from a sample of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tersor.calibrate.statistics import Statistics
from tersor.planner.curves import grid_bytes, rows_of, sample_rows, sensitivity_of, tensor_error
from tersor.planner.execute import ReadTensor, matrix_of, quantize_tensor
from tersor.planner.plan import Plan, TensorPlan
from tersor.quant import CodeLengths, TensorStatistics

SAMPLE_ELEMENTS = 1 << 15
# Lossless coding of floats; what small kept tensors cost matters little.
LOSSLESS_SHARE = 0.85


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
) -> dict[str, Forecast]:
    """What becomes of every tensor at a global step, by name."""
    return {
        tensor.spec.name: _forecast(read, tensor, statistics, delta, code_lengths, threads)
        for tensor in plan.tensors
    }


def _forecast(
    read: ReadTensor,
    tensor: TensorPlan,
    statistics: Statistics,
    delta: float,
    code_lengths: CodeLengths | None,
    threads: int,
) -> Forecast:
    if tensor.method == "alias":
        return Forecast(0.0, 0.0)
    if tensor.method == "keep":
        return Forecast(LOSSLESS_SHARE * tensor.spec.n_bytes, 0.0)
    rows, share = sample_rows(tensor, SAMPLE_ELEMENTS)
    grid = quantize_tensor(
        read, tensor, statistics, delta, threads=threads, code_lengths=code_lengths, rows=rows
    )
    name = tensor.parameter
    if name is None or name not in statistics.errors:
        return Forecast(grid_bytes(grid, share), None)
    weight = matrix_of(read(tensor.spec.name), tensor)[rows]
    known = statistics.of(name) if not tensor.is_fixed else TensorStatistics()
    error = tensor_error(grid.to_dense() - weight, rows_of(known, rows, with_feedback=True))
    return Forecast(grid_bytes(grid, share), sensitivity_of(tensor, statistics, weight) * share * error)


@dataclass(frozen=True, slots=True)
class Representatives:
    """A few tensors of a plan that stand for `share` times as much work."""

    plan: Plan
    share: float


def representatives(plan: Plan) -> list[Representatives]:
    """One tensor of each shape and method: embeddings, other matrices, and small tensors apart.

    Embeddings have no output factor and far more rows than columns: a weight of theirs costs other time than one of a
    linear layer. The work on small tensors goes with their number, on all others with their weights.
    """
    groups: dict[str, list[TensorPlan]] = {}
    for tensor in plan.tensors:
        if tensor.is_quantized:
            kind = "small" if tensor.is_fixed else "embedding" if "embedding" in tensor.reason else "matrix"
            groups.setdefault(kind, []).append(tensor)
    return [_representatives(tensors, by_number=kind == "small") for kind, tensors in groups.items()]


def _representatives(tensors: Sequence[TensorPlan], *, by_number: bool) -> Representatives:
    first: dict[tuple[object, ...], TensorPlan] = {}
    for tensor in tensors:
        first.setdefault((tensor.matrix_shape, tensor.method, str(dict(tensor.options))), tensor)
    sizes = [[1 if by_number else t.spec.n_elements for t in group] for group in (tensors, first.values())]
    return Representatives(Plan(tuple(first.values())), sum(sizes[0]) / sum(sizes[1]))
