from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.evaluate.samples import (
    Counted,
    Items,
    Timed,
    column_mean,
    difference,
    interval,
    mcnemar,
    standard_error,
)


def mean_of(values: np.ndarray, seed: int = 0, **options) -> Counted:
    rows = np.column_stack([values, np.ones(len(values))])
    return Counted(Items(rows, seed), column_mean(0), **options)


@given(st.integers(2, 60), st.integers(0, 5))
def test_standard_error_of_a_mean_is_s_over_root_n(n: int, seed: int) -> None:
    values = np.random.RandomState(seed).normal(3, 2, n)
    samples = mean_of(values)
    assert samples.value == pytest.approx(values.mean())
    assert standard_error(samples) == pytest.approx(values.std(ddof=0) / math.sqrt(n), rel=0.15)
    low, high = interval(samples)
    assert low <= samples.value <= high


def test_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    random = np.random.RandomState(0)
    hits = 0
    for seed in range(200):
        low, high = interval(mean_of(random.normal(1.0, 1.0, 60), seed))
        hits += low <= 1.0 <= high
    assert 180 <= hits <= 199


def test_difference_of_equal_models_is_nothing() -> None:
    values = np.random.RandomState(0).normal(size=50)
    found = difference(mean_of(values), mean_of(values.copy()))
    assert found is not None
    assert (found.value, found.stderr, found.low, found.high, found.p_value) == (0, 0, 0, 0, 1)


def test_paired_error_is_far_less_than_that_of_each() -> None:
    random = np.random.RandomState(0)
    values = random.normal(0, 10, 100)
    samples, original = mean_of(values + random.normal(0.1, 0.1, 100)), mean_of(values)
    found = difference(samples, original)
    assert found is not None
    assert found.stderr < standard_error(original) / 20
    assert found.p_value < 0.001
    assert found.test == "approximate randomisation"
    assert found.low <= found.value <= found.high


def test_p_values_are_uniform_when_models_are_equally_good() -> None:
    random = np.random.RandomState(1)
    p_values = []
    for _ in range(150):
        left, right = random.normal(size=(2, 30))
        found = difference(mean_of(left), mean_of(right))
        assert found is not None
        p_values.append(found.p_value)
    ordered = np.sort(p_values)
    # Kolmogorov-Smirnov: more than 1.63 / sqrt(150) has probability .01.
    assert np.abs(ordered - (np.arange(150) + 0.5) / 150).max() < 0.133


def test_randomisation_of_few_items_counts_every_sign() -> None:
    """Of the 16 ways to swap four differences of one sign, 2 reach as far as none swapped."""
    found = difference(mean_of(np.array([1.0, 2, 3, 4])), mean_of(np.zeros(4)))
    assert found is not None
    assert found.p_value == pytest.approx(2 / 16, abs=0.01)


def test_one_differing_item_has_no_evidence_in_it() -> None:
    found = difference(mean_of(np.array([1.0, 0, 0])), mean_of(np.zeros(3)))
    assert found is not None
    assert found.p_value == 1


def test_accuracy_is_tested_by_mcnemar() -> None:
    right = np.repeat([1.0, 1, 0, 0], [50, 10, 2, 38])
    other = np.repeat([1.0, 0, 1, 0], [50, 10, 2, 38])
    found = difference(mean_of(right, test="mcnemar"), mean_of(other, test="mcnemar"))
    assert found is not None
    assert found.test == "exact McNemar"
    assert found.p_value == pytest.approx(2 * sum(math.comb(12, k) for k in range(3)) / 2**12)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_tail(one: int, other: int) -> None:
    n = one + other
    tail = sum(math.comb(n, k) for k in range(min(one, other) + 1)) / 2**n
    assert mcnemar(one, other) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)
    assert mcnemar(one, other) == mcnemar(other, one)


def test_mcnemar_of_very_many_items_does_not_overflow() -> None:
    assert 0 <= mcnemar(10_000, 100_000) < 1e-300


def test_distances_have_no_difference() -> None:
    values = np.ones(5)
    assert difference(mean_of(values, test="none"), mean_of(values, test="none")) is None


def test_figures_of_the_same_items_share_their_draws() -> None:
    rows = np.random.RandomState(0).normal(5, 1, (40, 3))
    items = Items(rows, 7)
    left = Counted(items, lambda sums: sums[..., 0] / sums[..., 2])
    both = Counted(items, lambda sums: (sums[..., 0] + sums[..., 1]) / sums[..., 2])
    assert np.all(both.spread > left.spread)
    assert left.spread is left.spread


def test_timings_are_quantiles_with_a_sign_test() -> None:
    fast = np.linspace(1, 2, 21)
    slow = Timed(fast + 0.5, 0.5, 0)
    found = difference(slow, Timed(fast, 0.5, 0))
    assert found is not None
    assert slow.value == pytest.approx(2.0)
    assert found.value == pytest.approx(0.5)
    assert found.stderr == pytest.approx(0, abs=1e-12)
    assert found.p_value == pytest.approx(2 / 2**21)
    assert found.test == "exact sign test"


def test_one_item_says_nothing_of_its_spread() -> None:
    assert standard_error(mean_of(np.array([3.0]))) == 0


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_ruined_model_has_figures_without_a_warning(broken: float) -> None:
    """Its perplexity is the exponential of a loss that is not finite."""
    losses = np.full(20, 1.0)
    ruined = np.where(np.arange(20) == 3, broken, losses)
    of = column_mean(0)
    samples, original = (
        Counted(Items(np.column_stack([values, np.ones(20)]), 0), lambda sums: np.exp(of(sums)))
        for values in (ruined, losses)
    )
    found = difference(samples, original)
    assert found is not None
    assert not math.isfinite(samples.value)
    assert not math.isfinite(found.value)
    assert 0 < found.p_value <= 1
    interval(samples)
    standard_error(samples)
