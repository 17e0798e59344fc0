"""The steps of a compression in order: a smaller model, calibration, the search for the settings, recovery."""

from __future__ import annotations

import gc
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tersor.calibrate import Statistics
from tersor.pipeline.attempts import Attempt, Attempts
from tersor.pipeline.by_loss import meet_loss
from tersor.pipeline.by_size import NO_STEP, meet_size
from tersor.pipeline.calibration import Texts, collect_statistics, load_tokenizer, make_texts
from tersor.pipeline.faster import choose_faster
from tersor.pipeline.job import Job
from tersor.pipeline.journal import Journal
from tersor.pipeline.loss import LossMeter
from tersor.pipeline.recover import recover, recovery_of, recovery_text
from tersor.pipeline.reduce import recover_steps, reduce_job
from tersor.pipeline.reload import load_attempt
from tersor.pipeline.side_files import copy_side_files
from tersor.pipeline.step_meter import StepMeter
from tersor.recipe import KINDS

_WORK = ".work"


@dataclass(slots=True)
class Finished:
    """What a run left: the job of the checkpoint that was stored, and the attempt whose files are in place."""

    job: Job
    best: Attempt


@dataclass(slots=True)
class Start:
    """What is taken from the original before it becomes anything else."""

    tokenizer: Any
    texts: Texts
    loss: LossMeter | None
    steps: StepMeter


def run(
    job: Job, models: list[Any], target: int | None, folder: Path, journal: Journal, stack: ExitStack
) -> Finished:
    """Carry out the recipe and leave the finished archive in `folder`.

    job: of the original. models: the loaded model, alone in a list: it is taken out, so that it can be freed.
    target: bytes; None: the recipe's loss decides, or its options alone.
    stack: closes what the returned job reads from.
    """
    work = folder / _WORK
    work.mkdir()
    start = take_start(job, models[0], work)
    job, facts = make_smaller(job, models, start, folder.parent, journal, stack)
    side_files = copy_side_files(job, folder)
    tokenizer, limit = start.tokenizer, job.recipe.loss_limit
    statistics = collect_statistics(job, models[0], start.texts.calibration, tokenizer, work / "statistics")
    job.prune(statistics, work / "pruned")
    recovery = recovery_of(job, models[0], target)
    recovery_sample = (
        None if recovery.is_nothing else recovery_text(job, tokenizer, models[0], start.texts.calibration)
    )
    models.clear()  # from here on the checkpoint's own bytes are read, tensor by tensor
    gc.collect()  # a model is full of cycles: without this its weights stay in memory to the end
    attempts = Attempts(job, statistics, side_files, work, facts)
    if target is not None:
        meet_size(job, statistics, attempts, journal, target)
    elif start.loss is not None and limit is not None:
        meet_loss(job, statistics, attempts, journal, start.loss, limit.amount)
    else:
        attempts.keep(attempts.make(NO_STEP))
    if recovery_sample is not None:
        recover(job, statistics, attempts, recovery_sample, recovery, target, work)
    best = attempts.best
    assert best is not None, "each search keeps one or raises"
    if start.loss is not None and limit is not None and not recovery.is_nothing:
        best.facts["loss"] = start.loss.measure(load_attempt(job, best)).to_json(limit.amount)
    _measure_steps(job, attempts, best, start.steps)
    best.facts |= {"sensitivity": _sensitivity(statistics), "curves": attempts.curves}
    for name in job.names.values():
        (best.folder / name).replace(folder / name)
    shutil.rmtree(work)
    return Finished(job, best)


def take_start(job: Job, original: Any, work: Path) -> Start:
    """Texts, and the meters that compare with the original. work: an empty folder."""
    tokenizer = load_tokenizer(job.original.root)
    texts = make_texts(job, tokenizer, original)
    limit = job.recipe.loss_limit
    meter = None if limit is None else LossMeter(original, texts.held_out, limit.metric, work / "loss")
    steps = StepMeter(job.recipe, original, texts.held_out, work / "step-losses")
    return Start(tokenizer, texts, meter, steps)


def make_smaller(
    job: Job, models: list[Any], start: Start, beside: Path, journal: Journal | None, stack: ExitStack
) -> tuple[Job, dict[str, Any]]:
    """The job of the smaller checkpoint and what was done to make it; the same job if nothing is removed.

    beside: a folder on the disk that the smaller checkpoint shall lie on until `stack` is closed.
    """
    facts: dict[str, Any] = {}
    steps = job.recipe.steps_at("structure")
    if job.recipe.latency_limit is not None:
        faster = choose_faster(job, models[0], start.texts.calibration, journal)
        steps, facts["latency"] = faster.steps, faster.to_json()
    if not steps:
        return job, facts
    text = None
    if recover_steps(job.recipe):
        text = recovery_text(job, start.tokenizer, models[0], start.texts.calibration)
    folder = stack.enter_context(TemporaryDirectory(dir=beside, prefix=".tersor-smaller-"))
    smaller, done = reduce_job(
        job, models, start.texts.calibration, text, steps, start.steps, Path(folder) / "model", stack
    )
    return smaller, facts | done


def _measure_steps(job: Job, attempts: Attempts, best: Attempt, meter: StepMeter) -> None:
    """Measure steps on single tensors and what follows: the last on the finished file, others in a file made for it."""
    last = max((n for n, step in enumerate(job.recipe.all_steps) if KINDS[step.kind].per_tensor), default=-1)
    for number in meter.left():
        if number >= last:
            meter.measure(number, load_attempt(job, best))
            continue
        attempt = attempts.make(best.delta, job.plan_of(meter.prefix(number)))
        meter.measure(number, load_attempt(job, attempt))
        gc.collect()
        attempts.drop(attempt)
    if meter.rows:
        best.facts["steps"] = meter.rows


def _sensitivity(statistics: Statistics) -> dict[str, float]:
    """How much an error in each parameter matters to the model's output, where it was measured."""
    return {name: float(value) for name, value in sorted(statistics.errors.items())}
