"""The attempt of a given size: one global step, or each tensor's options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from tersor.calibrate import Statistics
from tersor.errors import BudgetError
from tersor.pipeline.attempts import Attempts
from tersor.pipeline.job import Job
from tersor.pipeline.journal import Journal
from tersor.planner.allocate import allocate, largest_choices, smallest_choices, total_bytes
from tersor.planner.budget import AIM, LOWEST, askable, solve_step
from tersor.planner.curves import Choice, rate_curves
from tersor.planner.float_size import float_bytes
from tersor.planner.plan import Plan, untouched
from tersor.planner.rate import BYTES_PER_FILE, BYTES_PER_TENSOR, SizeEstimator

# Where in the window an allocation aims, file after file: few tensors make few sizes.
_AIMS = (AIM, AIM, AIM, 0.9965, 0.9995, 0.9972, 0.9988, 0.9958)
# A plan whose sizes follow options needs no step.
NO_STEP = 1.0


def meet_size(job: Job, statistics: Statistics, attempts: Attempts, journal: Journal, target: int) -> None:
    """Leave in attempts.best an archive of LOWEST * target .. target bytes.

    Raises: BudgetError, naming the nearest size that can be reached.
    """
    try:
        if job.plan.follows_step:
            _meet_by_step(job, statistics, attempts, journal, target)
        else:
            _OptionsSearch(job, statistics, attempts, journal, target).run()
    except BudgetError as exc:
        kept = untouched(job.plan) if "cannot be filled" not in str(exc) else ""
        raise BudgetError(f"{exc}; {kept}" if kept else str(exc)) from exc


def _meet_by_step(
    job: Job, statistics: Statistics, attempts: Attempts, journal: Journal, target: int
) -> None:
    estimator = SizeEstimator(job.read, job.plan, statistics, threads=job.threads)

    def measure(delta: float) -> int:
        # Code lengths come from the estimates, all of which are made before the first measurement.
        attempts.code_lengths = estimator.code_lengths
        return int(journal.remember(f"size at {delta!r}", lambda: _offer(attempts, target, delta, job.plan)))

    job.progress(0, 1, "choosing the step")
    solution = solve_step(measure, target, estimate=estimator)
    best = attempts.best
    if best is None or best.delta != solution.delta:  # a run before this one measured it, and was interrupted
        _offer(attempts, target, solution.delta, job.plan)
    if attempts.best is None:  # what that run measured no longer holds: other libraries, say
        journal.forget()
        solve_step(measure, target, estimate=estimator)


def _offer(attempts: Attempts, target: int, delta: float, plan: Plan) -> int:
    """Make an attempt, keep the larger of those that fit; return its bytes."""
    attempt, kept = attempts.make(delta, plan), attempts.best
    if attempt.n_bytes <= target and (kept is None or attempt.n_bytes > kept.n_bytes):
        attempts.keep(attempt)
    else:
        attempts.drop(attempt)
    return attempt.n_bytes


def with_choices(plan: Plan, chosen: Mapping[int, Choice]) -> Plan:
    """The plan with the chosen options."""
    return Plan(
        tuple(
            replace(tensor, options=chosen[number].options) if number in chosen else tensor
            for number, tensor in enumerate(plan.tensors)
        )
    )


def option_curves(
    job: Job, statistics: Statistics, after_tensor: Callable[[], None] | None = None
) -> dict[int, list[Choice]]:
    """The curves of the job's plan."""
    n_done = 0

    def count() -> None:
        nonlocal n_done
        n_done += 1
        job.progress(n_done, len(job.plan.tensors), "trying options")

    return rate_curves(
        job.read,
        job.plan,
        statistics,
        purpose=job.recipe.purpose,
        threads=job.threads,
        after_tensor=after_tensor or count,
    )


def curves_json(plan: Plan, curves: Mapping[int, Sequence[Choice]]) -> dict[str, list[dict[str, Any]]]:
    """The curves as plain values, by name of the tensor."""
    return {
        plan.tensors[number].spec.name: [asdict(choice) for choice in curve]
        for number, curve in curves.items()
    }


def bytes_beside(plan: Plan) -> float:
    """Estimated bytes of everything whose size does not follow options: kept and small tensors, the index."""
    floats = sum(float_bytes(tensor) for tensor in plan.tensors if tensor.method in ("keep", "float"))
    small = sum(
        tensor.spec.n_elements + BYTES_PER_TENSOR
        for tensor in plan.tensors
        if tensor.is_fixed and tensor.is_quantized
    )
    return floats + small + BYTES_PER_FILE


class _OptionsSearch:
    """Allocates, measures, corrects the estimate by what was measured, and allocates again."""

    def __init__(
        self, job: Job, statistics: Statistics, attempts: Attempts, journal: Journal, target: int
    ) -> None:
        self._plan, self._attempts, self._journal, self._target = job.plan, attempts, journal, target
        found = option_curves(job, statistics)
        attempts.curves = curves_json(job.plan, found)
        self._numbers = list(found)
        self._curves = list(found.values())
        # Picks -> bytes of the finished file.
        self._measured: dict[tuple[int, ...], int] = {}

    def run(self) -> None:
        smallest, largest = smallest_choices(self._curves), largest_choices(self._curves)
        rest = bytes_beside(self._plan)
        for aim in _AIMS:
            budget = aim * self._target - rest
            picks = allocate(self._curves, budget, lowest=0.999) if budget > 0 else None
            n_bytes = self._measure(smallest if picks is None else picks)
            if LOWEST * self._target <= n_bytes <= self._target:
                return
            if picks is None and n_bytes > self._target:
                raise BudgetError(
                    f"{self._target:,} bytes cannot be reached: with the smallest options {n_bytes:,} bytes remain; "
                    f"ask for at least {askable(n_bytes)}"
                )
            if list(picks or []) == largest and n_bytes < LOWEST * self._target:
                raise BudgetError(
                    f"{self._target:,} bytes cannot be filled: the largest options make {n_bytes:,} bytes; "
                    f"ask for at most {askable(n_bytes)}"
                )
            # What the estimate does not count, as it turned out. Where that leads nowhere new, aim elsewhere.
            rest = n_bytes - total_bytes(self._curves, smallest if picks is None else picks)
        for picks in (largest, smallest):  # the ends, where aiming a little below the size leads past them
            if LOWEST * self._target <= self._measure(picks) <= self._target:
                return
        self._refuse()

    def _measure(self, picks: Sequence[int]) -> int:
        key = tuple(picks)
        if key not in self._measured:
            chosen = {n: c[p] for n, c, p in zip(self._numbers, self._curves, picks, strict=True)}
            self._measured[key] = _offer(
                self._attempts, self._target, NO_STEP, with_choices(self._plan, chosen)
            )
        return self._measured[key]

    def _refuse(self) -> None:
        """Raise BudgetError unless a measured allocation fits well enough."""
        sizes = sorted(self._measured.values())
        below = [size for size in sizes if size <= self._target]
        above = [size for size in sizes if size > self._target]
        if below and below[-1] >= LOWEST * self._target:
            return
        nearest = [*below[-1:], *above[:1]]
        named = " and ".join(f"{size:,}" for size in nearest)
        raise BudgetError(
            f"no combination of options was found between {LOWEST:.1%} and 100% of {self._target:,} bytes: the nearest "
            f"are {named} bytes; ask for {' or '.join(map(askable, nearest))}, or use a method whose step is free "
            "(two_sided, gptq)"
        )
