from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrices import squared_error, weight_of
from tersor.errors import ShapeError
from tersor.quant.alphabet import Alphabet, Integers
from tersor.quant.feedback import round_to_alphabet
from tersor.quant.fixed_rate import columns_per_scale
from tersor.quant.group_scales import (
    GroupScales,
    absmax_scales,
    power_of_two_scales,
    range_scales,
    search_scales,
)


def rounded(weight: np.ndarray, alphabet: Alphabet, groups: GroupScales) -> np.ndarray:
    scales, zeros = groups.spread(slice(None))
    return (alphabet.levels(round_to_alphabet(weight, alphabet, groups)) - zeros) * scales


@given(st.integers(2, 8), st.sampled_from([8, 16, 32]), st.integers(0, 1000))
def test_absmax_error_is_at_most_half_a_step(bits: int, size: int, seed: int) -> None:
    weight, alphabet = weight_of(6, 32, seed), Integers(1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)
    groups = absmax_scales(weight, size, alphabet)
    scales, _ = groups.spread(slice(None))
    assert (np.abs(rounded(weight, alphabet, groups) - weight) <= 0.5001 * scales).all()


@given(st.integers(2, 8), st.integers(0, 1000))
def test_range_error_is_at_most_one_step_and_zero_is_exact(bits: int, seed: int) -> None:
    alphabet = Integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    weight = weight_of(6, 32, seed) + 0.03  # mostly positive
    weight[:, ::5] = 0
    groups = range_scales(weight, 16, alphabet.low, alphabet.high)
    scales, _ = groups.spread(slice(None))
    dense = rounded(weight, alphabet, groups)
    assert (np.abs(dense - weight) <= 1.0001 * scales).all()
    assert not dense[:, ::5].any()


def test_ranges_of_one_sign_use_all_codes() -> None:
    weight = np.linspace(0.1, 1.6, 32, dtype=np.float32)[None, :]
    groups = range_scales(weight, 32, -8, 7)
    assert groups.zero_points[0, 0] == -8
    assert len(np.unique(round_to_alphabet(weight, Integers(-8, 7), groups))) >= 15


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_search_never_makes_a_group_worse(bits: int) -> None:
    weight, alphabet = weight_of(20, 64), Integers(1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)
    start = absmax_scales(weight, 16, alphabet)
    found = search_scales(weight, start, alphabet, np.ones(64, np.float32))
    before, after = (
        np.square(rounded(weight, alphabet, g) - weight).reshape(20, 4, 16).sum(2) for g in (start, found)
    )
    assert (after <= before * 1.0001).all()
    assert bits == 8 or after.sum() < 0.95 * before.sum()


def test_search_finds_the_best_step_of_a_dense_scan() -> None:
    weight, alphabet = weight_of(1, 512), Integers(-3, 3)
    start = absmax_scales(weight, 512, alphabet)
    found = search_scales(weight, start, alphabet, np.ones(512, np.float32))
    errors = [
        squared_error(
            rounded(weight, alphabet, GroupScales(512, start.scales * r, start.zero_points)), weight
        )
        for r in np.linspace(0.1, 1.2, 400).astype(np.float32)
    ]
    assert squared_error(rounded(weight, alphabet, found), weight) <= 1.01 * min(errors)


def test_search_spends_error_where_columns_do_not_matter() -> None:
    weight, alphabet = weight_of(8, 32), Integers(-1, 1)
    weight[:, 16:] *= 8
    importance = np.repeat(np.array([1.0, 1e-6], np.float32), 16)
    start = absmax_scales(weight, 32, alphabet)
    found = search_scales(weight, start, alphabet, importance)
    assert (found.scales < 0.5 * start.scales).all()


def test_groups_of_zeros_have_scale_zero_and_stay_zero() -> None:
    weight = weight_of(4, 32)
    weight[:, :16] = 0
    groups = search_scales(
        weight, absmax_scales(weight, 16, Integers(-7, 7)), Integers(-7, 7), np.ones(32, np.float32)
    )
    assert not groups.scales[:, 0].any()
    assert not rounded(weight, Integers(-7, 7), groups)[:, :16].any()


def test_powers_of_two_follow_the_mx_rule() -> None:
    weight = np.array([[1.0, 0.5], [7.9, 0.1], [0.0, 0.0]], np.float32)
    groups = power_of_two_scales(absmax_scales(weight, 2, Integers(-6, 6)), Integers(-6, 6))
    assert groups.scales[:, 0].tolist() == [0.25, 1.0, 0.0]


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8), ("float32", 24)])
def test_stored_scales_are_rounded_to_the_type(dtype: str, bits: int) -> None:
    groups = absmax_scales(weight_of(), 16, Integers(-7, 7))
    stored = groups.stored(dtype)
    assert stored.octaves == 0
    assert stored.scales.dtype == np.dtype(
        {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}[dtype]
    )
    np.testing.assert_allclose(stored.scales.astype(np.float32), groups.scales, rtol=2.0**-bits)


@pytest.mark.parametrize("factor", [1e-12, 1e-7, 1e8, 1e20])
def test_float16_scales_out_of_range_are_moved_by_octaves(factor: float) -> None:
    groups = absmax_scales((weight_of() * factor).astype(np.float32), 16, Integers(-7, 7))
    stored = groups.stored("float16")
    assert stored.octaves != 0
    back = np.ldexp(stored.scales.astype(np.float32), stored.octaves)
    np.testing.assert_allclose(back, groups.scales, rtol=2.0**-11)


def test_group_size_that_does_not_divide_names_sizes_that_do() -> None:
    with pytest.raises(
        ShapeError, match=r"columns=172 is not a multiple of group_size=64; use group_size 43 or 86"
    ):
        columns_per_scale(172, 64)
    with pytest.raises(ShapeError, match=r"use group_size 8 or 16"):
        columns_per_scale(16, 12)
    with pytest.raises(ShapeError, match=r"use group_size 40 or 40"):
        columns_per_scale(40, 128)


@pytest.mark.parametrize(
    ("columns", "size"), [(384, 128), (172, 86), (40, 40), (97, 97), (131, 131), (262, 262)]
)
def test_usual_group_size_is_the_largest_that_fits_or_a_row(columns: int, size: int) -> None:
    assert columns_per_scale(columns, None, 128) == size
