"""What every quantizer promises, and what each adds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import NonFiniteError, ShapeError, UsageError
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.classes import code_bits
from tersor.quant.factor import inverse_factor
from tersor.quant.gptq import quantize_gptq
from tersor.quant.rtn import quantize_rtn, small_step
from tersor.quant.steps import steps_of

ROWS, COLUMNS = 48, 40


def weight_of(seed: int = 0, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    return np.random.RandomState(seed).randn(rows, columns).astype(np.float32)


def inputs_of(seed: int = 1, columns: int = COLUMNS) -> np.ndarray:
    random = np.random.RandomState(seed)
    mixing = random.randn(columns, columns) / columns**0.5 + np.eye(columns)
    return ((random.randn(400, columns) * np.geomspace(0.3, 3, columns)) @ mixing).astype(np.float32)


def statistics_of(inputs: np.ndarray) -> TensorStatistics:
    return TensorStatistics(inverse_factor(inputs.T @ inputs, 0.01))


@pytest.fixture(params=QUANTIZERS.names())
def quantizer(request: pytest.FixtureRequest):
    return QUANTIZERS.get(request.param)


BY_STEP = [name for name in QUANTIZERS.names() if QUANTIZERS.get(name).info.budget == "step"]


@pytest.fixture(params=BY_STEP)
def step_quantizer(request: pytest.FixtureRequest):
    """One whose size follows QuantConfig.step."""
    return QUANTIZERS.get(request.param)


def test_threads_do_not_change_the_codes(quantizer) -> None:
    weight, stats = weight_of(rows=150), statistics_of(inputs_of())
    one = quantizer(weight, QuantConfig(0.3, threads=1), stats)
    many = quantizer(weight, QuantConfig(0.3, threads=5), stats)
    assert np.array_equal(one.codes, many.codes)


def test_weight_is_not_modified(quantizer) -> None:
    weight = weight_of()
    quantizer(weight, QuantConfig(0.3), statistics_of(inputs_of()))
    assert np.array_equal(weight, weight_of())


def test_smaller_steps_give_smaller_errors(step_quantizer) -> None:
    weight, stats = weight_of(), statistics_of(inputs_of())
    errors = [
        np.square(step_quantizer(weight, QuantConfig(step), stats).to_dense() - weight).mean()
        for step in (0.8, 0.2, 0.05, 0.0125)
    ]
    assert all(coarse > 8 * fine for coarse, fine in pairwise(errors))


def test_rows_that_matter_more_are_rounded_more_finely(step_quantizer) -> None:
    weights = np.ones(ROWS)
    weights[:8] = 16.0
    stats = replace(statistics_of(inputs_of()), row_weights=weights)
    grid = step_quantizer(weight_of(), QuantConfig(0.1, 0.0), stats)
    assert grid.row_exponents[0] == grid.row_exponents[-1] - 8
    error = np.square(grid.to_dense() - weight_of()).mean(axis=1)
    assert error[8:].mean() > 8 * error[:8].mean()


def test_zeros_stay_zero(quantizer) -> None:
    grid = quantizer(np.zeros((3, COLUMNS), np.float32), QuantConfig(0.1), statistics_of(inputs_of()))
    assert not grid.to_dense().any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": np.zeros(4, np.float32)}, ShapeError, r"matrices, got shape \(4,\)"),
        ({"weight": np.full((2, COLUMNS), np.nan, np.float32)}, NonFiniteError, "80 NaN or infinite"),
        ({"weight": np.zeros((2, 3), np.float32)}, ShapeError, r"needs \(3, 3\)"),
        ({"config": QuantConfig(0.0)}, UsageError, "step must be finite and > 0, got 0.0"),
        ({"config": QuantConfig(float("nan"))}, UsageError, "step must be finite"),
        ({"config": QuantConfig(0.1, -1.0)}, UsageError, "rate_weight must be in 0..10"),
        ({"config": QuantConfig(0.1, threads=0)}, UsageError, "threads must be >= 1"),
        (
            {"stats": TensorStatistics(np.eye(COLUMNS, dtype=np.float32), np.ones(3))},
            ShapeError,
            r"needs \(48,\)",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_named(quantizer, change, error, message) -> None:
    arguments = {
        "weight": weight_of(),
        "config": QuantConfig(0.1),
        "stats": statistics_of(inputs_of()),
    } | change
    with pytest.raises(error, match=message):
        quantizer(**arguments)


def test_step_too_small_for_the_weights_is_refused(step_quantizer) -> None:
    with pytest.raises(UsageError, match="too small for weights"):
        step_quantizer(weight_of(), QuantConfig(1e-12), statistics_of(inputs_of()))


@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_rtn_error_is_at_most_half_a_step(step: float, seed: int) -> None:
    weight = weight_of(seed, 5, 7)
    grid = quantize_rtn(weight, QuantConfig(step, 0.0), TensorStatistics())
    steps = steps_of(grid.row_exponents[:, None] + grid.column_exponents[None, :])
    assert (np.abs(grid.to_dense() - weight) <= 0.5 * steps * 1.0001 + 1e-6).all()


def test_small_tensors_keep_about_ten_bits() -> None:
    weight = weight_of(rows=1)
    grid = quantize_rtn(weight, QuantConfig(small_step(weight), 0.0), TensorStatistics())
    assert np.abs(grid.to_dense() - weight).max() < 0.0025
    assert np.abs(grid.codes).max() < 2048


def test_small_step_of_zeros_and_outliers_is_usable() -> None:
    assert small_step(np.zeros((1, 4), np.float32)) == 1.0
    spike = np.full((1, 10**6), 1e-9, np.float32)
    spike[0, 0] = 1.0
    assert small_step(spike) >= 2**-14


def test_gptq_output_error_is_far_below_rounding_at_equal_rate() -> None:
    weight, inputs = weight_of(), inputs_of()
    grid = quantize_gptq(weight, QuantConfig(0.5, 0.0), statistics_of(inputs))
    rate = bits_of(grid)
    plain = quantize_rtn(weight, QuantConfig(0.25, 0.0), TensorStatistics())
    for step in (0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8):
        finer, plain = plain, quantize_rtn(weight, QuantConfig(step, 0.0), TensorStatistics())
        if bits_of(plain) < rate:
            plain = finer  # the last that spends at least as many bits
            break
    assert bits_of(plain) >= rate
    assert output_error(grid, weight, inputs) < 0.6 * output_error(plain, weight, inputs)


def test_gptq_columns_that_the_hessian_ignores_get_wide_steps() -> None:
    inputs = inputs_of() * np.where(np.arange(COLUMNS) == 5, 0.01, 1.0).astype(np.float32)
    grid = quantize_gptq(weight_of(), QuantConfig(0.3), statistics_of(inputs))
    assert grid.column_exponents[5] == grid.column_exponents.max()


def test_rate_weight_saves_bits() -> None:
    stats = statistics_of(inputs_of())
    plain = quantize_gptq(weight_of(), QuantConfig(0.6, 0.0), stats)
    thrifty = quantize_gptq(weight_of(), QuantConfig(0.6, 0.15), stats)
    assert bits_of(thrifty) < bits_of(plain)
    assert np.count_nonzero(thrifty.codes) < np.count_nonzero(plain.codes)


def test_gptq_without_statistics_says_so() -> None:
    with pytest.raises(UsageError, match="needs input statistics"):
        quantize_gptq(weight_of(), QuantConfig(0.1), TensorStatistics())


def bits_of(grid) -> float:
    return code_bits(grid.codes, grid.row_classes, grid.column_classes)


def output_error(grid, weight: np.ndarray, inputs: np.ndarray) -> float:
    return float(np.square(inputs @ (grid.to_dense() - weight).T).mean())
