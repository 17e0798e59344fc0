"""How much an error of each tensor hurts the model's output: measured sensitivities, and curves of rate and error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tersor.report.training import thinned
from tersor.report.untrusted import mapping, number, text

MAX_CURVES, MAX_POINTS = 12, 40


@dataclass(frozen=True, slots=True)
class RateCurve:
    """One tensor: (bits per weight, error), by bits."""

    name: str
    points: tuple[tuple[float, float], ...]


def sensitivities(entry: Mapping[str, Any]) -> dict[str, float]:
    """Of a compress entry: parameter -> error of the model's output per unit of the parameter's error, > 0."""
    found = {text(name): number(value) for name, value in mapping(entry.get("sensitivity")).items()}
    return {name: value for name, value in found.items() if value is not None and value > 0}


def rate_curves(entry: Mapping[str, Any]) -> list[RateCurve]:
    """Of a compress entry, the curves of the MAX_CURVES tensors with the largest errors; [] where it has none.

    A curve is a list of [bits, error] pairs, or an object with lists `bits` and `error` of equal length.
    """
    curves = []
    for name, value in mapping(entry.get("curves")).items():
        points = sorted(_pairs(value))
        if len(points) > 1:
            curves.append(RateCurve(text(name), thinned(points, MAX_POINTS)))
    return sorted(curves, key=lambda curve: (-max(error for _, error in curve.points), curve.name))[
        :MAX_CURVES
    ]


def _pairs(value: object) -> list[tuple[float, float]]:
    if isinstance(value, Mapping):
        bits, errors = value.get("bits"), value.get("error")
        value = (
            list(zip(bits, errors, strict=False))
            if isinstance(bits, list) and isinstance(errors, list)
            else []
        )
    if not isinstance(value, list):
        return []
    pairs = [
        (number(pair[0]), number(pair[1]))
        for pair in value
        if isinstance(pair, list | tuple) and len(pair) == 2
    ]
    return [(bits, error) for bits, error in pairs if bits is not None and error is not None and error > 0]
