"""The result of measuring: every model's figures, how they differ from the original's, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tersor.evaluate.samples import Difference, difference, interval
from tersor.evaluate.task import Figure, Measurement
from tersor.types import Metric


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure. low, high: its 95 % interval, None if it has none. difference: None for the original, and for a
    figure that is exact."""

    metric: Metric
    low: float | None
    high: float | None
    difference: Difference | None

    def to_json(self) -> dict[str, object]:
        changed = self.difference
        return {
            **asdict(self.metric),
            "low": self.low,
            "high": self.high,
            "difference": changed.value if changed else None,
            "difference_stderr": changed.stderr if changed else None,
            "difference_low": changed.low if changed else None,
            "difference_high": changed.high if changed else None,
            "p_value": changed.p_value if changed else None,
            "test": changed.test if changed else None,
        }

    def cell(self) -> str:
        """As the table shows it: "86.21 ± 0.44 (-0.12 ± 0.15, p=0.43)"."""
        text = _number(self.metric.value, 5)
        if self.low is not None or self.metric.stderr:
            text += f" ± {_number(self.metric.stderr)}"
        if self.difference is None:
            return text
        changed = self.difference
        p_value = _probability(changed.p_value)
        return f"{text} ({_number(changed.value, sign='+')} ± {_number(changed.stderr)}, p={p_value})"


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model's figures. n_bytes: its weight files. report: a longer text, for tasks that have one; details: the
    same and more as plain values."""

    path: str
    n_bytes: int
    figures: tuple[Compared, ...]
    report: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(figure.metric for figure in self.figures)

    def to_json(self) -> dict[str, object]:
        metrics = [figure.to_json() for figure in self.figures]
        return {
            "path": self.path,
            "n_bytes": self.n_bytes,
            "metrics": metrics,
            "report": self.report,
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Figures of all models, the original first."""

    task: str
    data: str
    seed: int
    models: tuple[ModelResult, ...]

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and numbers."""
        models = [model.to_json() for model in self.models]
        return {"task": self.task, "data": self.data, "seed": self.seed, "models": models}

    def rows(self) -> list[list[str]]:
        """The table's cells, header first: one row a figure, one column a model."""
        original = self.models[0]
        rows = [["", *(model.path for model in self.models)]]
        rows.append(["weight files", *(f"{model.n_bytes:,} B" for model in self.models)])
        sizes = [model.n_bytes / original.n_bytes if original.n_bytes else 1.0 for model in self.models]
        rows.append(["of the original", *(f"{size:.4f}" for size in sizes)])
        for index, figure in enumerate(original.figures):
            cells = [model.figures[index].cell() for model in self.models]
            rows.append([_title(figure.metric), *cells])
        return rows

    def table(self) -> str:
        """The original beside the others, as text; then what each task says at length, model by model."""
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = []
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        reports = [f"\n{model.path}\n{model.report}" for model in self.models if model.report]
        return "\n".join([*lines, *self._footnotes(), *reports])

    def _footnotes(self) -> list[str]:
        """What the signs in the table mean; [] for a single model, whose cells say it all."""
        if len(self.models) < 2:
            return []
        compared = [f.difference for f in self.models[1].figures if f.difference is not None]
        if not compared:
            return ["± standard error"]
        tests = ", ".join(dict.fromkeys(difference.test for difference in compared))
        return [
            f"± standard error; (difference from the original ± its standard error; p: {tests}, two-sided, on the "
            "same items)"
        ]


def compare(
    paths: Sequence[str], sizes: Sequence[int], measurements: Sequence[Measurement]
) -> tuple[ModelResult, ...]:
    """Every model's figures beside the original's, which is the first."""
    original = measurements[0]
    results = []
    for index, (path, n_bytes, found) in enumerate(zip(paths, sizes, measurements, strict=True)):
        figures = tuple(
            _compared(figure, first if index else None)
            for figure, first in zip(found.figures, original.figures, strict=True)
        )
        results.append(ModelResult(path, n_bytes, figures, found.report, found.details))
    return tuple(results)


def _compared(figure: Figure, original: Figure | None) -> Compared:
    if figure.samples is None:
        return Compared(figure.metric, None, None, None)
    low, high = interval(figure.samples)
    changed = None
    if original is not None and original.samples is not None:
        changed = difference(figure.samples, original.samples)
    return Compared(figure.metric, low, high, changed)


def _title(metric: Metric) -> str:
    unit = f" [{metric.unit}]" if metric.unit else ""
    better = "higher is better" if metric.higher_is_better else "lower is better"
    return f"{metric.name}{unit}, n={metric.n}, {better}"


def _number(value: float, digits: int = 2, sign: str = "") -> str:
    """`digits` significant digits; large numbers whole, without an exponent."""
    text = f"{value:{sign}.{digits}g}"
    return f"{value:{sign},.0f}" if "e+" in text else text


def _probability(p_value: float) -> str:
    return f"{p_value:.2g}" if p_value >= 1e-4 else f"{p_value:.0e}"
