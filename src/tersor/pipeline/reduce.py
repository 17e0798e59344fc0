"""Structured steps and recovery of the smaller model: the original becomes a checkpoint that the rest works on."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tersor.calibrate import CalibrationText
from tersor.calibrate.walk import is_small
from tersor.pipeline.job import Job, make_job
from tersor.pipeline.step_meter import StepMeter
from tersor.planner.plan import Plan, TensorPlan
from tersor.recipe import KINDS, Recipe, Step
from tersor.recovery.small import Teacher, make_teacher, tune_small
from tersor.recovery.weights import tune_all
from tersor.sources.folder import scan
from tersor.structured import Reduction, StructuredStep, reduce, save_reduced
from tersor.types import TensorSpec


def reduce_job(
    job: Job,
    models: list[Any],
    text: CalibrationText,
    recovery_text: CalibrationText | None,
    steps: Sequence[Step],
    meter: StepMeter,
    folder: Path,
    stack: ExitStack,
) -> tuple[Job, dict[str, Any]]:
    """Make the smaller model and return the job that goes on with it, and what was done.

    models: the original alone; afterwards the smaller one. text: what is removed goes by it.
    recovery_text: for the steps `recover` that come right after. steps: structured ones, those of the recipe or chosen.
    folder: the smaller checkpoint is written here; it must stay until `stack` is closed.
    """
    recovers = recover_steps(job.recipe)
    original = models[0]
    reduction = _reduce(job, original, text, steps)
    so_far = None
    for number in meter.numbers(steps):
        prefix = [step for step in meter.prefix(number) if step in steps]
        so_far = reduction if len(prefix) == len(steps) else _reduce(job, original, text, prefix)
        meter.measure(number, so_far.model)
    facts: dict[str, Any] = {"reduce": json.loads(json.dumps(reduction.report))}  # keys of layers become text
    if recovers:
        assert recovery_text is not None, "the caller makes a text where the recipe recovers"
        job.progress(0, 1, "running the original over the text")
        teacher = make_teacher(original, recovery_text).of_channels(reduction.channels)
        facts["recover"] = [_recover(job, reduction.model, teacher, step) for step in recovers]
        for number in meter.numbers(recovers):
            meter.measure(number, reduction.model)
    folder.mkdir(parents=True)
    save_reduced(reduction, job.original.root, folder)
    del original, reduction, so_far
    models.clear()
    gc.collect()  # models are full of cycles
    return _go_on(job, models, folder, stack), facts


def recover_steps(recipe: Recipe) -> list[Step]:
    """The steps that tune the smaller model: those before anything is done to single tensors."""
    found = []
    for step in recipe.all_steps:
        if KINDS[step.kind].place not in ("structure", "recover"):
            break
        if step.kind == "recover":
            found.append(step)
    return found


def _reduce(job: Job, model: Any, text: CalibrationText, steps: Sequence[Step]) -> Reduction:
    return reduce(
        model,
        text,
        [StructuredStep(step.kind, step.options) for step in steps],
        seed=job.recipe.seed,
        progress=job.progress,
    )


def _recover(job: Job, model: Any, teacher: Teacher, step: Step) -> dict[str, Any]:
    """Tune a model's weights in place; return what it brought."""
    what, n_steps = step.option("what"), step.option("steps")
    rate = step.option("learning_rate")
    given = {} if rate is None else {"learning_rate": rate}

    def progress(done: int, total: int) -> None:
        job.progress(done, total, f"recovering: {what} weights")

    seed = job.recipe.seed
    if what == "all":
        tuned = tune_all(model, teacher, seed=seed, n_steps=n_steps, progress=progress, **given)
        return _recovered(what, tuned.n_steps, tuned.before, tuned.after)
    small = tune_small(
        model, teacher, small_plan(model), seed=seed, n_steps=n_steps, progress=progress, **given
    )
    return _recovered(what, small.n_steps, small.before, small.after)


def _recovered(what: str, n_steps: int, before: float, after: float) -> dict[str, Any]:
    return {"what": what, "n_steps": n_steps, "error": [before, after]}


def small_plan(model: Any) -> Plan:
    """A plan of the small parameters of a float model, for tuning."""
    specs = [TensorSpec(name, "F32", tuple(p.shape)) for name, p in model.named_parameters()]
    small = [spec for spec in specs if is_small(spec.shape)]
    return Plan(tuple(TensorPlan(spec, "float", "small", spec.name, is_fixed=True) for spec in small))


def _go_on(job: Job, models: list[Any], folder: Path, stack: ExitStack) -> Job:
    """The job of the smaller checkpoint; its model is loaded as every other."""
    from tersor.load import load_checked

    checkpoint = scan(folder)
    weights = stack.enter_context(checkpoint.open_weights())
    models.append(load_checked(folder, dtype="float32")[0])
    return make_job(checkpoint, weights, models[0], job.recipe, job.threads, job.progress, job.original)
