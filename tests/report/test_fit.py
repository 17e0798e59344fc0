"""The generalised normal distribution that is fitted to codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.report.fit import Fit, fit_codes


@pytest.mark.parametrize(("scale", "shape"), [(3.0, 2.0), (8.0, 1.0), (20.0, 1.5), (2.0, 0.8)])
def test_fit_finds_the_distribution_that_made_the_codes(scale: float, shape: float) -> None:
    codes = np.arange(-400, 401)
    true = Fit(0.0, scale, shape, 0.0).probabilities(codes.astype(float))
    found = fit_codes(1e7 * true, -400)
    assert found.scale == pytest.approx(scale, rel=0.01)
    assert found.shape == pytest.approx(shape, rel=0.01)
    assert found.bits == pytest.approx(
        -(true * np.log2(true, where=true > 0, out=np.zeros(801))).sum(), rel=1e-4
    )
    assert found.probabilities(codes.astype(float)).sum() == pytest.approx(1)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.integers(-60, 60))
def test_bits_are_never_less_than_the_entropy(counts: list[int], first: int) -> None:
    found = fit_codes(np.array(counts, np.float64), first)
    shares = np.array([count / sum(counts) for count in counts if count])
    assert np.isfinite([found.scale, found.shape, found.bits]).all()
    assert found.bits >= -(shares * np.log2(shares)).sum() - 1e-9


def test_one_code_alone_costs_nothing() -> None:
    assert fit_codes(np.array([5.0]), 0).bits == pytest.approx(0, abs=1e-6)
