"""codebook, nf4 and fp4."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrices import inputs_of, output_error, squared_error, statistics_of, weight_of
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.codebook import quantize_codebook
from tersor.quant.fp4 import FP4_LEVELS, quantize_fp4
from tersor.quant.nf4 import NF4_LEVELS, quantize_nf4

NONE = TensorStatistics()


def config(**options: Any) -> QuantConfig:
    return QuantConfig(1.0, options=options)


@given(st.integers(2, 256), st.integers(0, 99))
def test_codebook_has_at_most_so_many_levels_and_takes_the_nearest(n_levels: int, seed: int) -> None:
    weight = weight_of(9, 30, seed)
    grid = quantize_codebook(weight, config(levels=n_levels), NONE)
    assert grid.codebook is not None
    assert 2 <= len(grid.codebook) <= n_levels
    assert (np.diff(grid.codebook) > 0).all()
    best = np.abs(weight[:, :, None] - grid.codebook).min(axis=2)
    np.testing.assert_allclose(np.abs(grid.to_dense() - weight), best, rtol=1e-4, atol=1e-8)


def test_codebook_levels_are_the_means_of_their_cells() -> None:
    weight = weight_of(200, 100)
    grid = quantize_codebook(weight, config(levels=8), NONE)
    assert grid.codebook is not None
    means = [weight[grid.codes == code].mean() for code in range(8)]
    np.testing.assert_allclose(grid.codebook, means, atol=2e-4 * np.abs(weight).max())


def test_codebook_error_is_near_the_optimum_of_a_normal_distribution() -> None:
    weight = np.random.RandomState(0).randn(400, 300).astype(np.float32)
    error = squared_error(quantize_codebook(weight, config(levels=16), NONE).to_dense(), weight) / weight.size
    assert error < 0.009497 * 1.02  # Max 1960


def test_codebook_of_few_distinct_weights_is_exact() -> None:
    values = np.array([-1.5, 0.0, 0.25, 2.0], np.float32)
    weight = values[np.random.RandomState(0).randint(0, 4, (20, 30))]
    np.testing.assert_allclose(quantize_codebook(weight, config(), NONE).to_dense(), weight, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.5, -1e-20])
def test_codebook_of_equal_weights_is_exact(value: float) -> None:
    weight = np.full((4, 5), value, np.float32)
    np.testing.assert_allclose(quantize_codebook(weight, config(), NONE).to_dense(), weight, rtol=1e-5)


def test_codebook_serves_what_the_statistics_say_matters() -> None:
    weight, inputs = weight_of(100, 64), inputs_of()
    weighted, plain = (
        output_error(quantize_codebook(weight, config(levels=4), s).to_dense(), weight, inputs)
        for s in (statistics_of(inputs), NONE)
    )
    assert weighted < plain
    weight[:50] *= 5
    importance = np.where(np.arange(100) < 50, 1e-3, 2.0)
    by_row = quantize_codebook(weight, config(levels=4), replace(NONE, row_weights=importance)).to_dense()
    even = quantize_codebook(weight, config(levels=4), NONE).to_dense()
    assert squared_error(by_row[50:], weight[50:]) < 0.5 * squared_error(even[50:], weight[50:])


def test_more_levels_give_smaller_errors() -> None:
    weight = weight_of(100, 64)
    errors = [
        squared_error(quantize_codebook(weight, config(levels=n), NONE).to_dense(), weight)
        for n in (2, 3, 4, 8, 16, 64, 256)
    ]
    assert all(few > 1.3 * many for few, many in pairwise(errors))


def test_nf4_levels_are_the_published_ones() -> None:
    levels = NF4_LEVELS.values
    assert len(levels) == 16
    assert (levels[0], levels[7], levels[15]) == (-1, 0, 1)
    normal = np.array([-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0])
    np.testing.assert_allclose(levels[:8], normal, atol=1e-4)


def test_fp4_levels_are_those_of_float4_e2m1() -> None:
    patterns = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    assert np.array_equal(np.unique(patterns), FP4_LEVELS.values)


@pytest.mark.parametrize("name", ["nf4", "fp4"])
def test_largest_weight_of_a_group_is_kept(name: str) -> None:
    weight = weight_of(8, 128)
    dense = QUANTIZERS.get(name)(weight, config(scale_dtype="float32"), NONE).to_dense()
    groups, kept = (np.abs(m).reshape(8, 2, 64) for m in (weight, dense))
    np.testing.assert_allclose(kept.max(axis=2), groups.max(axis=2), rtol=1e-6)


@pytest.mark.parametrize("name", ["nf4", "fp4"])
def test_search_and_feedback_lower_the_error(name: str) -> None:
    quantize, weight, inputs = QUANTIZERS.get(name), weight_of(48, 256), inputs_of(256)
    plain, searched = (
        squared_error(quantize(weight, config(scale=s), NONE).to_dense(), weight) for s in ("absmax", "mse")
    )
    assert searched < plain
    alone, fed = (
        output_error(
            quantize(weight, config(error_feedback=f), statistics_of(inputs)).to_dense(), weight, inputs
        )
        for f in (False, True)
    )
    assert fed < 0.7 * alone


def test_mxfp4_scales_are_powers_of_two_and_clip_at_six() -> None:
    weight = weight_of(16, 64)
    grid = quantize_fp4(weight, config(scale="power_of_two", group_size=32), NONE)
    assert grid.group_scales is not None
    mantissas, _ = np.frexp(grid.group_scales.astype(np.float64))
    assert set(mantissas.ravel()) == {0.5}
    ratios = np.abs(weight).reshape(16, 2, 32).max(axis=2) / grid.group_scales.astype(np.float64)
    assert ratios.min() >= 4
    assert ratios.max() < 8


def test_mx_scales_are_not_offered_for_nf4() -> None:
    assert "power_of_two" not in quantize_nf4.info.options["scale"].help
    assert quantize_nf4.info.options["scale"].check("power_of_two")
