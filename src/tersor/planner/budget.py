"""The one global step that makes a file of the size asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from tersor.errors import BudgetError

# A result must lie in [LOWEST, 1] of the target; the search stops once it is in [GOOD, 1]. A measurement is a whole
# file, so GOOD leaves room for the first one to hit.
LOWEST = 0.995
GOOD = 0.9955
AIM = 0.998
MAX_MEASUREMENTS = 10
# "0.1x" became "123456789B" in the recipe that the file holds.
SPARE_BYTES = 12
# log2 of the global step. At the lower end codes have about 13 bits; at the upper end all are zero.
FINEST, COARSEST = -12.0, 14.0
_ESTIMATE_TOLERANCE = 0.005
_MAX_ESTIMATES = 14


@dataclass(frozen=True, slots=True)
class Solution:
    """delta: the global step; n_bytes: what `measure(delta)` gave; n_measurements: how often it was called."""

    delta: float
    n_bytes: int
    n_measurements: int


@dataclass(slots=True)
class _Search:
    """Measured points (log2 delta, bytes) and the bracket they form around the target."""

    measure: Callable[[float], int]
    target: int
    points: dict[float, int] = field(default_factory=dict)

    def at(self, position: float) -> int:
        if position not in self.points:
            self.points[position] = self.measure(2.0**position)
        return self.points[position]

    @property
    def too_fine(self) -> float | None:
        """The coarsest position measured that is still too large."""
        return max((x for x, n in self.points.items() if n > self.target), default=None)

    @property
    def fits(self) -> float | None:
        """The finest position measured that fits."""
        return min((x for x, n in self.points.items() if n <= self.target), default=None)

    def propose(self, slope: float) -> float:
        """The next position: interpolated in the bracket, else one Newton step from the nearest point.

        slope: bytes per octave of step, < 0.
        """
        aim = AIM * self.target
        low, high = self.too_fine, self.fits
        if low is not None and high is not None:
            top, bottom = self.points[low], self.points[high]
            share = (top - aim) / max(top - bottom, 1)
            return low + (high - low) * min(max(share, 0.02), 0.98)
        nearest = low if low is not None else high
        assert nearest is not None, "propose needs a measured point"
        step = (aim - self.points[nearest]) / slope
        # Never further than two octaves, and by at least a little, ever more of it: where small tensors are most of the
        # file the slope is far off, and steps that follow it would creep.
        least = min(2.0, 0.0005 * 4.0 ** len(self.points))
        step = max(least, min(2.0, step)) if low is not None else min(-least, max(-2.0, step))
        return min(max(nearest + step, FINEST), COARSEST)


def solve_step(
    measure: Callable[[float], int],
    target_bytes: int,
    *,
    estimate: Callable[[float], float] | None = None,
    start: float = 0.5,
) -> Solution:
    """Find delta with LOWEST * target_bytes <= measure(delta) <= target_bytes.

    measure: exact bytes of the finished file at a global step; expensive; decreasing up to small jumps.
    estimate: a cheap approximation of it, used to start close; its bias is corrected by the first measurement.
    Guarantee: never above the target. Raises: BudgetError, naming the nearest size that can be reached.
    """
    position, slope = math.log2(start), -target_bytes / 4.0
    if estimate is not None:
        position, slope = solve_estimate(estimate, target_bytes, position, slope)
    search = _Search(measure, target_bytes)
    for _ in range(MAX_MEASUREMENTS):
        n_bytes = search.at(position)
        if GOOD * target_bytes <= n_bytes <= target_bytes:
            return Solution(2.0**position, n_bytes, len(search.points))
        proposed = search.propose(slope)
        if proposed in search.points:
            break
        position = proposed
    return _best(search)


def solve_estimate(
    estimate: Callable[[float], float], target: int, position: float = -1.0, slope: float | None = None
) -> tuple[float, float]:
    """The position (log2 of the step) where the estimate meets AIM * target, and the slope there (bytes per octave).

    position, slope: where to start.
    """
    target, slope = int(AIM * target), -target / 4.0 if slope is None else slope
    previous: tuple[float, float] | None = None
    for _ in range(_MAX_ESTIMATES):
        value = estimate(2.0**position)
        if previous is not None and position != previous[0]:
            measured = (value - previous[1]) / (position - previous[0])
            slope = min(measured, 0.1 * slope)
        if abs(value / target - 1) < _ESTIMATE_TOLERANCE:
            return position + (target - value) / slope, slope  # so near the curve is straight
        previous = position, value
        step = max(-3.0, min(3.0, (target - value) / slope))
        moved = min(max(position + step, FINEST), COARSEST)
        if moved == position:
            break
        position = moved
    return position, slope


def _best(search: _Search) -> Solution:
    """The largest measured size that fits, if it is large enough; else the error."""
    target, points = search.target, search.points
    if all(n_bytes > target for n_bytes in points.values()) and search.at(COARSEST) > target:
        raise too_small(target, search.at(COARSEST))
    best = max((x for x, n_bytes in points.items() if n_bytes <= target), key=lambda x: points[x])
    if points[best] >= LOWEST * target:
        return Solution(2.0**best, points[best], len(points))
    above = min((n_bytes for n_bytes in points.values() if n_bytes > target), default=None)
    if above is None:
        raise BudgetError(
            f"{target:,} bytes cannot be filled: the finest steps tried make {points[best]:,} bytes; ask for at most "
            f"{askable(points[best])}, or store the checkpoint without loss (tersor pack)"
        )
    raise BudgetError(
        f"no step makes a file between 99.5% and 100% of {target:,} bytes: the nearest are {points[best]:,} and "
        f"{above:,} bytes; ask for {askable(points[best])} or {askable(above)}"
    )


def too_small(target: int, smallest: int) -> BudgetError:
    """That a step has not: everything is rounded to zero, and the file is still too large."""
    return BudgetError(
        f"{target:,} bytes cannot be reached: with every weight rounded to zero {smallest:,} bytes remain; "
        f"ask for at least {askable(smallest)}"
    )


def askable(n_bytes: int) -> str:
    """The size to ask for so that a file of n_bytes is made: the archive tells the size asked for, in more digits."""
    return f"{n_bytes + SPARE_BYTES}B"
