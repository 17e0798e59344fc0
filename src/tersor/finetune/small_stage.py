"""Tuning with frozen codes: norms, biases and the head move, everything else stays as the archive has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tersor.finetune.archive_model import ArchiveModel, as_array
from tersor.finetune.gain_weights import RowGains, add_gains, gain_parameters
from tersor.finetune.objective import Teacher
from tersor.finetune.student import Student
from tersor.finetune.task_stage import Course, run_trainer
from tersor.finetune.trainer import Rates
from tersor.finetune.write import Widening, value_like
from tersor.pipeline.stored_values import Stored


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that has trained: what the Trainer recorded, and how its values are written at a widening."""

    record: dict[str, Any]
    model: ArchiveModel
    gains: Mapping[str, RowGains] = field(default_factory=dict)

    def values(self, widening: Widening) -> Mapping[str, Stored]:
        """The trained tensors by tensor name, in the form in which the archive stores them."""
        scaled = {self.model.stored[name].spec.name: gains.to_grid() for name, gains in self.gains.items()}
        return {**small_values(self.model, widening.small), **scaled}


def small_values(model: ArchiveModel, widening: float) -> dict[str, Stored]:
    """The model's small parameters as tensors of its archive."""
    parameters = {name: value for name, value in model.small().items() if name in model.stored}
    before = model.values(list(parameters))
    found: dict[str, Stored] = {}
    for name, parameter in parameters.items():
        spec = model.stored[name].spec
        found[spec.name] = value_like(before[name], as_array(parameter), spec.numpy_dtype, widening)
    return found


def tune_small(model: ArchiveModel, course: Course, folder: Path, teacher: Teacher | None) -> Stage:
    """Train the small parameters, the head and factors of rows; the model then holds the best of the checkpoints.

    Factors: where grids have scales, which hold them for nothing; elsewhere if the settings ask for gains.
    """
    small = model.small()
    gains = add_gains(model, everywhere=course.settings.gains)
    factors = gain_parameters(model, gains)
    student = Student(model.loaded.model, {**small, **factors})
    heads = frozenset(model.loaded.missing) & model.head().keys()
    rates = Rates(head=heads, steps=frozenset(factors))
    record = run_trainer(student, model.loaded, course, folder, teacher, rates)
    return Stage(record, model, gains)
