from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tersor.evaluate.ranks import similarity_spearman, spearman


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_spearman_shares_ranks_of_ties_as_scipy_does(pairs) -> None:
    left, right = np.array(pairs, dtype=np.float64).T
    found = spearman(left, right)
    if len(set(left)) > 1 and len(set(right)) > 1:
        assert found == pytest.approx(spearmanr(left, right).statistic, abs=1e-12)
    else:
        assert found == 1.0


def test_similarities_of_the_same_vectors_keep_their_order() -> None:
    vectors = np.random.RandomState(0).normal(size=(30, 8))
    assert similarity_spearman(vectors, vectors) == (1.0, 0.0)
    assert similarity_spearman(vectors, 3 * vectors)[0] == pytest.approx(1)


def test_standard_error_is_the_spread_of_repeated_experiments() -> None:
    random = np.random.RandomState(0)
    results = []
    for _ in range(60):
        vectors = random.normal(size=(60, 8))
        results.append(similarity_spearman(vectors, vectors + 0.3 * random.normal(size=vectors.shape)))
    values, stderrs = np.array(results).T
    assert stderrs.mean() == pytest.approx(values.std(), rel=0.4)


def test_few_vectors_have_no_standard_error() -> None:
    assert similarity_spearman(np.eye(2), np.eye(2)) == (1.0, 0.0)
