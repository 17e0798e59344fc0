"""Recovery after the search: the best attempt made better at the same size."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tersor.calibrate import CalibrationText, Statistics, default_text, text_from_file
from tersor.calibrate.sampling import is_decoder
from tersor.layouts.grid import Grid
from tersor.pipeline.attempts import Attempt, Attempts
from tersor.pipeline.job import Job
from tersor.pipeline.reduce import recover_steps
from tersor.pipeline.reload import load_attempt
from tersor.planner.budget import LOWEST
from tersor.planner.execute import Rounding, quantize_matrix
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.pruned import matrix_of
from tersor.planner.spool import Spooled, ValueSpool
from tersor.recipe import Step
from tersor.recovery.choice import Recovery, affordable_text, choose_recovery
from tersor.recovery.drift import DriftReport, quantize_with_drift
from tersor.recovery.small import LEARNING_RATE, Teacher, make_teacher, tune_small

# Where a drift pass aims: the middle of what is allowed. Corrected weights take fewer bytes at the same step: .1% at
# 3.8 bits per parameter, .3% at 2, 1% at a small model's 2.3.
AIM = 0.9975
EXPECTED_SAVING = 0.003
MAX_PASSES = 3
# Bytes per octave of the step, in bits per parameter: about this at 1.5 to 3 bits.
_BITS_PER_OCTAVE = 0.85
RECOVERY_TOKENS = 49152


@dataclass(frozen=True, slots=True)
class _Recovered:
    """An attempt and the grids that it was made of; grids: None: those of a plain pass at its step."""

    attempt: Attempt
    grids: ValueSpool | None


def recovery_of(job: Job, model: Any, target: int | None) -> Recovery:
    """What is done after the search. model: of the job's checkpoint. target: bytes; None: no size is given.

    A step `recover: {what: small}` after steps on single tensors tunes the small parameters, whatever `tune` says.
    Drift correction knows grids only: with factors, or pruned floats, there is none.
    """
    steps = _late_steps(job)
    is_plain = all(t.low_rank is None and (t.method != "float" or t.prune is None) for t in job.plan.tensors)
    chosen = choose_recovery(
        model,
        job.plan,
        drift=job.recipe.drift if is_plain else "off",
        tune="on" if steps else job.recipe.tune,
        bits_per_weight=None if target is None else 8 * target / job.n_params,
    )
    return replace(chosen, n_steps=steps[0].option("steps")) if steps else chosen


def _late_steps(job: Job) -> list[Step]:
    """The recipe's recovery after steps on single tensors; at most one."""
    early = len(recover_steps(job.recipe))
    return list(job.recipe.of_kind("recover")[early:])


def recovery_text(job: Job, tokenizer: Any, model: Any, calibration: CalibrationText) -> CalibrationText:
    """A longer text of the same kind as the calibration text, where that costs nothing; else the same.

    Corrections fit what they were made on: MiniLM at 2.06 bits per parameter has error .0256 with 48k tokens, .0274
    with 16k; .0299 uncorrected. With a loss to keep, the rest of the text is held out for it; text sampled from a
    decoder takes long to make.
    """
    recipe = job.recipe
    if recipe.max_loss is not None:
        return calibration
    if recipe.calibration is not None:
        return text_from_file(Path(recipe.calibration), tokenizer, model, RECOVERY_TOKENS, seed=recipe.seed)
    if is_decoder(model):
        return calibration
    return default_text(tokenizer, model, RECOVERY_TOKENS, seed=recipe.seed)


def recover(
    job: Job,
    statistics: Statistics,
    attempts: Attempts,
    text: CalibrationText,
    chosen: Recovery,
    target: int | None,
    work: Path,
) -> None:
    """Replace attempts.best by a better one of LOWEST * target .. target bytes, where one is found.

    target: None: the bytes of the best attempt; without any budget those of the original (tuned floats look less alike
    than zeros and ones). Nothing gets larger than that, and what does no good is not kept.
    """
    if chosen.is_nothing or attempts.best is None:
        return
    best = _Recovered(attempts.best, None)
    limit = attempts.best.n_bytes if target is None else target
    if target is None and job.recipe.max_loss is None:
        limit = job.n_input_bytes
    teacher = _teacher(_load(job, job.original.root), text) if chosen.n_steps else None
    gc.collect()  # as everywhere here: a model is full of cycles, and the next one is loaded soon
    if chosen.drift:
        best = _DriftSearch(job, statistics, attempts, text, limit, work).run() or best
    if teacher is not None:
        _tune(job, statistics, attempts, best, teacher, chosen.n_steps, limit)


def _teacher(model: Any, text: CalibrationText) -> Teacher:
    return make_teacher(model, affordable_text(model, text))


class _DriftSearch:
    """Passes with drift correction at steps near that of the best attempt, until one has the right size."""

    def __init__(
        self,
        job: Job,
        statistics: Statistics,
        attempts: Attempts,
        text: CalibrationText,
        target: int,
        work: Path,
    ) -> None:
        self._job = job
        self._statistics = statistics
        self._attempts = attempts
        self._text = text
        self._target = target
        self._work = work
        self._numbers = {tensor.spec.name: number for number, tensor in enumerate(job.plan.tensors)}

    def run(self) -> _Recovered | None:
        """The first pass that fits; None if none does."""
        start = self._attempts.best
        assert start is not None, "recovery starts from an attempt"
        delta = start.delta
        if start.plan.follows_step:
            delta *= 2.0 ** self._octaves((1 - EXPECTED_SAVING) * start.n_bytes)
        for number in range(MAX_PASSES):
            spool = ValueSpool(self._work / f"drift-{number}")
            report = self._pass(delta, start, spool)
            gc.collect()
            facts = {**start.facts, "drift": report.to_json()}
            attempt = self._attempts.make_from(delta, _all_grids(start, spool), start.plan, facts)
            if LOWEST * self._target <= attempt.n_bytes <= self._target:
                self._attempts.keep(attempt)
                return _Recovered(attempt, spool)
            self._attempts.drop(attempt)
            if not start.plan.follows_step:
                return None
            delta *= 2.0 ** self._octaves(attempt.n_bytes)
        return None

    def _pass(self, delta: float, start: Attempt, spool: ValueSpool) -> DriftReport:
        """Fill `spool` with the grids of a pass."""
        job = self._job
        rounding = Rounding(delta, None, job.threads, self._attempts.code_lengths)

        def quantize(tensor: TensorPlan, values: np.ndarray) -> Grid:
            # What is pruned stays zero, whatever correction says.
            mask = matrix_of(job.read(tensor.spec.name), tensor) != 0 if tensor.is_pruned else None
            return quantize_matrix(matrix_of(values, tensor), tensor, self._statistics, rounding, mask=mask)

        model = _load(job, job.checkpoint.root)
        return quantize_with_drift(
            model,
            affordable_text(model, self._text),
            start.plan,
            job.read,
            quantize,
            spool=self._work / "activations",
            on_tensor=lambda tensor, grid: spool.put(self._numbers[tensor.spec.name], grid),
            threads=job.threads,
            progress=lambda done, total: job.progress(done, total, "correcting drift, block by block"),
        )

    def _octaves(self, n_bytes: float) -> float:
        """How much coarser the step must be, in octaves; negative: finer."""
        per_octave = _BITS_PER_OCTAVE * _n_free(self._job.plan) / 8
        return max(-0.25, min(0.25, (n_bytes - AIM * self._target) / per_octave))


def _n_free(plan: Plan) -> float:
    """Weights whose codes get smaller with a coarser step: all that are quantized and not pruned."""
    shares = (
        (t.spec.n_elements, t.prune.share_kept if t.prune else 1.0) for t in plan.tensors if t.is_quantized
    )
    return max(1.0, sum(n_elements * share for n_elements, share in shares))


def _tune(
    job: Job,
    statistics: Statistics,
    attempts: Attempts,
    best: _Recovered,
    teacher: Teacher,
    n_steps: int,
    target: int,
) -> None:
    """Tune the small parameters of the best attempt; keep the result if it is better and fits."""
    model = load_attempt(job, best.attempt)
    rates = [step.option("learning_rate") for step in _late_steps(job)]
    tuned = tune_small(
        model,
        teacher,
        best.attempt.plan,
        seed=job.recipe.seed,
        n_steps=n_steps,
        learning_rate=next((rate for rate in rates if rate is not None), LEARNING_RATE),
        progress=lambda done, total: job.progress(done, total, "tuning the small parameters"),
    )
    del model
    gc.collect()
    if not tuned.values:
        return
    job.tuned = tuned.values
    attempt = _with_tuned(job, statistics, attempts, best, {"tune": tuned.to_json()})
    if attempt.n_bytes <= target:
        attempts.keep(attempt)
    else:
        attempts.drop(attempt)
        job.tuned = {}


def _with_tuned(
    job: Job, statistics: Statistics, attempts: Attempts, best: _Recovered, facts: dict[str, Any]
) -> Attempt:
    """The best attempt with the job's tuned values in place of those of the same names; all codes stay."""
    before = best.attempt
    known = {**before.facts, **facts}
    if best.grids is None:  # the same step makes the same codes again
        return attempts.make(before.delta, before.plan, known)
    for number, tensor in enumerate(before.plan.tensors):
        if tensor.spec.name in job.tuned:
            weight = matrix_of(job.read(tensor.spec.name), tensor)
            best.grids.put(number, quantize_matrix(weight, tensor, statistics, Rounding(before.delta)))
    return attempts.make_from(before.delta, _all_grids(before, best.grids), before.plan, known)


def _all_grids(attempt: Attempt, spool: ValueSpool) -> Iterator[tuple[int, Spooled]]:
    """Every quantized tensor's number in the plan, and its grid."""
    for number, tensor in enumerate(attempt.plan.tensors):
        if tensor.is_quantized:
            yield number, spool.get(number)


def _load(job: Job, root: Path) -> Any:
    from tersor.load import load_checked

    job.progress(0, 1, "loading the model")
    return load_checked(root, dtype="float32")[0]
