"""Which setting each tensor gets under a budget of bytes: the least total error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tersor.planner.curves import Choice

# Bytes are counted in this many cells of the budget; rounding of sizes to cells leaves about .05% for 100 tensors.
N_CELLS = 4000
_INFINITE = np.inf


def allocate(curves: Sequence[Sequence[Choice]], budget: float, *, lowest: float = 0.0) -> list[int] | None:
    """The number of each tensor's choice, such that the total error is least and the total size fits.

    budget: bytes, > 0. lowest: fraction of the budget that must be used, if any combination does.
    Returns None if even the smallest choices do not fit. Errors add up, so the best allocation has equal slopes of
    error over bytes everywhere as far as the choices allow; dynamic programming finds it, between hull points too.
    """
    if sum(min(choice.n_bytes for choice in curve) for curve in curves) > budget:
        return None
    cell = budget / N_CELLS
    sizes = [_cells(curve, cell) for curve in curves]
    # totals[c]: least error of the tensors so far at exactly c cells. steps[t][c]: the choice of tensor t there.
    totals = np.full(N_CELLS + 1, _INFINITE)
    totals[0] = 0.0
    steps = []
    for curve, size in zip(curves, sizes, strict=True):
        totals, chosen = _add_tensor(totals, curve, size)
        steps.append(chosen)
    end = _best_end(totals, lowest)
    if end is None:  # rounding to cells: the smallest choices fit by a hair only
        return smallest_choices(curves)
    picks = []
    for size, chosen in zip(reversed(sizes), reversed(steps), strict=True):
        pick = int(chosen[end])
        picks.append(pick)
        end -= size[pick]
    return picks[::-1]


def smallest_choices(curves: Sequence[Sequence[Choice]]) -> list[int]:
    """The allocation of fewest bytes."""
    return [_sizes(curve).index(min(_sizes(curve))) for curve in curves]


def largest_choices(curves: Sequence[Sequence[Choice]]) -> list[int]:
    """The allocation of most bytes."""
    return [_sizes(curve).index(max(_sizes(curve))) for curve in curves]


def total_bytes(curves: Sequence[Sequence[Choice]], picks: Sequence[int]) -> float:
    """Estimated bytes of an allocation."""
    return sum(curve[pick].n_bytes for curve, pick in zip(curves, picks, strict=True))


def _sizes(curve: Sequence[Choice]) -> list[float]:
    return [choice.n_bytes for choice in curve]


def _cells(curve: Sequence[Choice], cell: float) -> list[int]:
    return [round(choice.n_bytes / cell) for choice in curve]


def _add_tensor(
    totals: np.ndarray, curve: Sequence[Choice], sizes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    best = np.full_like(totals, _INFINITE)
    chosen = np.zeros(len(totals), np.int16)
    for number, (choice, size) in enumerate(zip(curve, sizes, strict=True)):
        if size > N_CELLS:
            continue
        candidate = totals[: len(totals) - size] + choice.error
        wins = candidate < best[size:]
        best[size:][wins] = candidate[wins]
        chosen[size:][wins] = number
    return best, chosen


def _best_end(totals: np.ndarray, lowest: float) -> int | None:
    """The cell of least error in the upper part; where nothing reaches that, the highest cell that is reached."""
    reached = np.flatnonzero(np.isfinite(totals))
    if not reached.size:
        return None
    upper = reached[reached >= lowest * (len(totals) - 1)]
    return int(reached[-1]) if not upper.size else int(upper[np.argmin(totals[upper])])
