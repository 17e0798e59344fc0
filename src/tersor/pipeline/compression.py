"""`compress`: checks everything, then runs the steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

from tersor.archive.folder import CONFIG_NAME
from tersor.archive.reader import open_archive
from tersor.errors import UsageError
from tersor.history import write_history
from tersor.output import OutputFolder
from tersor.pipeline.describe import history_entry, plan_json, result_json
from tersor.pipeline.dry_run import predict
from tersor.pipeline.job import Progress, make_job
from tersor.pipeline.journal import open_journal
from tersor.pipeline.run import run
from tersor.planner.plan import check_budget
from tersor.recipe import Recipe, resolve_recipe
from tersor.sources.folder import ARCHIVE_SUFFIX, Checkpoint, scan


def compress(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    size: str | None = None,
    max_loss: str | None = None,
    metric: str | None = None,
    max_latency: str | None = None,
    purpose: str | None = None,
    recipe: Recipe | Mapping[str, object] | str | Path | None = None,
    calibration: str | PathLike[str] | None = None,
    seed: int | None = None,
    threads: int = 1,
    force: bool = False,
    dry_run: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write an archive that `AutoModel.from_pretrained` opens, of at most `size` bytes or losing at most `max_loss`.

    source: folder of a Hugging Face model (config.json, tokenizer, safetensors or .bin weights).
    size: all bytes of the archive's weight files: "0.15x" of the original's, "12MB", "3.2bpw"; at least 99.5% is used.
    max_loss: "1%" of `metric` (perplexity, embedding), or "0.02nats" of kl, on text that calibration does not see: the
        smallest file that keeps it.
    max_latency: "0.8x" of the original's time on this machine, or "12ms": heads, neurons and layers are removed until
        it is kept; beside size or max_loss.
    purpose: "storage" (default), "cpu", "gguf" or "vllm": only what that can run.
    recipe: all of these, method, options, targets, calibration and seed in one; arguments given beside it win. A
        method whose options set the size needs neither size nor max_loss.
    calibration: UTF-8 text like what the model will see; None: the built-in text, which is worse.
    threads: change speed only. force: replace an archive at `output`. dry_run: return the plan, write nothing.
    resume: go on from what an interrupted run with the same arguments left in the cache; the bytes are the same.
    progress: called with (done, total, what).
    Returns the JSON of docs/cli.md; a tensor's `error` is its relative squared error, measured on the finished file.
    Guarantee: the same source, recipe, versions and machine give the same bytes.
    Memory: the loaded model, one tensor, and the Hessians of a group of layers.
    Raises: UsageError, BudgetError (names the nearest size), NonFiniteError, OutputError, OutputExistsError.
    """
    started = time.monotonic()
    chosen = resolve_recipe(
        recipe,
        size=size,
        max_loss=max_loss,
        metric=metric,
        max_latency=max_latency,
        purpose=purpose,
        calibration=_as_path(calibration),
        seed=seed,
    )
    if threads < 1:
        raise UsageError(f"threads={threads}: needs 1 or more")
    checkpoint = _scan(source)
    # Refuses at once what could not be written later.
    target_folder = OutputFolder(Path(output), force=force, inputs=[Path(source)])
    report = progress or _silent
    with checkpoint.open_weights() as weights:
        report(0, 1, "loading the model")
        models = [_load(checkpoint.root)]
        job = make_job(checkpoint, weights, models[0], chosen, threads, report)
        target = None if chosen.budget is None else chosen.budget.n_bytes(job.n_input_bytes, job.n_params)
        if target is not None:
            check_budget(job.plan, target)
        if dry_run:
            found = predict(job, models, target, started)
            return plan_json(job, found, str(source), str(output), started)
        journal = open_journal(job, resume=resume)
        with target_folder as folder, journal.until_decided(), ExitStack() as stack:
            finished = run(job, models, target, folder, journal, stack)
            result = result_json(finished.job, finished.best, folder, str(source), str(output), started)
            write_history(folder, [history_entry(result, finished.best)])
            return result


def _scan(source: str | PathLike[str]) -> Checkpoint:
    _refuse_archive(Path(source))
    checkpoint = scan(Path(source))
    if checkpoint.find(CONFIG_NAME) is None:
        raise UsageError(
            f"{source}: no config.json here; compress needs the folder of a Hugging Face model. "
            "Any other checkpoint can be stored without loss: tersor pack"
        )
    return checkpoint


def _refuse_archive(source: Path) -> None:
    """Raise UsageError for an archive, with what to do about it."""
    if not source.is_dir() or not any(source.glob(f"*{ARCHIVE_SUFFIX}")):
        return
    with open_archive(source) as archive:
        lossless = archive.folder is not None and archive.folder.lossless
    if lossless:
        raise UsageError(
            f"{source}: is a packed checkpoint; `tersor unpack {source} -o DIR` gives what to compress"
        )
    raise UsageError(
        f"{source}: is compressed already, and what was rounded is gone: another size is made from the original "
        "checkpoint; to go on from this one all the same, save it plain: tersor.load(...).save_pretrained(DIR)"
    )


def _load(folder: Path) -> Any:
    from tersor.load import load_checked

    return load_checked(folder, dtype="float32")[0]


def _as_path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _silent(_done: float, _total: float, _what: str) -> None:
    """Report nothing."""
