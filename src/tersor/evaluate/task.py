"""What a task is, the registry of tasks, and the shape of a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tersor.evaluate.data import EvaluationData
from tersor.registry import Registry
from tersor.types import Metric

# Contract of `Task.measure(model, reference, tokenizer, data, seed) -> list[Metric]`:
#   model: measured, in evaluation mode. reference: the original; the same object as `model` when that is measured.
#   tokenizer: the original's; its own padding and truncation are switched off.
#   Equal arguments give equal metrics. The metrics' names and order do not depend on the model.
Measure = Callable[[Any, Any, Any, EvaluationData, int], list[Metric]]


@dataclass(frozen=True, slots=True)
class Task:
    """One way to measure a model.

    auto_class: name of the transformers class that loads the model for it.
    needs_every_weight: a folder that lacks a weight of that class (a head, say) is refused: it would be random.
    """

    auto_class: str
    needs_every_weight: bool
    measure: Measure


TASKS: Registry[Task] = Registry(
    "task",
    {
        "embedding": "tersor.evaluate.embedding:TASK",
        "perplexity": "tersor.evaluate.perplexity:TASK",
        "kl": "tersor.evaluate.kl:TASK",
    },
)


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model's figures. n_bytes: its weight files. report: a longer text, for tasks that have one."""

    path: str
    n_bytes: int
    metrics: tuple[Metric, ...]
    report: str | None = None


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Figures of all models, the original first."""

    task: str
    data: str
    seed: int
    models: tuple[ModelResult, ...]

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and numbers."""
        models = [{**asdict(model), "metrics": [asdict(m) for m in model.metrics]} for model in self.models]
        return {"task": self.task, "data": self.data, "seed": self.seed, "models": models}

    def rows(self) -> list[list[str]]:
        """The table's cells, header first: one row a figure, one column a model."""
        original = self.models[0]
        rows = [["", *(model.path for model in self.models)]]
        rows.append(["weight files", *(f"{model.n_bytes:,} B" for model in self.models)])
        sizes = [model.n_bytes / original.n_bytes if original.n_bytes else 1.0 for model in self.models]
        rows.append(["of the original", *(f"{size:.4f}" for size in sizes)])
        for index, metric in enumerate(original.metrics):
            cells = [_cell(model.metrics[index]) for model in self.models]
            better = "higher is better" if metric.higher_is_better else "lower is better"
            rows.append([f"{metric.name} [{metric.unit}], n={metric.n}, {better}", *cells])
        return rows

    def table(self) -> str:
        """The original beside the others, as text."""
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = []
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        return "\n".join(lines)


def _cell(metric: Metric) -> str:
    return f"{metric.value:.5g} ± {metric.stderr:.2g}"
