"""Draws behind standard errors and tests: which items a bootstrap sample holds, which items a test swaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

N_BOOTSTRAP = 1_000
N_SWAPS = 9_999
# Numbers drawn at once: 16 MB of float64.
_AT_ONCE = 1 << 21
# Swaps of very many differing items are drawn less often: a minute at most.
_MOST_SWAPPED = 1 << 30
_FEWEST_SWAPS = 999


def bootstrap_sums(rows: np.ndarray, seed: int) -> np.ndarray:
    """Sums of `rows` over 1,000 samples of n items drawn with replacement: float64 (1000, d).

    rows: float64 (n, d), n >= 1. Equal n and seed draw the same items, so two models' sums are paired.
    """
    n = len(rows)
    # RandomState, not Generator: its stream is frozen for ever.
    random = np.random.RandomState(seed)
    sums = []
    for count in _batches(N_BOOTSTRAP, n):
        drawn = random.randint(0, n, size=(count, n)) + n * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        with np.errstate(invalid="ignore"):
            sums.append(weights.astype(np.float64) @ rows)
    return np.concatenate(sums)


def bootstrap_indices(n: int, seed: int) -> Iterator[np.ndarray]:
    """1,000 samples of n items as indices, the same items as `bootstrap_sums` draws: int64 (k, n) at a time."""
    random = np.random.RandomState(seed)
    for count in _batches(N_BOOTSTRAP, n):
        yield random.randint(0, n, size=(count, n))


def swapped_sums(rows: np.ndarray, other: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of both sides after each item's rows were swapped between them with probability 1/2.

    rows, other: float64 (n, d), of the same items. Returns two float64 (draws, d), 9,999 draws unless more than
    107,000 items differ. Items whose rows are equal change nothing and are left out of the draw.
    """
    differs = np.any(rows != other, axis=1)
    change = (rows - other)[differs]
    n = max(1, len(change))
    n_draws = max(_FEWEST_SWAPS, min(N_SWAPS, _MOST_SWAPPED // n))
    random = np.random.RandomState(seed)
    with np.errstate(invalid="ignore"):  # a ruined model may have an infinite loss
        moved = [
            random.randint(0, 2, size=(count, len(change))).astype(np.float64) @ change
            for count in _batches(n_draws, n)
        ]
        shift = np.concatenate(moved)
        return rows.sum(0) - shift, other.sum(0) + shift


def _batches(total: int, n: int) -> Iterator[int]:
    """Split `total` draws of n numbers into parts that fit the memory."""
    at_once = max(1, _AT_ONCE // n)
    for start in range(0, total, at_once):
        yield min(at_once, total - start)
