from __future__ import annotations

import numpy as np
import pytest

from tersor.quant.classes import choose_classes, code_bits, expected_classes, exponent_bits, fit_scales


def rank_one(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    a, b = np.exp(random.randn(rows)), np.exp(random.randn(columns))
    return (random.randn(rows, columns) * np.outer(a, b)).astype(np.float32), a, b


def test_fitted_scales_recover_a_rank_one_model() -> None:
    weight, a, b = rank_one(1500, 300)
    fitted = np.log2(np.outer(*fit_scales(weight)))
    assert np.abs(fitted - np.log2(np.outer(a, b))).max() < 0.35


def test_classes_are_quarter_octaves_of_the_codes_rms() -> None:
    weight = np.random.RandomState(0).randn(200, 100).astype(np.float32)
    rows, columns = expected_classes(weight, np.full(200, 0.5, np.float32), np.full(100, 0.25, np.float32))
    assert np.abs(rows[:, None] + columns[None, :] - 12).max() <= 2


def test_zero_rows_and_columns_get_finite_classes() -> None:
    weight = np.zeros((4, 6), np.float32)
    weight[1, 2] = 1.0
    rows, columns = expected_classes(weight, np.ones(4, np.float32), np.ones(6, np.float32))
    assert rows.dtype == columns.dtype == np.int16
    assert max(np.abs(rows).max(), np.abs(columns).max()) <= 60


def test_large_uneven_matrix_keeps_both_classes() -> None:
    weight, _, _ = rank_one(400, 300)
    rows, columns = expected_classes(weight, np.ones(400, np.float32), np.ones(300, np.float32))
    codes = np.rint(weight).astype(np.int32)
    kept_rows, kept_columns = choose_classes(codes, rows, columns)
    assert np.array_equal(kept_rows, rows)
    assert np.array_equal(kept_columns, columns)


def test_even_matrix_gives_its_classes_up() -> None:
    codes = np.rint(4 * np.random.RandomState(1).randn(16, 16)).astype(np.int32)
    random = np.random.RandomState(2)
    rows, columns = (random.randint(-1, 2, 16) + level for level in (8, 0))
    kept_rows, kept_columns = choose_classes(codes, rows.astype(np.int16), columns.astype(np.int16))
    assert np.ptp(kept_rows) == np.ptp(kept_columns) == 0


def test_bits_of_gaussian_codes_are_near_their_entropy() -> None:
    codes = np.rint(4 * np.random.RandomState(1).randn(300, 300)).astype(np.int32)
    bits = code_bits(codes, np.full(300, 8, np.int16), np.zeros(300, np.int16)) / codes.size
    assert bits == pytest.approx(np.log2(4) + 2.047, abs=0.15)


def test_constant_exponents_are_almost_free() -> None:
    assert exponent_bits(np.full(1000, 7)) < 10
    assert exponent_bits(np.arange(1000) % 4) > 2000
