"""The smallest attempt that keeps a loss, each one evaluated as the file that it is."""

from __future__ import annotations

import gc
from typing import Any

from tersor.calibrate import Statistics
from tersor.errors import BudgetError
from tersor.pipeline.attempts import Attempt, Attempts
from tersor.pipeline.by_size import NO_STEP, curves_json, option_curves, with_choices
from tersor.pipeline.job import Job
from tersor.pipeline.journal import Journal
from tersor.pipeline.loss import LossMeter
from tersor.pipeline.reload import load_attempt
from tersor.planner.allocate import allocate, smallest_choices
from tersor.planner.budget import COARSEST, FINEST
from tersor.planner.loss import first_position, solve_loss
from tersor.planner.plan import Plan, untouched
from tersor.planner.rate import SizeEstimator

# Position of a plan whose sizes follow options: minus the bits per weight that are allocated.
_MOST_BITS, _START_BITS = -16.0, -5.0


def meet_loss(
    job: Job, statistics: Statistics, attempts: Attempts, journal: Journal, meter: LossMeter, limit: float
) -> None:
    """Leave in attempts.best the smallest archive found whose loss is at most `limit`; its facts say the loss.

    Raises: BudgetError if no setting keeps the limit.
    """
    by_step = job.plan.follows_step
    positions: _ByStep | _ByOptions = (_ByStep if by_step else _ByOptions)(job, statistics)
    attempts.curves = positions.curves

    def measure(position: float) -> float:
        def make() -> float:
            attempt = positions.make(attempts, position)
            loss = meter.measure(load_attempt(job, attempt))
            gc.collect()
            attempt.facts["loss"] = loss.to_json(limit)
            attempt.facts["position"] = position
            best = attempts.best
            fits = loss.value <= limit
            if fits and (best is None or best.facts["position"] < position):
                attempts.keep(attempt)
            else:
                attempts.drop(attempt)
            return loss.value

        return journal.remember(f"loss at {position!r}", make)

    job.progress(0, 1, "looking for the smallest file that keeps the loss")
    try:
        solution = solve_loss(
            measure,
            limit,
            start=positions.start(limit),
            finest=positions.finest,
            coarsest=positions.coarsest,
            name=f"{meter.metric} loss",
        )
    except BudgetError as exc:
        kept = untouched(job.plan)
        raise BudgetError(f"{exc}; {kept}" if kept else str(exc)) from exc
    best = attempts.best
    if best is None or best.facts["position"] != solution.position:
        # A run before this one measured the best position, and was interrupted.
        attempts.keep(made := positions.make(attempts, solution.position))
        made.facts["loss"] = meter.measure(load_attempt(job, made)).to_json(limit)


def first_budget(plan: Plan) -> float:
    """Bytes that a search over options starts with."""
    return -_START_BITS / 8 * sum(t.spec.n_elements for t in plan.tensors if t.follows_options)


class _ByStep:
    """Positions are log2 of the global step."""

    finest, coarsest = FINEST, COARSEST

    def __init__(self, job: Job, statistics: Statistics) -> None:
        self.curves: dict[str, list[dict[str, Any]]] = {}
        self._job, self._statistics = job, statistics

    def start(self, limit: float) -> float:
        return first_position(self._job.plan, self._statistics, limit)

    def make(self, attempts: Attempts, position: float) -> Attempt:
        # Twice: the second estimate rounds with the code lengths of the first. Anew for each position, so that an
        # attempt does not depend on those before it.
        estimator = SizeEstimator(self._job.read, self._job.plan, self._statistics, threads=self._job.threads)
        for _ in range(2):
            estimator(2.0**position)
        attempts.code_lengths = estimator.code_lengths
        return attempts.make(2.0**position)


class _ByOptions:
    """Positions are minus the bits per weight that the options are allocated under."""

    finest = _MOST_BITS

    def __init__(self, job: Job, statistics: Statistics) -> None:
        self._plan = job.plan
        found = option_curves(job, statistics)
        self.curves = curves_json(job.plan, found)
        self._numbers, self._curves = list(found), list(found.values())
        self._n_weights = max(1, sum(job.plan.tensors[number].spec.n_elements for number in found))
        smallest = sum(min(choice.n_bytes for choice in curve) for curve in self._curves)
        self.coarsest = -8 * smallest / self._n_weights

    def start(self, limit: float) -> float:
        return min(_START_BITS, self.coarsest)

    def make(self, attempts: Attempts, position: float) -> Attempt:
        budget = max(-position * self._n_weights / 8, 1.0)
        picks = allocate(self._curves, budget) or smallest_choices(self._curves)
        chosen = {n: c[p] for n, c, p in zip(self._numbers, self._curves, picks, strict=True)}
        return attempts.make(NO_STEP, with_choices(self._plan, chosen))
