"""Which places go: exact shares of rows and matrices, n:m patterns, one threshold for a whole model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor.errors import ShapeError, UsageError
from tersor.prune import PruneConfig, global_threshold
from tersor.prune.pattern import Pattern
from tersor.prune.scopes import lowest_removed, mask_by_scores

shares = st.floats(0, 1, allow_nan=False)


def scores_of(rows: int, columns: int, seed: int) -> np.ndarray:
    """Scores among which several are equal."""
    return np.round(np.random.RandomState(seed).rand(rows, columns) * 40).astype(np.float32)


@given(st.integers(1, 9), st.integers(1, 40), shares, st.integers(0, 99))
def test_scope_row_removes_the_same_share_of_every_row(
    rows: int, columns: int, share: float, seed: int
) -> None:
    scores = scores_of(rows, columns, seed)
    mask = mask_by_scores(scores, PruneConfig(share, "row"))
    assert ((~mask).sum(axis=1) == round(share * columns)).all()
    for kept, row in zip(mask, scores, strict=True):
        assert not kept.any() or kept.all() or row[kept].min() >= row[~kept].max()


@given(st.integers(1, 9), st.integers(1, 40), shares, st.integers(0, 99))
def test_scope_layer_removes_the_share_of_the_matrix(
    rows: int, columns: int, share: float, seed: int
) -> None:
    scores = scores_of(rows, columns, seed)
    mask = mask_by_scores(scores, PruneConfig(share, "layer"))
    assert (~mask).sum() == round(share * scores.size)
    assert mask.all() or not mask.any() or scores[mask].min() >= scores[~mask].max()


@given(st.integers(1, 7), st.integers(2, 8), st.integers(1, 5), st.data())
def test_pattern_keeps_exactly_n_of_every_m(kept: int, run: int, runs: int, data: st.DataObject) -> None:
    kept = min(kept, run - 1)
    scores = scores_of(3, run * runs, data.draw(st.integers(0, 99)))
    mask = mask_by_scores(scores, PruneConfig(pattern=f"{kept}:{run}"))
    assert (mask.reshape(3, runs, run).sum(axis=2) == kept).all()


def test_global_scope_removes_what_scores_at_most_the_threshold() -> None:
    scores = np.array([[0.5, 1.0, 1.5]], np.float32)
    mask = mask_by_scores(scores, PruneConfig(scope="global", threshold=1.0))
    assert mask.tolist() == [[False, False, True]]


@settings(max_examples=12)
@given(st.floats(0, 1), st.integers(0, 20))
def test_global_threshold_meets_the_share_over_all_tensors(share: float, seed: int) -> None:
    random = np.random.RandomState(seed)
    tensors = [np.abs(random.randn(40, 50)).astype(np.float32) * scale for scale in (0.1, 1.0, 30.0)]
    threshold = global_threshold(iter(tensors), share)
    removed = sum(int((scores <= np.float32(threshold)).sum()) for scores in tensors) / 6000
    assert abs(removed - share) < 0.002


def test_global_threshold_of_equal_scores_takes_all_or_none() -> None:
    scores = [np.ones((4, 4), np.float32)]
    assert global_threshold(scores, 0.2) < 1 <= global_threshold(scores, 0.8)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"needs 0\.\.1, the share of weights removed"):
        global_threshold([], share)
    with pytest.raises(UsageError, match=r"needs 0\.\.1, the share of weights removed"):
        PruneConfig(share)


@pytest.mark.parametrize("text", ["2/4", "4:2", "4:4", "0:4", "1:65", "2:4 ", "two:four", ""])
def test_patterns_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="n kept of every m columns"):
        PruneConfig(pattern=text)


def test_pattern_needs_columns_that_it_divides() -> None:
    with pytest.raises(ShapeError, match="columns=6 is not a multiple of 4"):
        Pattern.parse("2:4").check_columns(6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "scope 'row' needs a sparsity"),
        ({"scope": "global"}, "needs a threshold"),
        ({"scope": "global", "threshold": float("nan")}, "needs a threshold"),
        ({"scope": "column", "sparsity": 0.5}, "needs one of row, layer, global"),
        ({"sparsity": 0.5, "pattern": "1:4"}, "which removes 0.75"),
        ({"sparsity": 0.5, "threads": 0}, "threads must be >= 1"),
    ],
)
def test_configs_that_do_not_fit_together_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PruneConfig(**arguments)  # type: ignore[arg-type]


def test_rows_may_each_lose_their_own_number() -> None:
    scores = np.array([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], np.float32)
    mask = lowest_removed(scores, np.array([1, 0, 3]))
    assert mask.tolist() == [[True, False, True], [True, True, True], [False, False, False]]
