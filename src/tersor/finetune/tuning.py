"""The last stage: an archive is trained in its form, and the better of before and after is kept."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tersor.errors import BudgetError
from tersor.finetune.archive_model import ArchiveModel, open_model
from tersor.finetune.codes_stage import train_codes
from tersor.finetune.models import load_for_task
from tersor.finetune.plan import Run
from tersor.finetune.requantize import compress_latent, has_unbounded_codes, save_latent
from tersor.finetune.result import is_better, metric_of, weight_bytes
from tersor.finetune.small_stage import Stage, tune_small
from tersor.finetune.stages import (
    LATENT,
    REFERENCE,
    TUNED,
    course_of,
    evaluate_folder,
    head_reserve,
    task_text,
    teacher_of,
)
from tersor.finetune.tracking import CodesLog
from tersor.finetune.work import WorkFolder
from tersor.finetune.write import head_tensors, write_within
from tersor.pipeline.rewrite import Changes, rewrite
from tersor.recipe.size import parse_size

_INDEX_ROOM = 128  # entropy tables and the index are made anew too, and may differ by some bytes


def tuning_stage(run: Run, work: WorkFolder, source: Path, teacher: Path | None) -> dict[str, Any]:
    """Train what an archive holds, in its form; the better of before and after is then in TUNED."""
    done = work.done("tune")
    if done is not None:
        return done
    compressed = work.done("compress") or {}
    limit = compressed.get("limit") or _limit(run, work, source)
    before = compressed.get("metrics") or evaluate_folder(run, source)
    loaded = load_for_task(source, run.task, run.data.labels, seed=run.seed)
    model = open_model(source, loaded)
    course = replace(course_of(run, "tuning the small model", run.tune_settings), extra_logs=CodesLog(model))
    train = tune_small if run.train == "small" else train_codes
    stage = train(model, course, work.checkpoints("tune"), teacher_of(run, teacher))
    written = _write(run, work, stage, source, limit)
    after = evaluate_folder(run, work.path / TUNED)
    name, greater = run.data.metric, run.data.greater_is_better
    found, earlier = metric_of(after, "dev", name), metric_of(before, "dev", name)
    kept = bool(loaded.missing) or is_better(found, earlier, greater)
    if not kept:  # what is there already is better: it stays as it is
        shutil.copytree(source, work.fresh(TUNED), dirs_exist_ok=True)
    record = {
        "stage": "tune",
        "train": run.train,
        "settings": run.tune_settings.to_json(),
        "before": before,
        **stage.record,
        **written,
        "trained_metrics": after,
        "kept": kept,
        "n_bytes": weight_bytes(work.path / TUNED),
        "limit": limit,
        "metrics": after if kept else before,
    }
    return work.finish("tune", record)


def _write(run: Run, work: WorkFolder, stage: Stage, source: Path, limit: int) -> dict[str, Any]:
    """The trained archive in TUNED, within the limit; what was done for that."""
    provenance = {"finetune": {"task": run.task.name, "train": run.train, "seed": run.seed}}
    is_code = run.train == "codes"
    if is_code and run.tune_settings.requantize and has_unbounded_codes(stage.model):
        _make_anew(run, work, stage.model, source, limit, provenance)
        return {"requantized": True}
    _, widening = write_within(
        stage.model, stage.values, limit, work, TUNED, provenance, codes=is_code, threads=run.threads
    )
    return {"requantized": False, "widening": asdict(widening)}


def _make_anew(
    run: Run, work: WorkFolder, model: ArchiveModel, source: Path, limit: int, provenance: dict[str, Any]
) -> None:
    """Compress the latent weights as the archive was compressed; TUNED then also says that they were trained."""
    save_latent(model, work.fresh(LATENT))
    made = work.path / "requantized"
    # What says that the codes were trained takes some bytes of the index.
    compress_latent(
        work.path / LATENT,
        source,
        made,
        n_bytes=limit - len(str(provenance)) - _INDEX_ROOM,
        calibration=task_text(run, work),
        threads=run.threads,
        progress=run.progress,
    )
    rewrite(made, Changes(provenance=provenance), work.fresh(TUNED), threads=run.threads)


def _limit(run: Run, work: WorkFolder, source: Path) -> int:
    """Bytes that a tuned archive may have: those of --size, else those it has and those of a head that is trained."""
    has = weight_bytes(source)
    if not run.source_is_archive:  # the recipe's method set the size
        return has + head_reserve(run, work.path / REFERENCE)
    if run.size is not None:
        limit = parse_size(run.size).n_bytes(run.n_original_bytes, run.n_params)
        if limit < has and run.train == "small":
            raise BudgetError(
                f"{source}: has {has:,} bytes, which tuning with frozen codes cannot bring to {limit:,}; compress the "
                "original to that size first"
            )
        return limit
    loaded = load_for_task(source, run.task, run.data.labels, seed=run.seed)
    head = head_tensors(open_model(source, loaded), 1.0)
    return has + sum(int(2 * spec.n_elements) + 256 for spec, _ in head.values())
