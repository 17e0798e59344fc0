from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrices import inputs_of, output_error, squared_error, statistics_of, weight_of
from tersor.errors import ShapeError, UsageError
from tersor.layouts.grid import Grid
from tersor.quant import QuantConfig, TensorStatistics
from tersor.quant.fixed import quantize_fixed


def fixed(weight: np.ndarray, stats: TensorStatistics | None = None, **options: Any) -> Grid:
    return quantize_fixed(weight, QuantConfig(1.0, options=options), stats or TensorStatistics())


def formula(weight: np.ndarray, delta: float, largest: int) -> np.ndarray:
    """The textbook's words."""
    delta32 = np.float32(delta)
    return np.clip(np.round(weight / delta32), -largest, largest).astype(np.float32) * delta32


@given(
    st.integers(2, 8),
    st.one_of(st.integers(-12, 2).map(lambda e: 2.0**e), st.floats(1e-3, 1.0)),
    st.integers(0, 999),
)
def test_given_delta_is_the_textbook_formula_exactly(bits: int, delta: float, seed: int) -> None:
    weight = weight_of(7, 20, seed)
    grid = fixed(weight, bits=bits, delta=delta)
    assert np.array_equal(grid.to_dense(), formula(weight, delta, 2 ** (bits - 1) - 1))
    assert not grid.group_size


@pytest.mark.parametrize("exponent", [-8, -3, 0, 5])
def test_power_of_two_is_stored_as_an_exponent_beside_plain_codes(exponent: int) -> None:
    weight = weight_of() * 2.0 ** (exponent + 6)
    grid = fixed(weight.astype(np.float32), bits=5, delta=f"2^{exponent}")
    assert grid.codebook is None
    assert set(grid.row_exponents) == {4 * exponent}
    assert np.array_equal(grid.to_dense(), formula(weight.astype(np.float32), 2.0**exponent, 15))


def test_other_deltas_are_stored_as_a_codebook_of_multiples() -> None:
    grid = fixed(weight_of(), bits=4, delta=0.013)
    assert grid.codebook is not None
    assert np.array_equal(grid.codebook, np.arange(-7, 8, dtype=np.float32) * np.float32(0.013))


def test_max_code_replaces_that_of_the_bits() -> None:
    weight = weight_of()
    assert np.abs(fixed(weight, max_code=5, granularity="row").codes).max() == 5
    assert np.array_equal(fixed(weight, max_code=2, delta=0.03).to_dense(), formula(weight, 0.03, 2))


@pytest.mark.parametrize("granularity", ["group", "row", "tensor"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_decoded_weights_are_integers_times_the_stored_step(granularity: str, symmetric: bool) -> None:
    weight = weight_of() + (0.0 if symmetric else 0.02)
    grid = fixed(
        weight.astype(np.float32), granularity=granularity, symmetric=symmetric, group_size=16, bits=3
    )
    dense = grid.to_dense()
    if grid.codebook is None:
        assert grid.group_scales is not None
        assert grid.zero_points is not None
        levels = grid.codes - np.repeat(grid.zero_points, grid.group_size, axis=1)
        steps = np.repeat(grid.group_scales.astype(np.float32), grid.group_size, axis=1)
        assert np.array_equal(dense, levels.astype(np.float32) * steps)
        assert grid.group_size == (16 if granularity == "group" else 64)
    else:
        assert granularity == "tensor"
        assert len(np.unique(dense)) <= 8
        assert np.allclose(np.diff(grid.codebook), np.diff(grid.codebook)[0], rtol=1e-4)


def test_finer_granularity_and_more_bits_give_smaller_errors() -> None:
    weight = weight_of(96, 256)
    weight *= np.exp(np.random.RandomState(5).randn(96, 1)).astype(np.float32)
    by_granularity = [
        squared_error(fixed(weight, granularity=g, group_size=32).to_dense(), weight)
        for g in ("tensor", "row", "group")
    ]
    by_bits = [squared_error(fixed(weight, bits=b).to_dense(), weight) for b in range(2, 9)]
    assert by_granularity == sorted(by_granularity, reverse=True)
    assert all(more > 2.5 * less for more, less in pairwise(by_bits))


@pytest.mark.parametrize("granularity", ["group", "row", "tensor"])
def test_search_beats_the_largest_weight(granularity: str) -> None:
    weight = weight_of(200, 256)
    searched, plain = (
        squared_error(fixed(weight, bits=3, scale=s, granularity=granularity).to_dense(), weight)
        for s in ("mse", "absmax")
    )
    assert searched < 0.9 * plain


def test_absmax_never_clips() -> None:
    weight = weight_of()
    grid = fixed(weight, bits=4, scale="absmax", group_size=16, scale_dtype="float32")
    assert grid.group_scales is not None
    steps = np.repeat(grid.group_scales, 16, axis=1)
    assert (np.abs(grid.to_dense() - weight) <= 0.5001 * steps).all()


def test_hessian_lowers_the_output_error() -> None:
    weight, inputs = weight_of(), inputs_of()
    errors = [
        output_error(fixed(weight, stats, bits=2, granularity="row").to_dense(), weight, inputs)
        for stats in (TensorStatistics(), statistics_of(inputs))
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("granularity", ["group", "row", "tensor"])
def test_error_feedback_lowers_the_output_error(granularity: str) -> None:
    weight, inputs = weight_of(), inputs_of()
    errors = [
        output_error(
            fixed(weight, statistics_of(inputs), granularity=granularity, error_feedback=f).to_dense(),
            weight,
            inputs,
        )
        for f in (False, True)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_feedback_with_a_given_delta_keeps_the_alphabet() -> None:
    grid = fixed(weight_of(), statistics_of(inputs_of()), bits=3, delta="2^-6", error_feedback=True)
    assert set(np.unique(grid.to_dense() * 64)) <= set(range(-3, 4))


def test_short_rows_share_one_step() -> None:
    assert fixed(weight_of(100, 3)).codebook is not None
    assert fixed(weight_of(100, 3), group_size=0).group_size == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bit": 4}, "method 'fixed' has no option 'bit'; did you mean 'bits'"),
        ({"bits": 1}, "option bits=1 needs an integer 2..8"),
        ({"bits": True}, "option bits=True needs an integer"),
        ({"delta": "2**-8"}, r'a power of two such as "2\^-8"'),
        ({"delta": "2^-900"}, "a number 1e-30..1e30"),
        ({"delta": 0}, "a number 1e-30..1e30"),
        ({"delta": float("nan")}, "a number 1e-30..1e30"),
        ({"max_code": 0}, "an integer 1..127"),
        ({"group_size": -1}, "an integer 0..65536"),
        ({"scale_dtype": "float8"}, "one of 'float16', 'bfloat16', 'float32'"),
        ({"delta": 0.1, "symmetric": False}, "delta needs symmetric=true"),
        ({"max_code": 5, "symmetric": False}, "max_code needs symmetric=true"),
    ],
)
def test_options_that_cannot_work_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fixed(weight_of(), **options)


def test_group_size_that_does_not_fit_is_named() -> None:
    with pytest.raises(
        ShapeError, match="columns=64 is not a multiple of group_size=48; use group_size 32 or 64"
    ):
        fixed(weight_of(), group_size=48)


@pytest.mark.parametrize("scale_dtype", ["float16", "bfloat16", "float32"])
def test_huge_and_tiny_weights_survive_every_scale_type(scale_dtype: str) -> None:
    for factor in (1e-20, 1e20):
        weight = (weight_of() * factor).astype(np.float32)
        dense = fixed(weight, bits=8, scale_dtype=scale_dtype).to_dense()
        assert np.abs(dense / factor - weight / factor).max() < 2e-3


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_feedback_with_one_step_survives_outliers(bits: int) -> None:
    inputs = inputs_of()
    weight = (np.random.RandomState(3).standard_t(2.5, (200, 64)) * 0.05).astype(np.float32)
    options = {"bits": bits, "granularity": "tensor"}
    plain, fed = (
        output_error(
            fixed(weight, statistics_of(inputs), **options, error_feedback=f).to_dense(), weight, inputs
        )
        for f in (False, True)
    )
    assert fed < plain
