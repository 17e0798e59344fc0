"""What was done to a model, by its history: steps that were measured, and fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tersor.report import charts
from tersor.report.blocks import Block, Chart, Column, Gallery, Heading, Note, Table, Value
from tersor.report.figures import figure_text, integer_text
from tersor.report.subject import Subject
from tersor.report.training import Curve, settings_of, training_curves
from tersor.report.untrusted import count, mapping, number, objects, text

MAX_TRAININGS, MAX_STEPS = 8, 100
"""The latest are shown."""


def step_blocks(subject: Subject) -> list[Block]:
    """What the model had lost after each step of its recipe that says `evaluate`; [] without any."""
    rows: list[list[Value]] = []
    for entry in subject.history:
        if entry["kind"] == "compress":
            rows += [_step_row(row) for row in objects(entry.get("steps"))]
        elif entry["kind"] == "step":
            rows.append(_step_row({"step": entry.get("step"), **mapping(entry.get("facts"))}))
    measured = [row for row in rows if row[2] is not None][-MAX_STEPS:]
    if not measured:
        return []
    columns = (
        Column("after the step"),
        Column("metric"),
        Column("value", figure_text),
        Column("± standard error", figure_text),
        Column("n", integer_text),
    )
    return [Heading("Measured between steps"), Table("Measured between steps", columns, measured)]


def _step_row(row: Mapping[str, Any]) -> list[Value]:
    value = number(row.get("value"))
    return [
        _step_text(row.get("step")),
        text(row.get("metric")),
        value,
        number(row.get("stderr")),
        count(row.get("n")),
    ]


def _step_text(step: object) -> str:
    """A step as one line: "prune: method=sparsegpt, sparsity=0.5"."""
    parts = []
    for kind, options in mapping(step).items():
        if isinstance(options, Mapping):
            words = ", ".join(f"{name}={_short(value)}" for name, value in options.items())
            parts.append(f"{kind}: {words}" if words else str(kind))
        else:
            parts.append(f"{kind}: {_short(options)}")
    return text("; ".join(parts)) or text(step, "?")


def _short(value: object) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):
        return "?"


def training_blocks(subject: Subject, n_points: int) -> list[Block]:
    """Of every fine-tuning in the history: curves, what it reached, and its settings. n_points: of each curve."""
    blocks: list[Block] = []
    for place, entry in enumerate(subject.entries("finetune")[-MAX_TRAININGS:]):
        title = _title(entry, place)
        blocks.append(Heading(title))
        curves = training_curves(entry.get("log"), n_points)
        if curves:
            blocks.append(Gallery([_curve_chart(curve) for curve in curves], _curves_table(curves)))
        elif entry.get("log") == []:
            blocks.append(Note("Nothing was trained in this stage."))
        else:
            blocks.append(Note("Its log holds no curve of two points or more.", is_missing=True))
        metrics = list(_metric_rows(entry))
        if metrics:
            columns = (Column("metric"), Column("measured on"), Column("value", figure_text))
            blocks.append(Table(f"Reached: {title}", columns, metrics))
        settings = settings_of(entry)
        if settings:
            names = (Column("setting"), Column("value"))
            blocks.append(Table(f"Settings: {title}", names, settings, is_folded=True))
    return blocks


def _curve_chart(curve: Curve) -> Chart:
    return Chart(
        title=curve.name,
        description=f"{curve.name} by step of training",
        spec=charts.training_curve(),
        fields=("step", "value"),
        rows=[[step, value] for step, value in curve.points],
        caption=f"last {figure_text(curve.points[-1][1])}",
        is_small=True,
    )


def _curves_table(curves: Sequence[Curve]) -> Table:
    columns = [Column("quantity"), Column("points", integer_text)]
    columns += [Column(word, figure_text) for word in ("first", "least", "most", "last")]
    rows: list[list[Value]] = []
    for curve in curves:
        values = [value for _, value in curve.points]
        rows.append([curve.name, len(values), values[0], min(values), max(values), values[-1]])
    return Table("Training in figures", columns, rows, is_folded=True)


def _title(entry: Mapping[str, Any], place: int) -> str:
    stage, task = text(entry.get("stage")), text(entry.get("task"))
    words = f"Fine-tuning for {task}" if task else "Fine-tuning"
    if stage:
        return f"{words}: {stage}"
    return f"{words} ({place + 1})" if place else words


def _metric_rows(entry: Mapping[str, Any]) -> Iterator[list[Value]]:
    for row in objects(entry.get("metrics")):
        value, name = number(row.get("value")), text(row.get("name"))
        if value is not None and name:
            yield [name, text(row.get("split")), value]
