from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.layouts.grid import Grid
from tersor.quant.steps import dithered_quarter_octaves, quarter_octaves, steps_of


def test_steps_are_those_that_the_grid_decodes_with() -> None:
    exponents = np.arange(-240, 241, dtype=np.int16)
    ones, zero = np.ones((len(exponents), 1), np.int32), np.zeros(1, np.int16)
    grid = Grid(ones, exponents, zero, exponents, zero)
    assert np.array_equal(steps_of(exponents), grid.to_dense()[:, 0])


@given(st.floats(1e-15, 1e15))
def test_rounded_step_is_within_an_eighth_of_an_octave(value: float) -> None:
    step = float(steps_of(quarter_octaves(np.array([value])))[0])
    assert abs(np.log2(step / value)) <= 0.1251


def test_extreme_values_stay_inside_the_limit() -> None:
    assert quarter_octaves(np.array([1e-300, 1e300])).tolist() == [-240, 240]


@pytest.mark.parametrize("value", [0.001, 0.37, 1.0, 55.0])
def test_dithered_exponents_have_the_exact_mean(value: float) -> None:
    exponents = dithered_quarter_octaves(value, 1000)
    assert exponents.mean() == pytest.approx(4 * np.log2(value), abs=0.01)
    assert np.ptp(exponents) <= 1
