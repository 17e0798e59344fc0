"""The coarsest setting whose measured loss stays within a limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from tersor.calibrate.statistics import Statistics
from tersor.errors import BudgetError
from tersor.planner.plan import Plan

# The search aims here and stops in [GOOD, 1] of the limit: loss goes with the square of the step, so .9 of it is
# .08 bit per weight, 2% of a file of 4 bits.
AIM = 0.95
GOOD = 0.9
MAX_EVALUATIONS = 10
# log2(loss) per unit of position: the position is log2 of the step, or minus the bits per weight.
SLOPE = 2.0
_SLOPES = (1.0, 5.0)
_LARGEST_MOVE = 3.0
# Calibration is optimistic about its own text (DESIGN 5); the first step is this much more careful.
_OPTIMISM = 0.7
_TINY = 1e-12
# What counts as found although it is below GOOD: a bracket this narrow has no file in between worth the time.
_NARROW = 0.02


@dataclass(frozen=True, slots=True)
class LossSolution:
    """position: the coarsest that keeps the limit. loss: measured there. n_evaluations: files made."""

    position: float
    loss: float
    n_evaluations: int


@dataclass(slots=True)
class _Points:
    limit: float
    losses: dict[float, float] = field(default_factory=dict)

    @property
    def fits(self) -> float | None:
        """The coarsest position that keeps the limit."""
        return max((x for x, loss in self.losses.items() if loss <= self.limit), default=None)

    @property
    def too_coarse(self) -> float | None:
        """The finest position, coarser than `fits`, that breaks it."""
        fits = self.fits
        return min(
            (x for x, loss in self.losses.items() if loss > self.limit and (fits is None or x > fits)),
            default=None,
        )

    def log_excess(self, position: float) -> float:
        """log2 of the loss over what is aimed at."""
        return math.log2(max(self.losses[position], _TINY) / (AIM * self.limit))

    def propose(self) -> float:
        """The next position: interpolated in the bracket, else from the nearest point with the usual slope."""
        low, high = self.fits, self.too_coarse
        if low is not None and high is not None:
            below, above = self.log_excess(low), self.log_excess(high)
            share = -below / max(above - below, _TINY)
            return low + (high - low) * min(max(share, 0.1), 0.9)
        nearest = low if low is not None else high
        assert nearest is not None, "propose needs a measured point"
        return nearest - min(max(self.log_excess(nearest) / self._slope(), -_LARGEST_MOVE), _LARGEST_MOVE)

    def _slope(self) -> float:
        """Of the two latest points, if that is plausible."""
        if len(self.losses) < 2:
            return SLOPE
        first, second = list(self.losses)[-2:]
        slope = (self.log_excess(second) - self.log_excess(first)) / (second - first)
        return min(max(slope, _SLOPES[0]), _SLOPES[1])


def solve_loss(
    measure: Callable[[float], float],
    limit: float,
    *,
    start: float,
    finest: float,
    coarsest: float,
    name: str = "loss",
) -> LossSolution:
    """Find the coarsest position with measure(position) <= limit, close to it.

    measure: the loss of a finished file; rises with the position, by about SLOPE octaves per unit, up to noise.
    Raises: BudgetError, naming the smallest loss found, if no position keeps the limit.
    """
    points = _Points(limit)
    position = min(max(start, finest), coarsest)
    for _ in range(MAX_EVALUATIONS):
        points.losses[position] = measure(position)
        if GOOD * limit <= points.losses[position] <= limit:
            break
        low, high = points.fits, points.too_coarse
        if low is not None and high is not None and high - low < _NARROW:
            break
        proposed = min(max(points.propose(), finest), coarsest)
        if proposed in points.losses:
            break
        position = proposed
    best = points.fits
    if best is None:
        least = min(points.losses.values())
        raise BudgetError(
            f"{name} cannot be kept at or below {limit:g}: the finest setting tried has {least:.4g}; allow at least "
            "that, or store the checkpoint without loss (tersor pack)"
        )
    return LossSolution(best, points.losses[best], len(points.losses))


def expected_error(plan: Plan, statistics: Statistics, delta: float) -> dict[str, float]:
    """Expected error of the model from each step-driven tensor at a global step, by name, where it was measured."""
    found = {}
    for tensor in plan.tensors:
        name = tensor.parameter or ""
        if tensor.follows_step and name in statistics.errors and name in statistics.base_steps:
            step = delta * statistics.base_steps[name]
            found[tensor.spec.name] = statistics.errors[name] * tensor.spec.n_elements * step**2 / 12
    return found


def first_position(plan: Plan, statistics: Statistics, limit: float) -> float:
    """log2 of the global step where the expected error meets the limit; -1 where nothing was measured."""
    at_one = sum(expected_error(plan, statistics, 1.0).values())
    if at_one <= 0:
        return -1.0
    return 0.5 * math.log2(_OPTIMISM * limit / at_one)
