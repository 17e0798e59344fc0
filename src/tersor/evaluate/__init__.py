"""Measuring: the original and what was made of it, on the same data, in one table.

A task is a `Task`: the transformers class that it needs and a function
`(model, reference, tokenizer, data, seed) -> list[Metric]`; one file and one line in TASKS adds one.
"""

from __future__ import annotations

from tersor.evaluate.run import evaluate as evaluate
from tersor.evaluate.task import TASKS as TASKS
from tersor.evaluate.task import EvaluationResult as EvaluationResult
from tersor.evaluate.task import ModelResult as ModelResult
from tersor.evaluate.task import Task as Task

__all__ = ["TASKS", "EvaluationResult", "ModelResult", "Task", "evaluate"]
