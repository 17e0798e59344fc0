from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tersor.calibrate.importance import head_weights, mixed, row_weights


def test_mean_is_one_and_frequent_rows_matter_more() -> None:
    counts = np.zeros(1000)
    counts[[500, 700]] = 100, 5
    weights = row_weights(counts, None, is_vocabulary=True)
    assert weights.mean() == 1.0 or abs(weights.mean() - 1) < 1e-12
    assert weights[500] > weights[700] > weights[999] > 0


def test_without_counts_zipf_decides() -> None:
    weights = row_weights(np.zeros(100), None, is_vocabulary=True)
    assert (np.diff(weights) < 0).all()


def test_unused_rows_matter_least() -> None:
    weights = row_weights(np.zeros(100), None, is_vocabulary=True, unused=[0, 3])
    assert sorted(np.argsort(weights)[:2]) == [0, 3]


def test_rows_with_larger_gradients_matter_more() -> None:
    counts, energy = np.full(10, 50.0), np.full(10, 50.0)
    energy[4] = 5000.0
    assert row_weights(counts, energy, is_vocabulary=False).argmax() == 4


def test_tokens_that_the_model_predicts_matter_more() -> None:
    predicted = np.full(100, 0.001)
    predicted[80] = 0.9
    weights = row_weights(np.zeros(100), None, is_vocabulary=True, predicted=predicted)
    assert weights.argmax() == 80
    assert abs(weights.mean() - 1) < 1e-12


def test_head_rows_follow_the_variance_of_the_predictions() -> None:
    variance, counts = np.full(50, 0.1), np.zeros(50)
    variance[7], counts[30] = 20.0, 1000.0
    weights = head_weights(variance, counts, unused=[49])
    assert list(np.argsort(weights)[::-1][:2]) == [7, 30]
    assert weights.argmin() == 49
    assert weights.min() > 0


@given(st.lists(st.integers(0, 100), min_size=2, max_size=20))
def test_mixture_of_shares_sums_to_one(values: list[int]) -> None:
    first, second = np.array(values), np.arange(1, len(values) + 1)
    found = mixed([(first, 0.3), (second, 0.7)])
    assert abs(found.sum() - 1) < 1e-9
    if not first.any():
        np.testing.assert_allclose(found, second / second.sum())


def test_text_of_a_task_says_more_than_the_prior() -> None:
    counts = np.zeros(1000)
    counts[900] = 50.0
    usual = row_weights(counts, None, is_vocabulary=True)
    task = row_weights(counts, None, is_vocabulary=True, is_task=True)
    assert task[900] > 5 * usual[900]


def test_energy_is_that_of_a_use_wherever_counts_come_from() -> None:
    energy, uses = np.full(100, 8.0), np.full(100, 2.0)
    counts = np.arange(100.0)
    expected = row_weights(counts, None, is_vocabulary=True)
    np.testing.assert_allclose(row_weights(counts, energy, uses=uses, is_vocabulary=True), expected)
