"""The first stage: ordinary fine-tuning of all weights of a plain checkpoint on a task's labels."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tersor.finetune.features import TaskData
from tersor.finetune.models import Loaded, pad_id
from tersor.finetune.objective import Objective, Teacher
from tersor.finetune.settings import Settings
from tersor.finetune.student import Student, all_parameters
from tersor.finetune.threads import torch_threads
from tersor.finetune.tracking import finish_trackers
from tersor.finetune.trainer import Rates, TaskTrainer, make_arguments, train


@dataclass(frozen=True, slots=True)
class Course:
    """What every stage of a run shares. trackers: names for the Trainer's report_to. extra_logs: see TaskTrainer."""

    data: TaskData
    settings: Settings
    seed: int
    threads: int
    trackers: Sequence[str]
    run_name: str
    callbacks: Sequence[Any] = ()
    extra_logs: Callable[[TaskTrainer], Mapping[str, float]] | None = None


def tune_all_weights(loaded: Loaded, course: Course, folder: Path, teacher: Teacher | None) -> dict[str, Any]:
    """Train every parameter; the model then holds the best of the checkpoints. Returns log and metrics."""
    parameters = all_parameters(loaded.model)
    heads = frozenset(loaded.missing) & parameters.keys()
    student = Student(loaded.model, parameters)
    return run_trainer(student, loaded, course, folder, teacher, Rates(head=heads))


def run_trainer(
    student: Student, loaded: Loaded, course: Course, folder: Path, teacher: Teacher | None, rates: Rates
) -> dict[str, Any]:
    """Train a student in a course; returns {"log", "n_steps", "metrics"}: of development and test data."""
    settings, data = course.settings, course.data
    arguments = make_arguments(
        settings, data, folder, seed=course.seed, trackers=course.trackers, run_name=course.run_name
    )
    padding = pad_id(loaded.tokenizer)
    if teacher is not None:
        teacher.remember(data.train, padding, max(1, len(data.labels)) if data.labels else 1 << 30)
    trainer = TaskTrainer(
        student,
        arguments,
        data,
        Objective(data.kind, settings, teacher),
        settings,
        rates,
        padding,
        course.callbacks,
        course.extra_logs,
    )
    trained = train(trainer, settings, threads=course.threads)
    with torch_threads(course.threads):
        metrics = measure(trainer, data)
    finish_trackers(course.trackers)
    return {"log": trained.log, "n_steps": trained.n_steps, "metrics": metrics}


def judge(loaded: Loaded, course: Course) -> list[dict[str, Any]]:
    """Metrics of a model as it is, without training."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = make_arguments(
            course.settings,
            course.data,
            Path(folder),
            seed=course.seed,
            trackers=(),
            run_name=course.run_name,
        )
        trainer = TaskTrainer(
            Student(loaded.model, {}),
            arguments,
            course.data,
            Objective(course.data.kind, course.settings, None),
            course.settings,
            Rates(),
            pad_id(loaded.tokenizer),
        )
        with torch_threads(course.threads):
            return measure(trainer, course.data)


def measure(trainer: TaskTrainer, data: TaskData) -> list[dict[str, Any]]:
    """Loss and metrics of the development data and, where there are some, the test data."""
    rows = []
    for split, features in (("dev", data.dev), ("test", data.test)):
        if features is None:
            continue
        found = trainer.judge(features, split)
        for name in ("loss", "f1", "precision", "recall", "accuracy", "macro_f1"):
            if f"{split}_{name}" in found:
                rows.append({"split": split, "name": name, "value": found[f"{split}_{name}"]})
    return rows
