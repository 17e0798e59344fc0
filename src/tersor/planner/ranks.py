"""Ranks of the tensors that are factored: where a parameter saves most error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from tersor.calibrate.statistics import Statistics
from tersor.calibrate.threads import single_thread
from tersor.lowrank import RankCurve, allocate_ranks, rank_curve
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.pruned import ReadTensor, matrix_of

Ranks = Mapping[str, int | None]


@single_thread()
def choose_ranks(plan: Plan, read: ReadTensor, statistics: Statistics) -> dict[str, int | None]:
    """The rank of each tensor that the plan factors, by name; None: it is better left whole.

    Tensors that keep the same share of their parameters share those: ranks are of equal marginal error.
    Left out, with their own share each: tensors that calibration has no error of, and those with a residual, which
    takes up what a low rank misses. Error of MiniLM at keep .8: .0125, with the same share of every tensor .0378
    (benchmarks/low_rank.py). Memory: one tensor and its statistics.
    """
    curves: dict[float, dict[str, RankCurve]] = defaultdict(dict)
    for tensor in plan.tensors:
        choice, coefficient = tensor.low_rank, statistics.errors.get(tensor.parameter or "")
        if choice is not None and not choice.residual and coefficient is not None:
            weight = matrix_of(read(tensor.spec.name), tensor)
            curve = rank_curve(weight, statistics.of(tensor.parameter or ""), coefficient)
            curves[choice.keep][tensor.spec.name] = curve
    ranks: dict[str, int | None] = {}
    for keep, same in curves.items():
        ranks |= allocate_ranks(same, keep)
    return ranks


def with_ranks(plan: Plan, ranks: Ranks) -> Plan:
    """The plan with these ranks; tensors that `ranks` does not name keep what they have."""
    return Plan(tuple(_with_rank(tensor, ranks) for tensor in plan.tensors))


def _with_rank(tensor: TensorPlan, ranks: Ranks) -> TensorPlan:
    name = tensor.spec.name
    if tensor.low_rank is None or name not in ranks:
        return tensor
    rank = ranks[name]
    if rank is None:
        return replace(
            tensor, low_rank=None, reason=f"{tensor.reason}; left whole: factors save more elsewhere"
        )
    return replace(
        tensor, low_rank=replace(tensor.low_rank, rank=rank), reason=f"{tensor.reason}; rank {rank}"
    )
