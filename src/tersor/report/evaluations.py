"""What was measured: evaluations from histories and files, merged so that each is shown once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tersor.archive.urls import is_url
from tersor.report.names import labels_of
from tersor.report.untrusted import count, mapping, number, objects, text

MAX_MODELS = 50
MAX_EVALUATIONS = 24
"""The latest are kept."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one model. low, high: its 95 % interval. difference and what follows: against the original.

    None where the evaluation does not tell.
    """

    name: str
    value: float
    unit: str
    n: int | None
    stderr: float | None
    low: float | None
    high: float | None
    higher_is_better: bool
    difference: float | None
    difference_stderr: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    test: str


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One model of an evaluation. details: longer tables, by name, as the task made them."""

    path: str
    n_bytes: int | None
    figures: tuple[Figure, ...]
    details: Mapping[str, Any]

    def figure(self, name: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.name == name), None)


@dataclass(slots=True)
class Evaluation:
    """One task on one data set with one seed. models: the original first. labels: by path."""

    task: str
    data: str
    seed: int | None
    models: list[MeasuredModel] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        seed = "" if not self.seed else f", seed {self.seed}"
        return f"{self.task} on {self.data}{seed}"

    @property
    def metric_names(self) -> list[str]:
        """In the order of the first model that has each."""
        return list(dict.fromkeys(figure.name for model in self.models for figure in model.figures))


def merge_evaluations(
    entries: Iterable[tuple[Mapping[str, Any], str | None]], labels: Mapping[str, str]
) -> list[Evaluation]:
    """Evaluations of equal task, data, seed and original as one; of a model measured twice the later figures.

    entries: as `evaluate --json` prints them, each with the path of the archive whose history holds it, if one does;
    what is not as it should be is left out. labels: path -> how the page calls a model that it knows.
    """
    found: dict[tuple[str, str, int | None, str], Evaluation] = {}
    places = {os.path.abspath(path): path for path in labels if not is_url(path)}
    for entry, owner in entries:
        models = [_model(value) for value in objects(entry.get("models"))]
        models = [_known(model, places) for model in models if model.figures]
        if not models:
            continue
        # A history's entry holds the original and the archive itself, which may have moved since.
        if owner is not None and len(models) <= 2:
            models[-1] = replace(models[-1], path=owner)
        task, data, seed = (
            text(entry.get("task"), "?"),
            text(entry.get("data"), "?"),
            count(entry.get("seed")),
        )
        key = (task, data, seed, models[0].path)
        evaluation = found.setdefault(key, Evaluation(task, data, seed))
        for model in models:
            _place(evaluation, model)
    kept = list(found.values())[-MAX_EVALUATIONS:]
    for evaluation in kept:
        evaluation.labels = _labels([model.path for model in evaluation.models], labels)
    return kept


def _known(model: MeasuredModel, places: Mapping[str, str]) -> MeasuredModel:
    """The model under the path that the page has for it, if that is another spelling of its own."""
    if is_url(model.path) or "\0" in model.path:
        return model
    path = places.get(os.path.abspath(model.path))
    return model if path is None else replace(model, path=path)


def _place(evaluation: Evaluation, model: MeasuredModel) -> None:
    for index, other in enumerate(evaluation.models):
        if other.path == model.path:
            evaluation.models[index] = model
            return
    if len(evaluation.models) < MAX_MODELS:
        evaluation.models.append(model)


def _labels(paths: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Path -> label: that of the page's own models, else the last part of the path, no two equal."""
    unknown = [path for path in paths if path not in known]
    labels = {path: known[path] for path in paths if path in known}
    for path, label in zip(unknown, labels_of(unknown), strict=True):
        labels[path] = label if label not in labels.values() else path
    return labels


def _model(value: Mapping[str, Any]) -> MeasuredModel:
    figures = [_figure(row) for row in objects(value.get("metrics"))]
    return MeasuredModel(
        path=text(value.get("path"), "?"),
        n_bytes=count(value.get("n_bytes")),
        figures=tuple(figure for figure in figures if figure is not None),
        details=mapping(value.get("details")),
    )


def _figure(row: Mapping[str, Any]) -> Figure | None:
    value, name = number(row.get("value")), text(row.get("name"))
    if value is None or not name:
        return None
    return Figure(
        name=name,
        value=value,
        unit=text(row.get("unit")),
        n=count(row.get("n")),
        stderr=_not_negative(row.get("stderr")),
        low=number(row.get("low")),
        high=number(row.get("high")),
        higher_is_better=row.get("higher_is_better") is True,
        difference=number(row.get("difference")),
        difference_stderr=_not_negative(row.get("difference_stderr")),
        difference_low=number(row.get("difference_low")),
        difference_high=number(row.get("difference_high")),
        p_value=_not_negative(row.get("p_value")),
        test=text(row.get("test")),
    )


def _not_negative(value: object) -> float | None:
    found = number(value)
    return found if found is not None and found >= 0 else None
