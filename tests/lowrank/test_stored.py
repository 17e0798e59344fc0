"""Pivots, and parts as grids or floats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import UsageError
from tersor.layouts.base import Dense, Sparse
from tersor.layouts.grid import Grid
from tersor.lowrank import cast_low_rank, factorize, quantize_low_rank
from tersor.lowrank.pivots import pivoted
from tersor.lowrank.refit import refit_left
from tersor.lowrank.statistics import left_statistics, right_statistics
from tersor.lowrank.whitening import Whitening, to_float64
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics


def measure(missed: np.ndarray, stats: TensorStatistics) -> float:
    return float(Whitening(stats).apply(to_float64(missed)).square().sum())


def rounding(method: str, step: float):
    """A `quantize` that rounds each part with the step of the whole matrix; notes which parts it saw."""
    seen: list[str] = []

    def quantize(matrix: np.ndarray, stats: TensorStatistics, part: str) -> Grid:
        seen.append(part)
        return QUANTIZERS.get(method)(matrix, QuantConfig(step), stats)

    quantize.seen = seen
    return quantize


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 9), data=st.data())
def test_pivots_give_the_same_product(rows: int, columns: int, seed: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(rows, columns)))
    random = np.random.default_rng(seed)
    left, right = (random.standard_normal(s).astype(np.float32) for s in ((rows, rank), (rank, columns)))
    if rank > 1 and seed % 2:
        left[:, 1] = left[:, 0]  # of lower rank than it could be
    parts = pivoted(left, right)
    found = np.empty((rows, columns), np.float32)
    found[parts.rows], found[parts.others] = parts.right, parts.left @ parts.right
    np.testing.assert_allclose(found, left @ right, atol=2e-4)
    assert parts.left.size + parts.right.size == rank * (rows + columns - rank)


def test_floats_lose_what_the_rank_loses_and_little_more(weight: np.ndarray, stats: TensorStatistics) -> None:
    left, right = factorize("two_sided_svd", weight, 12, stats)
    least = measure(weight - left @ right, stats)
    for dtype, limit in (("F32", 1.0001), ("F16", 1.001), ("BF16", 1.02)):
        stored = cast_low_rank(
            weight, method="two_sided_svd", rank=12, residual=False, stats=stats, dtype=dtype
        )
        assert stored.shape == (36, 48)
        assert stored.rank == 12
        assert measure(weight - stored.to_dense(), stats) <= limit * least


def test_residual_gives_the_weight_back_and_keeps_the_zeros_of_a_mask(weight: np.ndarray) -> None:
    options = {"method": "svd", "rank": 4, "residual": True, "stats": TensorStatistics(), "dtype": "F32"}
    np.testing.assert_allclose(cast_low_rank(weight, **options).to_dense(), weight, atol=1e-6)
    mask = np.random.default_rng(0).random(weight.shape) < 0.2
    pruned = cast_low_rank(weight, mask=mask, **options)
    assert isinstance(pruned.residual, Sparse)
    assert np.array_equal(pruned.residual.array != 0, mask)
    product = cast_low_rank(weight, **{**options, "residual": False}).to_dense()
    np.testing.assert_allclose(pruned.to_dense(), np.where(mask, weight, product), atol=1e-6)


def test_unknown_dtype_of_parts_is_refused(weight: np.ndarray) -> None:
    with pytest.raises(UsageError, match="dtype 'F8': needs one of F32, F16, BF16"):
        cast_low_rank(weight, method="svd", rank=1, residual=False, stats=TensorStatistics(), dtype="F8")


@pytest.mark.parametrize("method", ["two_sided", "gptq", "rtn", "fixed"])
@pytest.mark.parametrize("residual", [False, True])
def test_parts_are_quantized_at_the_step_of_the_matrix(
    method: str, residual: bool, weight: np.ndarray, stats: TensorStatistics
) -> None:
    quantize = rounding(method, 0.01)
    stored = quantize_low_rank(
        weight, method="two_sided_svd", rank=12, residual=residual, stats=stats, quantize=quantize
    )
    assert quantize.seen == ["right", "left"] + ["residual"] * residual
    assert all(isinstance(part, Grid) for part in stored.parts().values())
    whole = QUANTIZERS.get(method)(weight, QuantConfig(0.01), stats).to_dense()
    least = (
        0.0
        if residual
        else measure(weight - np.matmul(*factorize("two_sided_svd", weight, 12, stats)), stats)
    )
    # The noise of both parts together is about that of rounding the matrix itself.
    assert measure(weight - stored.to_dense(), stats) - least <= 4 * measure(weight - whole, stats)


def test_a_finer_step_loses_less(weight: np.ndarray, stats: TensorStatistics) -> None:
    errors = [
        measure(
            weight
            - quantize_low_rank(
                weight,
                method="svd",
                rank=30,
                residual=False,
                stats=stats,
                quantize=rounding("two_sided", step),
            ).to_dense(),
            stats,
        )
        for step in (0.04, 0.02, 0.01)
    ]
    assert errors == sorted(errors, reverse=True)


def test_left_factor_is_the_best_for_the_pivots_as_stored(
    weight: np.ndarray, stats: TensorStatistics
) -> None:
    parts = pivoted(*factorize("two_sided_svd", weight, 10, stats))
    rounded = np.round(parts.right * 50) / np.float32(50)

    def error(left: np.ndarray) -> float:
        product = np.empty_like(weight)
        product[parts.rows], product[parts.others] = rounded, left @ rounded
        return measure(weight - product, stats)

    fitted = refit_left(weight, parts, rounded, stats)
    assert error(fitted) < error(parts.left)
    random = np.random.default_rng(0)
    for _ in range(10):
        assert error(fitted) < error(fitted + 0.01 * random.standard_normal(fitted.shape))


def test_statistics_of_the_parts_measure_their_errors_as_the_whole_does(
    weight: np.ndarray, stats: TensorStatistics
) -> None:
    parts = pivoted(*factorize("two_sided_svd", weight, 8, stats))
    random = np.random.default_rng(1)

    def moved(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        found = np.empty((36, 48))
        found[parts.rows], found[parts.others] = right, left @ right
        return found

    base = moved(parts.left, parts.right)
    for name, known in (
        ("right", right_statistics(parts, stats)),
        ("left", left_statistics(parts, parts.right, stats)),
    ):
        own = getattr(parts, name)
        change = 1e-3 * random.standard_normal(own.shape)
        changed = {"left": parts.left, "right": parts.right, name: own + change}
        in_whole = measure(moved(**changed) - base, stats)
        in_part = measure(change, known.stats) * 2.0 ** (known.scale / 2)
        assert in_part == pytest.approx(in_whole, rel=0.2)  # the scale is rounded to a quarter octave


def test_dense_parts_are_stored_in_the_type_asked_for(weight: np.ndarray) -> None:
    stored = cast_low_rank(
        weight, method="svd", rank=2, residual=False, stats=TensorStatistics(), dtype="BF16"
    )
    assert isinstance(stored.left, Dense)
    assert {spec.dtype for spec in stored.part_specs("w").values()} == {"BF16"}
    assert sorted(spec.name for spec in stored.part_specs("w").values()) == [
        "w.tersor.left",
        "w.tersor.right",
    ]
