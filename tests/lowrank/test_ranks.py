"""Ranks by a share of the parameters, of one matrix and of many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from matrices import inputs_of, statistics_of, weight_of
from tersor.errors import UsageError
from tersor.lowrank import RankCurve, allocate_ranks, factorize, n_parameters, rank_curve, rank_for
from tersor.lowrank.whitening import Whitening, to_float64
from tersor.quant import TensorStatistics

SIZES = st.integers(1, 400)


@given(rows=SIZES, columns=SIZES, keep=st.floats(0.01, 1))
@example(rows=10, columns=10, keep=1 - 2**-53)
def test_rank_is_the_greatest_that_the_share_allows(rows: int, columns: int, keep: float) -> None:
    rank, limit = rank_for((rows, columns), keep), keep * rows * columns
    assert rank == 1 or n_parameters((rows, columns), rank) <= limit
    assert rank == min(rows, columns) or n_parameters((rows, columns), rank + 1) > limit


def test_all_parameters_are_full_rank() -> None:
    assert rank_for((30, 50), 1.0) == 30
    assert n_parameters((30, 50), 30) == 30 * 50


@pytest.mark.parametrize("keep", [0, -1, 1.01, float("nan")])
def test_share_outside_of_0_to_1_is_refused(keep: float) -> None:
    with pytest.raises(UsageError, match="needs more than 0, at most 1"):
        rank_for((3, 4), keep)
    with pytest.raises(UsageError, match="needs more than 0, at most 1"):
        allocate_ranks({}, keep)


def test_curve_is_the_error_of_the_best_factors_at_each_rank() -> None:
    weight, stats = weight_of(20, 30), statistics_of(inputs_of(30))
    curve = rank_curve(weight, stats, coefficient=3.0)
    assert curve.errors.shape == (21,)
    for rank in (1, 7, 20):
        left, right = factorize("whitened_svd", weight, rank, stats)
        missed = Whitening(stats).apply(to_float64(weight - left @ right))
        assert 3 * float(missed.square().sum()) == pytest.approx(curve.errors[rank], rel=1e-4, abs=1e-9)


def spent(curves: dict[str, RankCurve], ranks: dict[str, int | None]) -> int:
    return sum(
        n_parameters(curve.shape, min(curve.shape) if ranks[name] is None else ranks[name])
        for name, curve in curves.items()
    )


@given(data=st.data(), keep=st.floats(0.1, 1))
def test_allocation_keeps_to_the_budget(data: st.DataObject, keep: float) -> None:
    curves = {}
    for name in "abc":
        shape = data.draw(st.tuples(st.integers(2, 12), st.integers(2, 12)))
        squares = sorted(data.draw(st.lists(st.floats(0, 9), min_size=min(shape), max_size=min(shape))))
        curves[name] = RankCurve(shape, np.cumsum([0.0, *squares])[::-1].copy())
    ranks = allocate_ranks(curves, keep)
    least = spent(curves, dict.fromkeys(curves, 1))
    n_whole = sum(curve.shape[0] * curve.shape[1] for curve in curves.values())
    assert least <= spent(curves, ranks) <= max(keep * n_whole, least)
    assert all(rank is None or 1 <= rank < min(curves[name].shape) for name, rank in ranks.items())


def test_ranks_go_where_they_save_most_error() -> None:
    flat, steep = np.full(20, 1.0), 2.0 ** -np.arange(20)
    curves = {
        name: RankCurve((20, 20), np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]]))
        for name, squares in (("flat", flat), ("steep", steep))
    }
    ranks = allocate_ranks(curves, 0.6)
    assert (ranks["flat"] or 20) > (ranks["steep"] or 20)


def test_everything_stays_whole_when_all_parameters_may_be_kept() -> None:
    curve = rank_curve(weight_of(10, 12), TensorStatistics())
    assert allocate_ranks({"a": curve, "b": curve}, 1.0) == {"a": None, "b": None}


def test_a_tensor_that_matters_more_gets_the_higher_rank() -> None:
    weight = weight_of(24, 24)
    curves = {name: rank_curve(weight, TensorStatistics(), c) for name, c in (("low", 1.0), ("high", 50.0))}
    ranks = allocate_ranks(curves, 0.7)
    assert (ranks["high"] or 24) > (ranks["low"] or 24)
