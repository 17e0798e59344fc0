"""awq and smoothquant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from matrices import inputs_of, output_error, statistics_of, weight_of
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.awq import quantize_awq
from tersor.quant.column_scaling import ScaledColumns, exponents_of_scales
from tersor.quant.fixed import quantize_fixed
from tersor.quant.smoothquant import quantize_smoothquant
from tersor.quant.steps import steps_of

NONE = TensorStatistics()


def config(**options: Any) -> QuantConfig:
    return QuantConfig(1.0, options=options)


def outlier_inputs(columns: int = 128) -> np.ndarray:
    """Independent inputs, a few of them thirty times as large as the rest."""
    scales = np.where(np.arange(columns) % 17 == 3, 30.0, 1.0)
    return (np.random.RandomState(4).randn(600, columns) * scales).astype(np.float32)


def test_exponents_undo_the_scales_to_the_quarter_octave() -> None:
    scales = np.array([0.5, 1.0, 8.0, 3.0])
    steps = steps_of(exponents_of_scales(scales)).astype(np.float64)
    product = steps * scales
    assert np.abs(np.log2(product / product[1])).max() <= 0.2501
    assert abs(np.log2(steps).mean()) <= 0.126


def test_scaled_problem_is_the_same_problem() -> None:
    exponents = np.random.RandomState(0).randint(-8, 9, 64).astype(np.int16)
    scaling, weight, inputs = ScaledColumns(exponents), weight_of(), inputs_of()
    np.testing.assert_allclose(scaling.restore(scaling.weight(weight)), weight, rtol=1e-6)
    factor = statistics_of(inputs).factor
    scaled = scaling.factor(factor)
    assert factor is not None
    assert scaled is not None
    assert np.array_equal(scaled, np.triu(scaled))
    np.testing.assert_allclose(scaled * steps_of(exponents), factor, rtol=1e-6)
    assert scaling.factor(None) is None


@pytest.mark.parametrize("symmetric", [False, True])
def test_awq_protects_columns_with_large_inputs(symmetric: bool) -> None:
    weight, inputs = weight_of(64, 128), outlier_inputs()
    stats = statistics_of(inputs)
    options = {"bits": 3, "symmetric": symmetric, "clip": False}
    scaled, plain = (
        output_error(quantize_awq(weight, config(**options), s).to_dense(), weight, inputs)
        for s in (stats, NONE)
    )
    assert scaled < 0.6 * plain
    grid = quantize_awq(weight, config(**options), stats)
    large = np.arange(128) % 17 == 3
    assert grid.column_exponents[large].max() < grid.column_exponents[~large].min()


def test_awq_without_statistics_is_plain_group_rounding() -> None:
    weight = weight_of(32, 128)
    awq = quantize_awq(weight, config(clip=False), NONE)
    fixed = quantize_fixed(weight, config(symmetric=False, scale="absmax"), NONE)
    assert np.array_equal(awq.to_dense(), fixed.to_dense())
    assert not awq.column_exponents.any()


def test_awq_parts_each_lower_the_output_error() -> None:
    weight, inputs = weight_of(64, 128), inputs_of(128)
    stats = statistics_of(inputs)
    errors = [
        output_error(quantize_awq(weight, config(bits=3, **options), s).to_dense(), weight, inputs)
        for options, s in (
            ({"clip": False}, NONE),
            ({"clip": False}, stats),
            ({"clip": True}, stats),
            ({"clip": True, "error_feedback": True}, stats),
        )
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_awq_works_from_input_magnitudes_or_a_hessian_alone() -> None:
    weight, inputs = weight_of(64, 128), outlier_inputs()
    whole = statistics_of(inputs)
    for part in (
        TensorStatistics(input_scales=whole.input_scales),
        TensorStatistics(hessian=whole.hessian),
    ):
        assert quantize_awq(weight, config(), part).column_exponents.any()


def test_smoothquant_scales_balance_inputs_and_weights() -> None:
    weight, inputs = weight_of(64, 128), outlier_inputs()
    grid = quantize_smoothquant(weight, config(), statistics_of(inputs))
    steps = steps_of(grid.column_exponents)
    eased = np.abs(inputs * steps).mean(axis=0)
    assert (
        eased.max() / eased.min()
        < 0.35 * np.ptp(np.abs(inputs).mean(axis=0)) / np.abs(inputs).mean(axis=0).min()
    )
    assert grid.group_size == 128
    assert np.abs(grid.codes).max() == 127


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_smoothquant_alpha_ends(alpha: float) -> None:
    weight, inputs = weight_of(64, 128), outlier_inputs()
    grid = quantize_smoothquant(weight, config(alpha=alpha), statistics_of(inputs))
    source = np.abs(inputs).mean(axis=0) if alpha else 1 / np.abs(weight).max(axis=0)
    spread = np.log2(source.astype(np.float64)) + grid.column_exponents / 4
    assert np.ptp(spread) <= 0.2501


@pytest.mark.parametrize("name", ["awq", "smoothquant"])
def test_dead_inputs_and_dead_columns_are_harmless(name: str) -> None:
    weight, inputs = weight_of(16, 128), inputs_of(128)
    inputs[:, :5] = 0
    weight[:, 3:9] = 0
    dense = QUANTIZERS.get(name)(weight, config(), statistics_of(inputs)).to_dense()
    assert not dense[:, 3:9].any()
    assert output_error(dense, weight, inputs) < 0.05
    zeros = TensorStatistics(hessian=np.zeros((128, 128), np.float32), input_scales=np.zeros(128, np.float32))
    assert not QUANTIZERS.get(name)(weight, config(), zeros).column_exponents.any()
