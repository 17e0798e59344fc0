"""Each factorizer is the optimum of its own measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import NonFiniteError, ShapeError, UnknownNameError, UsageError
from tersor.lowrank import FACTORIZERS, factorize, method_that_can
from tersor.lowrank.whitening import Whitening, to_float64
from tersor.quant import TensorStatistics

MEASURES = {
    "svd": {"columns": False, "rows": False},
    "whitened_svd": {"columns": True, "rows": False},
    "two_sided_svd": {"columns": True, "rows": True},
}
every_method = pytest.mark.parametrize("name", FACTORIZERS.names())


def error(name: str, missed: np.ndarray, stats: TensorStatistics) -> float:
    return float(Whitening(stats, **MEASURES[name]).apply(to_float64(missed)).square().sum())


@every_method
@pytest.mark.parametrize("rank", [1, 5, 20])
def test_no_other_method_has_less_error_in_its_measure(
    name: str, rank: int, weight: np.ndarray, stats: TensorStatistics
) -> None:
    errors = {
        other: error(name, weight - np.matmul(*factorize(other, weight, rank, stats)), stats)
        for other in FACTORIZERS.names()
    }
    assert errors[name] == min(errors.values())
    assert len({round(value, 9) for value in errors.values()}) == 3  # the three really differ


@every_method
def test_small_changes_of_the_factors_do_not_lower_the_error(
    name: str, weight: np.ndarray, stats: TensorStatistics
) -> None:
    left, right = factorize(name, weight, 6, stats)
    random = np.random.default_rng(0)
    least = error(name, weight - left @ right, stats)
    for _ in range(10):
        moved = [f + 1e-2 * np.abs(f).mean() * random.standard_normal(f.shape) for f in (left, right)]
        assert error(name, weight - moved[0] @ moved[1], stats) > least


@every_method
def test_full_rank_is_the_weight(name: str, weight: np.ndarray, stats: TensorStatistics) -> None:
    for matrix, known in ((weight, stats), (np.ascontiguousarray(weight.T), TensorStatistics())):
        left, right = factorize(name, matrix, 36, known)
        np.testing.assert_allclose(left @ right, matrix, atol=1e-5)


@every_method
@given(rank=st.integers(1, 9))
def test_components_have_equal_norms(name: str, rank: int) -> None:
    matrix = np.random.default_rng(rank).standard_normal((9, 14)).astype(np.float32)
    left, right = factorize(name, matrix, rank, TensorStatistics())
    assert left.dtype == right.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1), rtol=1e-4)


@every_method
def test_matrix_of_zeros_gives_zeros(name: str, stats: TensorStatistics) -> None:
    left, right = factorize(name, np.zeros((36, 48), np.float32), 3, stats)
    assert not (left @ right).any()
    assert np.isfinite(left).all()
    assert np.isfinite(right).all()


@pytest.mark.parametrize(
    ("known", "method"),
    [((), "svd"), (("factor",), "whitened_svd"), (("factor", "row_factor"), "two_sided_svd")],
)
def test_method_falls_back_to_what_the_statistics_allow(
    known: tuple[str, ...], method: str, weight: np.ndarray, stats: TensorStatistics
) -> None:
    some = TensorStatistics(**{part: getattr(stats, part) for part in known})
    assert method_that_can("two_sided_svd", some) == method
    for found, expected in zip(
        factorize("two_sided_svd", weight, 4, some), factorize(method, weight, 4, some), strict=True
    ):
        assert np.array_equal(found, expected)


def test_row_weights_stand_in_for_the_row_factor_in_the_measure(weight: np.ndarray) -> None:
    weights = np.linspace(0.5, 1.5, 36).astype(np.float32)
    white = Whitening(TensorStatistics(row_weights=weights))
    np.testing.assert_allclose(white.apply(to_float64(weight)), np.sqrt(weights)[:, None] * weight, rtol=1e-6)
    np.testing.assert_allclose(white.undo_left(white.apply_left(to_float64(weight))), weight, rtol=1e-6)


@pytest.mark.parametrize("rank", [0, -1, 37])
def test_impossible_rank_is_refused(rank: int, weight: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"rank=-?\d+: a matrix of 36 x 48 needs 1 to 36"):
        factorize("svd", weight, rank, TensorStatistics())


def test_wrong_arguments_are_refused(weight: np.ndarray, stats: TensorStatistics) -> None:
    with pytest.raises(ShapeError, match="take matrices"):
        factorize("svd", weight[0], 1, stats)
    with pytest.raises(ShapeError, match=r"factor has shape \[48, 48\], a weight of 36 x 47"):
        factorize("svd", weight[:, 1:].copy(), 1, stats)
    broken = weight.copy()
    broken[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="1 NaN or infinite"):
        factorize("svd", broken, 1, stats)
    with pytest.raises(UnknownNameError, match="did you mean 'whitened_svd'"):
        factorize("whitened_svg", weight, 1, stats)
