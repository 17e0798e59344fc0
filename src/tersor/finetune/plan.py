"""One run, checked: every argument is read and refused before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tersor.archive.inspect import inspect
from tersor.archive.writer import producer_name
from tersor.errors import UsageError
from tersor.finetune.data import Task, data_files, task_of
from tersor.finetune.features import TaskData
from tersor.finetune.models import (
    is_archive,
    known_labels,
    load_tokenizer,
    require_model,
    require_training,
    scan_model,
)
from tersor.finetune.result import weight_bytes, weight_files
from tersor.finetune.settings import MODES, TRACKERS, Settings, changed
from tersor.finetune.work import digest_of
from tersor.recipe import Recipe, resolve_recipe
from tersor.recipe.size import parse_size
from tersor.registry import did_you_mean

# Of the tuning of an archive. A step costs .67 (small) and 1.06 (codes) of one of plain fine-tuning: MiniLM, 32
# sentences of CoNLL-2003, one thread, medians of CPU time.
_TUNING = Settings(weight_decay=0.0, patience=0)
SMALL_DEFAULTS = replace(
    _TUNING, max_steps=200, learning_rate=2e-3, warmup=0.1, labels=0.0, head_rate=1.0, step_rate=1.0
)
CODES_DEFAULTS = replace(_TUNING, epochs=2.0, learning_rate=1e-4, labels=0.5)
_STAGES = ("task", "tune")

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that a run is told, and the task's data.

    recipe: for compression, None: the source is an archive, or the result stays plain. task_settings, tune_settings: of
    the stages. n_original_bytes: of the weight files that sizes are relative to. labels: those of the model; known: it
    had them before.
    """

    source: Path
    output: Path
    task: Task
    data_path: Path
    data: TaskData
    size: str | None
    recipe: Recipe | None
    teacher: Path | None
    train: str
    task_settings: Settings
    tune_settings: Settings
    seed: int
    threads: int
    trackers: tuple[str, ...]
    progress: Progress
    source_is_archive: bool
    n_original_bytes: int
    n_params: int

    @property
    def is_compressed(self) -> bool:
        return self.source_is_archive or self.recipe is not None

    @property
    def inputs(self) -> list[Path]:
        """What is read: the output may not lie in it."""
        return [self.source, self.data_path, *([self.teacher] if self.teacher else [])]

    def identity(self) -> dict[str, Any]:
        """What tells this run from others: a resumed one must be the same."""
        return {
            "version": producer_name(),
            "source": str(self.source.resolve()),
            "weights": digest_of(weight_files(self.source)),
            "task": self.task.name,
            "data": digest_of(data_files(self.data_path).values()),
            "size": self.size,
            "recipe": None if self.recipe is None else self.recipe.to_dict(),
            "teacher": None if self.teacher is None else str(self.teacher.resolve()),
            "train": self.train,
            "task_settings": self.task_settings.to_json(),
            "tune_settings": self.tune_settings.to_json(),
            "seed": self.seed,
            "threads": self.threads,
        }


def make_run(
    source: Path,
    output: Path,
    *,
    task: str,
    data: Path,
    size: str | None,
    recipe: Recipe | Mapping[str, object] | str | Path | None,
    teacher: Path | None,
    train: str | None,
    settings: Mapping[str, Any],
    seed: int,
    threads: int,
    report_to: Sequence[str],
    progress: Progress,
) -> Run:
    """Check all arguments and read the data. Raises: UsageError, MissingExtraError."""
    chosen_task = task_of(task)
    mode = _mode(train)
    trackers = _trackers(report_to)
    from_archive = is_archive(source)
    if threads < 1:
        raise UsageError(f"threads={threads}: needs 1 or more")
    if not 0 <= seed < 1 << 32:
        raise UsageError(f"seed={seed}: needs 0 to 4294967295")
    task_settings, tune_settings = stage_settings(
        settings, mode, with_teacher=True, from_archive=from_archive
    )
    resolved = _recipe(size, recipe, seed, from_archive)
    require_training()
    require_model(source)
    if from_archive and teacher is None:
        _, tune_settings = stage_settings(settings, mode, with_teacher=False, from_archive=True)
    labels, whose = _labels(source, teacher, chosen_task)
    shape = tune_settings if from_archive else task_settings
    read = chosen_task.read(data, load_tokenizer(source), shape, labels, whose)
    n_bytes, n_params = _original_size(source, from_archive)
    return Run(
        source,
        output,
        chosen_task,
        data,
        read,
        size,
        resolved,
        teacher,
        mode,
        task_settings,
        tune_settings,
        seed,
        threads,
        trackers,
        progress,
        from_archive,
        n_bytes,
        n_params,
    )


def stage_settings(
    given: Mapping[str, Any], mode: str, *, with_teacher: bool, from_archive: bool
) -> tuple[Settings, Settings]:
    """(of task fine-tuning, of tuning). A name without a stage is of the stage that starts the run."""
    by_stage: dict[str, dict[str, Any]] = {stage: {} for stage in _STAGES}
    for name, value in given.items():
        stage, dot, rest = name.partition(".")
        if not dot:
            stage, rest = "tune" if from_archive else "task", name
        if stage not in by_stage:
            raise UsageError(f"setting {name!r}: no stage {stage!r}; stages are {', '.join(_STAGES)}")
        by_stage[stage][rest] = value
    tune_defaults = SMALL_DEFAULTS if mode == "small" else CODES_DEFAULTS
    if "epochs" in by_stage["tune"]:  # they take the place of the default's number of steps
        by_stage["tune"].setdefault("max_steps", 0)
    tune = changed(tune_defaults, by_stage["tune"])
    if not with_teacher:  # labels are all there is
        tune = changed(tune, {"labels": max(tune.labels, 1.0), "distill": 0.0, "hidden": 0.0})
    return changed(Settings(), by_stage["task"]), tune


def _mode(train: str | None) -> str:
    mode = train or MODES[0]
    if mode not in MODES:
        raise UsageError(f"train={mode!r}{did_you_mean(mode, MODES)} Needed: {' or '.join(MODES)}.")
    return mode


def _trackers(report_to: Sequence[str]) -> tuple[str, ...]:
    for name in report_to:
        if name not in TRACKERS:
            raise UsageError(
                f"report_to={name!r}{did_you_mean(name, TRACKERS)} Known: {', '.join(TRACKERS)}."
            )
    return tuple(dict.fromkeys(name for name in report_to if name != "none"))


def _recipe(
    size: str | None,
    recipe: Recipe | Mapping[str, object] | str | Path | None,
    seed: int,
    from_archive: bool,
) -> Recipe | None:
    """The recipe of the compression, if there is one. Raises: UsageError, RecipeError."""
    if size is not None:
        parse_size(size)
    if from_archive:
        if recipe is not None:
            raise UsageError(
                "an archive keeps the form that it has, so a recipe does nothing here; give the plain checkpoint"
            )
        return None
    if size is None and recipe is None:
        return None
    return resolve_recipe(recipe, size=size, seed=seed)


def _labels(source: Path, teacher: Path | None, task: Task) -> tuple[tuple[str, ...] | None, str]:
    """(labels that the data must keep to, whose they are)."""
    found = known_labels(source, task)
    if teacher is None:
        return found, f"the model {source}"
    require_model(teacher)
    theirs = known_labels(teacher, task)
    if theirs is None and task.name != "lm":
        raise UsageError(
            f"teacher {teacher}: is not trained for {task.name}; fine-tune it first, or leave --teacher out"
        )
    if found is not None and theirs is not None and found != theirs:
        raise UsageError(
            f"teacher {teacher}: has the labels {', '.join(theirs)}, the model {', '.join(found)}; "
            "both need the same, in the same order"
        )
    return theirs if found is None else found, f"the teacher {teacher}"


def _original_size(source: Path, from_archive: bool) -> tuple[int, int]:
    """(bytes of the original's weight files, parameters)."""
    if from_archive:
        described = inspect(source)["input"]
        return int(described["n_bytes"]), int(described["n_params"])
    checkpoint = scan_model(source)
    with checkpoint.open_weights() as weights:
        return weight_bytes(source), sum(spec.n_elements for spec in weights)
