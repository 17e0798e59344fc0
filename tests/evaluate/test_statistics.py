from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.evaluate.statistics import mean_and_stderr, ratio_and_stderr

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30).map(np.array)


def test_mean_and_stderr_of_known_numbers() -> None:
    assert mean_and_stderr(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx((2.5, np.sqrt(5 / 3) / 2))


def test_one_value_has_no_spread() -> None:
    assert mean_and_stderr(np.array([3.0])) == (3.0, 0.0)
    assert ratio_and_stderr(np.array([3.0]), np.array([2.0])) == (1.5, 0.0)


@given(values, st.floats(1, 100))
def test_ratio_over_equal_counts_is_the_mean(totals: np.ndarray, count: float) -> None:
    ratio = ratio_and_stderr(totals, np.full(len(totals), count))
    assert ratio == pytest.approx(mean_and_stderr(totals / count), rel=1e-6, abs=1e-9)


def test_ratio_of_proportional_totals_is_exact() -> None:
    counts = np.array([1.0, 5.0, 9.0])
    assert ratio_and_stderr(2.5 * counts, counts) == pytest.approx((2.5, 0.0))


def test_stderr_is_the_spread_of_repeated_experiments() -> None:
    random = np.random.RandomState(0)
    counts = random.randint(1, 10, size=(2000, 40)).astype(np.float64)
    totals = counts * random.normal(3.0, 1.0, size=counts.shape)
    results = np.array([ratio_and_stderr(t, c) for t, c in zip(totals, counts, strict=True)])
    assert results[:, 1].mean() == pytest.approx(results[:, 0].std(), rel=0.1)
