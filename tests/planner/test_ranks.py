"""Ranks go where a parameter saves most error."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from matrices import inputs_of, statistics_of, weight_of
from tersor.calibrate.statistics import Statistics
from tersor.lowrank import n_parameters, rank_for
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.ranks import choose_ranks, with_ranks
from tersor.planner.treatments import LowRankChoice
from tersor.types import TensorSpec

SHAPE = (48, 64)
WEIGHTS = {name: weight_of(*SHAPE, seed=seed) for seed, name in enumerate(("much", "little", "conv"))}
WEIGHTS["conv"] = np.ascontiguousarray(WEIGHTS["conv"].T)


def plan(keep: float = 0.6, *, residual: bool = False) -> Plan:
    choice = LowRankChoice("two_sided_svd", keep, residual)
    return Plan(
        tuple(
            TensorPlan(
                TensorSpec(name, "F32", weight.shape),
                "rtn",
                "linear",
                name,
                is_transposed=name == "conv",
                low_rank=choice,
            )
            for name, weight in WEIGHTS.items()
        )
    )


def statistics(tmp_path: Path, **errors: float) -> Statistics:
    path = tmp_path / "factor.npy"
    np.save(path, statistics_of(inputs_of(64)).factor)
    return Statistics(tmp_path, factors=dict.fromkeys(WEIGHTS, path), errors=errors)


def test_tensors_that_matter_more_get_more_of_the_same_parameters(tmp_path: Path) -> None:
    ranks = choose_ranks(plan(), WEIGHTS.__getitem__, statistics(tmp_path, much=9.0, little=0.1, conv=1.0))
    found = {name: 48 if rank is None else rank for name, rank in ranks.items()}
    assert found["much"] > found["conv"] > found["little"]
    assert sum(n_parameters(SHAPE, rank) for rank in found.values()) <= 0.6 * 3 * 48 * 64


def test_tensor_without_a_measured_error_keeps_its_own_share(tmp_path: Path) -> None:
    known = statistics(tmp_path, much=1.0)
    made = with_ranks(plan(), choose_ranks(plan(), WEIGHTS.__getitem__, known))
    choices = {tensor.spec.name: tensor.low_rank for tensor in made.tensors}
    assert choices["little"].rank is None
    assert choices["little"].rank_of(SHAPE) == rank_for(SHAPE, 0.6)
    assert choices["much"].rank_of(SHAPE) == choices["much"].rank


def test_tensors_with_a_residual_keep_their_own_share(tmp_path: Path) -> None:
    known = statistics(tmp_path, much=9.0, little=0.1, conv=1.0)
    assert choose_ranks(plan(residual=True), WEIGHTS.__getitem__, known) == {}


def test_tensor_that_is_better_left_whole_is_not_factored(tmp_path: Path) -> None:
    made = with_ranks(plan(), {"much": None, "conv": 7})
    much, little, conv = made.tensors
    assert much.low_rank is None
    assert "left whole" in much.reason
    assert little == plan().tensors[1]
    assert conv.low_rank.rank == 7
    assert "rank 7" in conv.reason
