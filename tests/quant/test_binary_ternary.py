from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from matrices import inputs_of, output_error, squared_error, statistics_of, weight_of
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.sign import quantize_sign
from tersor.quant.ternary import quantize_ternary


def config(**options: Any) -> QuantConfig:
    return QuantConfig(1.0, options={"scale_dtype": "float32", **options})


def test_sign_is_the_sign_times_the_mean_magnitude_of_the_row() -> None:
    weight = weight_of()
    weight[0, 0] = 0
    expected = np.where(weight < 0, -1, 1) * np.abs(weight).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        quantize_sign(weight, config(), TensorStatistics()).to_dense(), expected, rtol=1e-6
    )


def test_sign_magnitude_is_the_one_with_the_least_weighted_error() -> None:
    weight, stats = weight_of(), statistics_of(inputs_of())
    assert stats.hessian is not None
    grid = quantize_sign(weight, config(group_size=16), stats)
    dense = grid.to_dense()
    importance = np.diagonal(stats.hessian) / np.diagonal(stats.hessian).mean() + 0.01
    errors = [(np.square(dense * factor - weight) * importance).sum() for factor in (0.99, 1.0, 1.01)]
    assert errors[1] == min(errors)


def test_ternary_optimum_beats_every_other_magnitude_of_the_row() -> None:
    weight = weight_of(5, 40)
    dense = quantize_ternary(weight, config(), TensorStatistics()).to_dense()
    for row, found in zip(weight, dense, strict=True):
        errors = []
        for magnitude in np.linspace(0.01, 2, 2000) * np.abs(row).max():
            errors.append(np.square(np.clip(np.rint(row / magnitude), -1, 1) * magnitude - row).sum())
        assert np.square(found - row).sum() <= min(errors) * 1.0001


def test_ternary_is_at_least_as_good_as_twn() -> None:
    weight, inputs = weight_of(), inputs_of()
    optimal, twn = (
        squared_error(quantize_ternary(weight, config(rule=r), TensorStatistics()).to_dense(), weight)
        for r in ("optimal", "twn")
    )
    assert optimal <= twn
    kept = [
        np.count_nonzero(quantize_ternary(weight, config(rule="twn"), s).codes) for s in (TensorStatistics(),)
    ]
    assert 0.4 < kept[0] / weight.size < 0.7
    assert output_error(
        quantize_ternary(weight, config(), statistics_of(inputs)).to_dense(), weight, inputs
    ) < output_error(quantize_ternary(weight, config(), TensorStatistics()).to_dense(), weight, inputs)


@pytest.mark.parametrize("name", ["sign", "ternary"])
def test_smaller_groups_and_feedback_give_smaller_errors(name: str) -> None:
    quantize, weight, inputs = QUANTIZERS.get(name), weight_of(48, 256), inputs_of(256)
    errors = [
        squared_error(quantize(weight, config(group_size=g), TensorStatistics()).to_dense(), weight)
        for g in (0, 64, 16)
    ]
    assert all(coarse > fine for coarse, fine in pairwise(errors))
    plain, fed = (
        output_error(
            quantize(weight, config(error_feedback=f), statistics_of(inputs)).to_dense(), weight, inputs
        )
        for f in (False, True)
    )
    assert fed < 0.8 * plain


@pytest.mark.parametrize("name", ["sign", "ternary"])
def test_codes_are_plain_integers(name: str) -> None:
    grid = QUANTIZERS.get(name)(weight_of(), config(), TensorStatistics())
    assert grid.codebook is None
    assert set(np.unique(grid.codes)) == ({-1, 1} if name == "sign" else {-1, 0, 1})
