"""Curves of training: what a fine-tuning logged, quantity by quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tersor.report.untrusted import number, objects, text

MAX_CURVES = 12
# Of the machine and the clock, not of the model; Trainer logs them beside the losses.
_NOT_SHOWN = ("runtime", "per_second", "total_flos", "step_time", "epoch", "seconds")


@dataclass(frozen=True, slots=True)
class Curve:
    """One logged quantity: (step, value), in the order of steps."""

    name: str
    points: tuple[tuple[float, float], ...]


def training_curves(log: object, n_points: int) -> list[Curve]:
    """The quantities of a log `[{"step": 10, "loss": .5, ...}, ...]`; those about the machine are left out.

    n_points: of each, at most. Losses first, then figures on the development set, then the rest, each by name.
    """
    found: dict[str, dict[float, float]] = {}
    for row in objects(log):
        step = number(row.get("step"))
        if step is None:
            continue
        for key, value in row.items():
            measured = number(value)
            if key != "step" and measured is not None and not any(part in key for part in _NOT_SHOWN):
                found.setdefault(text(key), {})[step] = measured
    curves = [Curve(name, thinned(sorted(points.items()), n_points)) for name, points in found.items()]
    curves = [curve for curve in curves if len(curve.points) > 1]
    return sorted(curves, key=_rank)[:MAX_CURVES]


def _rank(curve: Curve) -> tuple[int, str]:
    name = curve.name
    return (0 if name == "loss" else 1 if name == "eval_loss" else 2 if name.startswith("eval_") else 3, name)


def thinned(points: Sequence[tuple[float, float]], n_points: int) -> tuple[tuple[float, float], ...]:
    """At most n_points >= 2 of the points, evenly spaced, the first and the last among them."""
    if len(points) <= n_points:
        return tuple(points)
    step = (len(points) - 1) / (n_points - 1)
    return tuple(points[round(index * step)] for index in range(n_points))


def settings_of(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plain values of a fine-tuning's settings, by name."""
    settings = entry.get("settings")
    if not isinstance(settings, Mapping):
        return []
    plain = [(key, value) for key, value in settings.items() if isinstance(value, str | int | float | bool)]
    return [(text(key), text(str(value))) for key, value in plain]
