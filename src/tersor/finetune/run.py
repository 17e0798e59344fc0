"""`finetune`: the stages of a run in order, each one repeatable after a kill."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from tersor.finetune.plan import Run, make_run
from tersor.finetune.result import archive_facts, history_entry, weight_bytes
from tersor.finetune.stages import REFERENCE, SMALL, TUNED, compress_stage, task_stage
from tersor.finetune.tuning import tuning_stage
from tersor.finetune.work import WorkFolder
from tersor.history import read_history, write_history
from tersor.output import OutputFolder
from tersor.process import peak_rss_bytes
from tersor.recipe import Recipe

Progress = Callable[[float, float, str], None]


def finetune(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    task: str,
    data: str | PathLike[str],
    size: str | None = None,
    recipe: Recipe | Mapping[str, object] | str | Path | None = None,
    teacher: str | PathLike[str] | None = None,
    train: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int = 1,
    report_to: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a model for a task and write it to `output`, within `size`.

    source: a plain checkpoint: all its weights are trained on the labels; with `size` or a recipe the result is then
        compressed, calibrated on the task's own text, and tuned against the trained original. Or an archive of
        `compress`: only tuned, what it stores (codes, masks, factors) stays in its form.
    task: "ner", "classification" or "lm". data: a folder with splits by the usual names, or a file to train on.
    size: the most that the weight files may take, as for `compress`; of an archive the bytes that it has.
    teacher: the original that an archive was made of, trained for the task: outputs are drawn towards its own.
    train: "small": norms, biases and head, codes stay; "codes": codes and steps too, gradients straight through the
        rounding. None: "small".
    settings: of the last stage by name (`Settings`), of one stage as "task.NAME" and "tune.NAME".
    threads: of torch. Unlike elsewhere in tersor, sums may differ in the last bits with their number.
    report_to: "tensorboard" (events lie in OUTPUT.runs) and "wandb".
    resume: go on where an interrupted run with the same arguments stopped; the result has the same bytes.
    Returns JSON: input, output (path, n_bytes, ratio, bits_per_weight), task, labels, stages, metrics, seconds, ...
    Raises: UsageError (data, labels, settings), BudgetError, OutputExistsError, MissingExtraError.
    """
    started = time.monotonic()
    run = make_run(
        Path(source),
        Path(output),
        task=task,
        data=Path(data),
        size=size,
        recipe=recipe,
        teacher=None if teacher is None else Path(teacher),
        train=train,
        settings=settings or {},
        seed=seed,
        threads=threads,
        report_to=report_to,
        progress=progress or _silent,
    )
    target = OutputFolder(Path(output), force=force, inputs=run.inputs)
    work = WorkFolder(Path(output), run.identity(), resume=resume)
    finished, archive, stages = _run_stages(run, work, resume)
    with target as folder:
        _put(finished, folder)
        if run.is_compressed:
            write_history(folder, _history(run, archive, finished, stages))
    result = _result(run, Path(output), stages, started)
    work.remove()
    return result


def _run_stages(run: Run, work: WorkFolder, resume: bool) -> tuple[Path, Path, list[dict[str, Any]]]:
    """(the folder that holds the result, the archive that was tuned, a record of each stage)."""
    stages = []
    current, teacher = run.source, run.teacher
    if not run.source_is_archive:
        stages.append(task_stage(run, work))
        current = teacher = work.path / REFERENCE
    if not run.is_compressed:
        return current, current, stages
    if not run.source_is_archive:
        stages.append(compress_stage(run, work, current, resume=resume))
        current = work.path / SMALL
    stages.append(tuning_stage(run, work, current, teacher))
    return work.path / TUNED, current, stages


def _put(finished: Path, folder: Path) -> None:
    """Copy a finished folder's files: the work folder stays until the output is in its place."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)


def _history(
    run: Run, archive: Path, finished: Path, stages: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The earlier entries of the archive that was tuned, those of codes made anew, then one for each training."""
    facts = archive_facts(finished)
    earlier, own = read_history(archive), read_history(finished)
    earlier += [entry for entry in own if entry not in earlier]
    trained = [stage for stage in stages if "log" in stage]
    return [*earlier, *(history_entry(run.task.name, stage, facts) for stage in trained)]


def _result(run: Run, output: Path, stages: Sequence[Mapping[str, Any]], started: float) -> dict[str, Any]:
    n_bytes = weight_bytes(output)
    # Sizes are relative to the trained original, which has a head that the source may lack.
    measured: dict[str, Any] = next((stage["original"] for stage in stages if "original" in stage), {})
    n_input = measured.get("n_bytes", run.n_original_bytes)
    n_params = measured.get("n_params", run.n_params)
    return {
        "input": {"path": str(run.source), "n_bytes": n_input, "n_params": n_params},
        "output": {
            "path": str(output),
            "n_bytes": n_bytes,
            "ratio": n_bytes / n_input if n_input else None,
            "bits_per_weight": 8 * n_bytes / n_params if n_params else None,
        },
        "task": run.task.name,
        "labels": list(run.data.labels),
        "stages": [{name: value for name, value in stage.items() if name != "log"} for stage in stages],
        "metrics": list(stages[-1]["metrics"]),
        "seed": run.seed,
        "seconds": time.monotonic() - started,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def _silent(_done: float, _total: float, _what: str) -> None:
    """Report nothing."""
