"""The steps of a compression in order: side files, calibration, the search for the settings, recovery."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

from tersor.pipeline.attempts import Attempt, Attempts
from tersor.pipeline.by_loss import meet_loss
from tersor.pipeline.by_size import NO_STEP, meet_size
from tersor.pipeline.calibration import collect_statistics, load_tokenizer, make_texts
from tersor.pipeline.job import Job
from tersor.pipeline.journal import Journal
from tersor.pipeline.loss import LossMeter
from tersor.pipeline.recover import recover, recovery_text
from tersor.pipeline.reload import load_attempt
from tersor.pipeline.side_files import copy_side_files
from tersor.recovery.choice import choose_recovery

_WORK = ".work"


def run(job: Job, models: list[Any], target: int | None, folder: Path, journal: Journal) -> Attempt:
    """Calibrate, find the settings, and leave the finished archive in `folder`.

    models: the loaded model, alone in a list: it is taken out, so that it can be freed when it is no longer needed.
    target: bytes; None: the recipe's loss decides, or its options alone.
    Returns the attempt whose files were moved to `folder`.
    """
    side_files = copy_side_files(job, folder)
    work = folder / _WORK
    work.mkdir()
    tokenizer = load_tokenizer(job.checkpoint.root)
    texts = make_texts(job, tokenizer, models[0])
    limit = job.recipe.loss_limit
    meter = None
    if limit is not None:
        meter = LossMeter(models[0], texts.held_out, limit.metric, work / "loss")
    statistics = collect_statistics(job, models[0], texts.calibration, tokenizer, work / "statistics")
    recovery = choose_recovery(
        models[0],
        job.plan,
        drift=job.recipe.drift,
        tune=job.recipe.tune,
        bits_per_weight=None if target is None else 8 * target / job.n_params,
    )
    recovery_sample = (
        None if recovery.is_nothing else recovery_text(job, tokenizer, models[0], texts.calibration)
    )
    models.clear()  # from here on the checkpoint's own bytes are read, tensor by tensor
    gc.collect()  # a model is full of cycles: without this its weights stay in memory to the end
    attempts = Attempts(job, statistics, side_files, work)
    if target is not None:
        meet_size(job, statistics, attempts, journal, target)
    elif meter is not None and limit is not None:
        meet_loss(job, statistics, attempts, journal, meter, limit.amount)
    else:
        attempts.keep(attempts.make(NO_STEP))
    if recovery_sample is not None:
        recover(job, statistics, attempts, recovery_sample, recovery, target, work)
    best = attempts.best
    assert best is not None, "each search keeps one or raises"
    if meter is not None and limit is not None and not recovery.is_nothing:
        best.facts["loss"] = meter.measure(load_attempt(job, best)).to_json(limit.amount)
    for name in job.names.values():
        (best.folder / name).replace(folder / name)
    shutil.rmtree(work)
    return best
