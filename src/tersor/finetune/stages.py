"""The stages of a run. Each leaves a folder and a record in the work folder, and is skipped if they are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import structs
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tersor.calibrate.text import LINES_SUFFIX
from tersor.errors import UsageError
from tersor.finetune.archive_model import ArchiveModel
from tersor.finetune.gain_weights import GAIN_BYTES
from tersor.finetune.models import load_for_task, save_plain, scan_model, stored_dtype
from tersor.finetune.objective import Teacher
from tersor.finetune.plan import Run
from tersor.finetune.result import weight_bytes
from tersor.finetune.settings import Settings
from tersor.finetune.task_stage import Course, judge, tune_all_weights
from tersor.finetune.tracking import prepare_trackers
from tersor.finetune.trainer import multiplies_bf16
from tersor.finetune.work import WorkFolder
from tersor.pipeline import compress
from tersor.recipe.size import parse_size

REFERENCE, SMALL, TUNED, LATENT = "reference", "small", "tuned", "latent"
# A head that is trained is stored more finely than compression did: about 10.5 bits per weight, tables included.
_HEAD_BITS = 10.5


def task_stage(run: Run, work: WorkFolder) -> dict[str, Any]:
    """Train all weights on the labels; the plain checkpoint is then in REFERENCE."""
    done = work.done("task")
    if done is not None:
        return done
    run.progress(0, 1, "loading the model")
    loaded = load_for_task(run.source, run.task, run.data.labels, seed=run.seed)
    teacher = teacher_of(run, run.teacher)
    course = course_of(run, "training on the task", run.task_settings)
    if run.task_settings.epochs or run.task_settings.max_steps:
        record = tune_all_weights(loaded, course, work.checkpoints("task"), teacher)
    elif loaded.missing:
        raise UsageError(
            f"{run.source}: has no head for {run.task.name} yet, so 0 epochs cannot do; train it first"
        )
    else:
        record = {"log": [], "n_steps": 0, "metrics": judge(loaded, course)}
    folder = work.fresh(REFERENCE)
    save_plain(loaded, scan_model(run.source), folder, stored_dtype(run.source))
    return work.finish("task", {"stage": "task", "settings": run.task_settings.to_json(), **record})


def compress_stage(run: Run, work: WorkFolder, reference: Path, *, resume: bool) -> dict[str, Any]:
    """Compress the trained model, calibrated on the task's own text; the archive is then in SMALL."""
    done = work.done("compress")
    if done is not None:
        return done
    assert run.recipe is not None, "only called with a recipe"
    recipe = run.recipe
    if recipe.calibration is None:
        recipe = structs.replace(recipe, calibration=str(task_text(run, work)))
    limit = _limit_of(run, reference)
    if limit is not None:
        recipe = structs.replace(recipe, size=f"{limit - head_reserve(run, reference)}B")
    result = compress(
        reference,
        work.path / SMALL,
        recipe=recipe,
        threads=run.threads,
        force=True,
        resume=resume,
        progress=run.progress,
    )
    metrics = evaluate_folder(run, work.path / SMALL)
    record = {
        "stage": "compress",
        "original": result["input"],
        "output": result["output"],
        "limit": limit,
        "seconds": result["seconds"],
        "metrics": metrics,
    }
    return work.finish("compress", record)


def evaluate_folder(run: Run, folder: Path) -> list[dict[str, Any]]:
    """Metrics of a model as its folder holds it, on development and test data."""
    run.progress(0, 1, "measuring")
    loaded = load_for_task(folder, run.task, run.data.labels, seed=run.seed)
    return judge(loaded, course_of(run, "measuring", run.task_settings))


def task_text(run: Run, work: WorkFolder) -> Path:
    """The training sentences as a calibration text, one a line."""
    path = work.path / f"{run.task.name}-sentences{LINES_SUFFIX}"
    lines = (" ".join(sentence.split()) for sentence in run.data.sentences)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _limit_of(run: Run, reference: Path) -> int | None:
    """Bytes that `size` (or the recipe's) allows; None if none is given."""
    assert run.recipe is not None, "only called with a recipe"
    if run.recipe.size is None:
        return None
    return parse_size(run.recipe.size).n_bytes(weight_bytes(reference), run.n_params)


def head_reserve(run: Run, reference: Path) -> int:
    """Bytes that the trained head, and factors of rows, will take beyond what compression gives them."""
    loaded = load_for_task(reference, run.task, run.data.labels, seed=run.seed)
    head = ArchiveModel(reference, loaded, {}).head()
    n_elements = sum(parameter.numel() for parameter in head.values() if parameter.ndim > 1)
    n_rows = 0
    if run.train == "small" and run.tune_settings.gains:
        n_rows = sum(layer.out_features for layer in loaded.model.modules() if isinstance(layer, nn.Linear))
    return int(n_elements * _HEAD_BITS / 8) + GAIN_BYTES * n_rows + 64


def teacher_of(run: Run, folder: Path | None) -> Teacher | None:
    if folder is None:
        return None
    loaded = load_for_task(folder, run.task, run.data.labels, seed=run.seed)
    if loaded.missing:
        raise UsageError(
            f"teacher {folder}: lacks the weights {', '.join(loaded.missing[:3])}; fine-tune it first"
        )
    settings = run.tune_settings
    bf16 = multiplies_bf16() if settings.bf16 is None else settings.bf16
    return Teacher(loaded.model, run.data.kind, hidden=settings.hidden > 0, bf16=bf16)


def course_of(run: Run, what: str, settings: Settings) -> Course:
    prepare_trackers(run.trackers, run.output)
    steps = _Steps(run.progress, what)
    return Course(run.data, settings, run.seed, run.threads, run.trackers, run.output.name, (steps,))


class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers carries no types
    """Reports the Trainer's steps as progress."""

    def __init__(self, progress: Callable[[float, float, str], None], what: str) -> None:
        self._progress, self._what = progress, what

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._progress(state.global_step, state.max_steps, self._what)
