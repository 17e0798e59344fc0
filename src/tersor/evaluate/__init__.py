"""Measuring: the original and what was made of it, on the same data, in one table.

A task is an object with `read` and `measure` (task.py); one file and one line in TASKS adds one. Most look at one
model after the other: a `ModelTask` with a function from the original to the function that measures.
"""

from __future__ import annotations

from tersor.evaluate.options import Options as Options
from tersor.evaluate.result import Compared as Compared
from tersor.evaluate.result import EvaluationResult as EvaluationResult
from tersor.evaluate.result import ModelResult as ModelResult
from tersor.evaluate.run import evaluate as evaluate
from tersor.evaluate.task import TASKS as TASKS
from tersor.evaluate.task import Task as Task

__all__ = ["TASKS", "Compared", "EvaluationResult", "ModelResult", "Options", "Task", "evaluate"]
