from __future__ import annotations

import numpy as np

from tersor.calibrate.importance import row_weights


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
