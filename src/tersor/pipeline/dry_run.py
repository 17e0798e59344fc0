"""What a compression would do, found without writing an archive: settings, sizes, errors, time and memory.

The plan is real. Statistics are taken from the cache, or collected and kept there if a forward pass says that this is
cheap; else the plan does without. The step is found on estimates, as in a real run. Time and memory are measured on a
few tensors, one of each shape, quantized and written into a temporary folder, and scaled up.
"""

from __future__ import annotations

import gc
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tersor.calibrate import CalibrationText, Statistics
from tersor.calibrate.batches import make_batches
from tersor.calibrate.model_inputs import call_model
from tersor.calibrate.threads import single_thread
from tersor.errors import BudgetError
from tersor.pipeline.attempts import Attempts
from tersor.pipeline.by_loss import first_budget
from tersor.pipeline.by_size import NO_STEP, bytes_beside, option_curves, with_choices
from tersor.pipeline.calibration import Sequences, Texts, are_cached, collect_statistics
from tersor.pipeline.describe import tensor_errors
from tersor.pipeline.job import Job
from tersor.pipeline.loss import natural_metric
from tersor.pipeline.memory import begin_phase, phase_peak_bytes
from tersor.pipeline.recover import recovery_of, recovery_text
from tersor.pipeline.run import make_smaller, take_start
from tersor.pipeline.why import removal_notes
from tersor.planner.allocate import allocate, largest_choices, smallest_choices, total_bytes
from tersor.planner.budget import AIM, COARSEST, FINEST, solve_estimate, too_small
from tersor.planner.curves import Choice
from tersor.planner.forecast import Forecast, forecast_tensors, representatives
from tersor.planner.loss import first_position
from tersor.planner.plan import Plan
from tersor.planner.rate import SizeEstimator
from tersor.quant import CodeLengths
from tersor.recovery.choice import affordable_text

# Calibration up to here is done in full: the result is in the cache for the run that follows.
CHEAP_SECONDS = 180.0
# What `collect` costs in forward passes over the text, on one thread: MiniLM 18 of 16,384 tokens (22 of 8,192).
FORWARD_PASSES = 18.0
SPEEDUP = 1.8  # with more threads than one, on two cores
BATCH_TOKENS = 1024
# What recovery costs in forward passes: drift correction for its text (recovery/choice.py), tuning for each step.
DRIFT_PASSES = 7.0
TUNING_PASSES = 4.0
# Estimates of MiniLM are within .5% of the file, of stories260k 2.5%, of tiny models more.
ESTIMATE_ERROR = 0.05
# A search for a size makes about so many files: the estimate of MiniLM at 3 bits is .5% low, of stories260k 2.5%.
USUAL_FILES = 2
# A search for a loss makes about so many files: MiniLM and stories260k two, by the noisier perplexity four.
USUAL_EVALUATIONS = {"embedding": 2, "kl": 2, "perplexity": 4}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the run would do. plan: with the options chosen. n_bytes: of the archive.

    error: expected distance of the outputs from the original's, by `metric`; None: nothing is known.
    tensors: by name. notes: one sentence each. facts: what was removed before (`make_smaller`).
    """

    plan: Plan
    n_bytes: int
    seconds: float
    peak_rss_bytes: int
    error: float | None
    metric: str
    tensors: dict[str, Forecast]
    notes: list[str]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        names = ("seconds", "peak_rss_bytes", "error", "metric", "notes")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class _Settings:
    plan: Plan
    delta: float
    code_lengths: CodeLengths | None
    n_bytes: int


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """Of one file: seconds to make it, seconds to measure it at the end, and the peak."""

    seconds: float
    finish_seconds: float
    peak_bytes: int


def predict(job: Job, models: list[Any], target: int | None, started: float) -> Prediction:
    """What `run` would do. models: as for `run`. started: time.monotonic() before the model was loaded."""
    with TemporaryDirectory(prefix="tersor-plan-") as name, ExitStack() as stack:
        return _predict(job, models, target, started, Path(name), stack)


def _predict(
    job: Job, models: list[Any], target: int | None, started: float, work: Path, stack: ExitStack
) -> Prediction:
    loading_seconds = time.monotonic() - started
    start = take_start(job, models[0], work)
    tokenizer, texts = start.tokenizer, start.texts
    # What is removed is really removed, and recovered: the rest of the plan goes by it.
    job, facts = make_smaller(job, models, start, work, None, stack)
    natural = natural_metric(models[0], texts.calibration.sequences)
    seconds = time.monotonic() - started
    # Each file that is evaluated is loaded as the original was, and run over the text that is held out.
    evaluating = loading_seconds + _forward_over(models[0], texts.held_out) if texts.held_out else 0.0
    loading_peak = phase_peak_bytes()
    statistics, calibrating, notes = _statistics(job, models[0], texts, tokenizer, work)
    notes = [*removal_notes(job, facts), *notes]
    job.prune(statistics, work / "pruned")
    recovering = _recovering(job, models[0], tokenizer, texts, target)
    models.clear()
    gc.collect()
    begin_phase()
    began = time.monotonic()
    settings = _settings(job, statistics, target)
    searching = time.monotonic() - began
    tensors = forecast_tensors(
        job.read,
        settings.plan,
        statistics,
        settings.delta,
        code_lengths=settings.code_lengths,
        threads=job.threads,
        original=job.weights.read,
    )
    rehearsal = _rehearse(job, statistics, settings, work)
    n_files = _n_files(job, target, natural)
    if n_files > 1:
        notes.append(f"about {n_files} files would be made to meet the budget")
    recovery_seconds = recovering.seconds + rehearsal.seconds * recovering.is_pass
    if recovering.seconds:
        notes.append(
            f"drift correction and tuning take {recovery_seconds:.0f} s of these, and bring the error down"
        )
    known = [found.error for found in tensors.values() if found.error is not None]
    return Prediction(
        plan=settings.plan,
        n_bytes=settings.n_bytes,
        seconds=seconds
        + calibrating
        + searching
        + n_files * (rehearsal.seconds + evaluating)
        + recovery_seconds
        + rehearsal.finish_seconds,
        peak_rss_bytes=max(loading_peak, rehearsal.peak_bytes),
        error=sum(known) if any(known) else None,
        metric="kl" if natural == "perplexity" else natural,
        tensors=tensors,
        notes=notes,
        facts=facts,
    )


def _n_files(job: Job, target: int | None, natural: str) -> int:
    """How many files the search would make."""
    limit = job.recipe.loss_limit
    if limit is not None:
        return USUAL_EVALUATIONS[limit.metric or natural]
    return 1 if target is None else USUAL_FILES


def _forward_over(model: Any, sequences: Sequences) -> float:
    return forward_seconds(model, sequences) * sum(map(len, sequences))


@dataclass(frozen=True, slots=True)
class _Recovering:
    """Expected seconds of recovery: of walks over the text, and whether a drift pass quantizes everything anew."""

    seconds: float = 0.0
    is_pass: bool = False


def _recovering(job: Job, model: Any, tokenizer: Any, texts: Texts, target: int | None) -> _Recovering:
    chosen = recovery_of(job, model, target)
    if chosen.is_nothing:
        return _Recovering()
    text = affordable_text(model, recovery_text(job, tokenizer, model, texts.calibration))
    per_token = forward_seconds(model, text.sequences)
    tuned_tokens = chosen.n_steps * BATCH_TOKENS
    walked_tokens = DRIFT_PASSES * text.n_tokens if chosen.drift else 0
    return _Recovering(per_token * (walked_tokens + TUNING_PASSES * tuned_tokens), chosen.drift)


def _statistics(
    job: Job, model: Any, texts: Texts, tokenizer: Any, work: Path
) -> tuple[Statistics, float, list[str]]:
    """Statistics, the seconds that a run will spend on them, and a note."""
    text, spool = texts.calibration, work / "statistics"
    began = time.monotonic()
    is_cached = are_cached(job, model, text, tokenizer)
    looking = time.monotonic() - began  # the hash of the model
    expected = calibration_seconds(model, text, job.threads)
    if is_cached:
        began = time.monotonic()
        return collect_statistics(job, model, text, tokenizer, spool), time.monotonic() - began, []
    if expected <= CHEAP_SECONDS:
        found = collect_statistics(job, model, text, tokenizer, spool)
        return (
            found,
            looking,
            ["the statistics were collected and are in the cache now: the run finds them there"],
        )
    note = (
        f"calibration will take about {expected:.0f} s of these; without its statistics bits per tensor are rough and "
        "errors unknown"
    )
    return Statistics(work), expected, [note]


def calibration_seconds(model: Any, text: CalibrationText, threads: int) -> float:
    """Expected time of `collect`, from that of a forward pass over a part of the text."""
    passes = FORWARD_PASSES / (1.0 if threads == 1 else SPEEDUP)
    return passes * forward_seconds(model, text.sequences) * text.n_tokens


def forward_seconds(model: Any, sequences: Sequences) -> float:
    """Seconds per token of a forward pass, on one thread."""
    batches = make_batches(sequences, BATCH_TOKENS)
    batch = batches[len(batches) // 2]
    with single_thread(), torch.inference_mode():
        call_model(model, batch)  # the first call is slower
        began = time.monotonic()
        call_model(model, batch)
        return (time.monotonic() - began) / max(int(batch.mask.sum()), 1)


def _settings(job: Job, statistics: Statistics, target: int | None) -> _Settings:
    """What the search would start with."""
    limit = job.recipe.loss_limit
    if not job.plan.follows_step:
        if target is None and limit is None:
            return _sized(job, statistics, job.plan, NO_STEP)
        budget = AIM * target if target is not None else first_budget(job.plan)
        return _sized(job, statistics, _allocated(job, statistics, budget), NO_STEP)
    if target is None:
        assert limit is not None, "a plan that follows the step has a size or a loss"
        return _sized(job, statistics, job.plan, 2.0 ** first_position(job.plan, statistics, limit.amount))
    estimator = SizeEstimator(job.read, job.plan, statistics, threads=job.threads)
    _check_reachable(estimator, target)
    delta = 2.0 ** solve_estimate(estimator, target)[0]
    return _Settings(job.plan, delta, estimator.code_lengths, int(AIM * target))


def _check_reachable(estimator: SizeEstimator, target: int) -> None:
    """Raise BudgetError where a run would, as far as estimates can tell."""
    smallest = estimator(2.0**COARSEST)
    if (1 - ESTIMATE_ERROR) * smallest > target:
        raise too_small(target, round(smallest))
    finest = estimator(2.0**FINEST)
    if (1 + ESTIMATE_ERROR) * finest < target:
        raise BudgetError(
            f"{target:,} bytes cannot be filled: the finest steps make about {finest:,.0f} bytes; ask for at most "
            "that, or store the checkpoint without loss (tersor pack)"
        )


def _sized(job: Job, statistics: Statistics, plan: Plan, delta: float) -> _Settings:
    """Settings whose size is yet to be estimated."""
    estimator = SizeEstimator(job.read, plan, statistics, threads=job.threads)
    return _Settings(plan, delta, estimator.code_lengths, int(estimator(delta)))


def _allocated(job: Job, statistics: Statistics, budget: float) -> Plan:
    found = option_curves(job, statistics)
    curves = list(found.values())
    rest = bytes_beside(job.plan)
    if job.recipe.size is not None:
        _check_options(curves, rest, budget)
    picks = (allocate(curves, budget - rest) if budget > rest else None) or smallest_choices(curves)
    chosen = {number: curve[pick] for (number, curve), pick in zip(found.items(), picks, strict=True)}
    return with_choices(job.plan, chosen)


def _check_options(curves: list[list[Choice]], rest: float, budget: float) -> None:
    """Raise BudgetError where a run would, as far as estimates can tell. rest: bytes beside the curves."""
    smallest = total_bytes(curves, smallest_choices(curves)) + rest
    largest = total_bytes(curves, largest_choices(curves)) + rest
    target = f"{budget / AIM:,.0f} bytes cannot be"
    if (1 - ESTIMATE_ERROR) * smallest > budget:
        raise BudgetError(
            f"{target} reached: the smallest options make about {smallest:,.0f} bytes; ask for that"
        )
    if (1 + ESTIMATE_ERROR) * largest < budget:
        raise BudgetError(
            f"{target} filled: the largest options make about {largest:,.0f} bytes; ask for that"
        )


def _rehearse(job: Job, statistics: Statistics, settings: _Settings, work: Path) -> _Rehearsal:
    """Quantize, write and measure one tensor of each shape, and scale that up to all."""
    attempts = Attempts(job, statistics, [], work)
    attempts.code_lengths = settings.code_lengths
    seconds = finish_seconds = 0.0
    for part in representatives(settings.plan):
        began = time.monotonic()
        attempt = attempts.make(settings.delta, part.plan)
        seconds += part.share * (time.monotonic() - began)
        began = time.monotonic()
        tensor_errors(job, attempt.folder, part.plan)
        finish_seconds += part.share * (time.monotonic() - began)
        attempts.drop(attempt)
    return _Rehearsal(seconds, finish_seconds, phase_peak_bytes())
