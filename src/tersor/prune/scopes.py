"""Which weights go, by their scores: a share of each row, of a matrix, of a whole model, or an n:m pattern."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tersor.errors import UsageError
from tersor.prune.base import PruneConfig
from tersor.prune.pattern import Pattern

# Scores are counted by the upper 20 of the 31 bits of a float32 >= 0, whose order is that of the numbers: 2**12 bins
# an octave, so that the share removed is met to about one part in 10,000.
_BIN_SHIFT = 11
_N_BINS = 1 << 20


def mask_by_scores(scores: np.ndarray, config: PruneConfig) -> np.ndarray:
    """Mask (bool, True = kept) that removes the lowest scores as `config` says; of equal ones some, always the same.

    Guarantee: scope row removes exactly round(sparsity * columns) of every row, scope layer round(sparsity * size).
    """
    if config.pattern is not None:
        return _by_pattern(scores, Pattern.parse(config.pattern))
    if config.scope == "global":
        assert config.threshold is not None
        return np.asarray(scores > np.float32(config.threshold))
    assert config.sparsity is not None
    if config.scope == "row":
        return without_lowest(scores, round(config.sparsity * scores.shape[1]))
    flat = scores.reshape(1, -1)
    return without_lowest(flat, round(config.sparsity * flat.shape[1])).reshape(scores.shape)


def without_lowest(scores: np.ndarray, n_removed: int) -> np.ndarray:
    """Mask of a matrix whose rows each lose their n_removed lowest scores."""
    mask = np.ones(scores.shape, np.bool_)
    if n_removed >= scores.shape[1]:
        return np.zeros(scores.shape, np.bool_)
    if n_removed:
        lowest = np.argpartition(scores, n_removed - 1, axis=1)[:, :n_removed]
        np.put_along_axis(mask, lowest, False, axis=1)
    return mask


def lowest_removed(scores: np.ndarray, n_removed: np.ndarray) -> np.ndarray:
    """Mask of a matrix whose rows lose so many of their lowest scores, each row its own number."""
    ranks = np.argsort(np.argsort(scores, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(ranks >= n_removed[:, None])


def _by_pattern(scores: np.ndarray, pattern: Pattern) -> np.ndarray:
    runs = scores.reshape(-1, pattern.run)  # (rows * columns / m, m)
    return without_lowest(runs, pattern.run - pattern.n_kept).reshape(scores.shape)


def global_threshold(scores: Iterable[np.ndarray], sparsity: float) -> float:
    """The score at or below which weights go, so that `sparsity` of all of them do.

    scores: of one tensor after another, float32 >= 0, only looked at once: they may be made on the fly. Memory: 8 MB.
    Raises: UsageError.
    """
    if not 0 <= sparsity <= 1:
        raise UsageError(f"sparsity={sparsity}: needs 0..1, the share of weights removed")
    counts = np.zeros(_N_BINS, np.int64)
    for part in scores:
        bits = np.ascontiguousarray(part, np.float32).reshape(-1).view(np.uint32) & np.uint32(0x7FFFFFFF)
        counts += np.bincount(bits >> _BIN_SHIFT, minlength=_N_BINS)
    removed = np.cumsum(counts)
    wanted = sparsity * float(removed[-1])
    last = int(np.searchsorted(removed, wanted))
    below = float(removed[last - 1]) if last else 0.0
    if last == _N_BINS or wanted - below < float(removed[last]) - wanted:
        last -= 1
    if last < 0:
        return 0.0
    return float(np.array([((last + 1) << _BIN_SHIFT) - 1], np.uint32).view(np.float32)[0])
