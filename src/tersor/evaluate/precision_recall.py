"""Precision, recall and F1 in percent, of counts and of their averages; tables of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tersor.evaluate.samples import Counted, Items, Statistic, interval

# (precision, recall or f1; counts of classes (..., classes, 3)) -> mean over the classes.
Average = Callable[[Statistic, np.ndarray], np.ndarray]
# Right, predicted and true, last axis.
_RIGHT, _PREDICTED, _TRUE = 0, 1, 2


def precision(counts: np.ndarray) -> np.ndarray:
    """100 x right / predicted, 0 where nothing was predicted. counts: (..., 3)."""
    return _percent(counts[..., _RIGHT], counts[..., _PREDICTED])


def recall(counts: np.ndarray) -> np.ndarray:
    """100 x right / true, 0 where nothing is true."""
    return _percent(counts[..., _RIGHT], counts[..., _TRUE])


def f1(counts: np.ndarray) -> np.ndarray:
    """100 x 2 right / (predicted + true): the harmonic mean of precision and recall; 0 where there is neither."""
    return _percent(2 * counts[..., _RIGHT], counts[..., _PREDICTED] + counts[..., _TRUE])


def macro(measure: Statistic, counts: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Plain mean over the classes that are `present`. counts: (..., classes, 3)."""
    if not present.any():
        return np.zeros(counts.shape[:-2])
    mean: np.ndarray = measure(counts[..., present, :]).mean(-1)
    return mean


def weighted(measure: Statistic, counts: np.ndarray) -> np.ndarray:
    """Mean over the classes, each weighted by its true items."""
    weights = counts[..., _TRUE]
    total = weights.sum(-1)
    return np.asarray((measure(counts) * weights).sum(-1) / np.maximum(total, 1))


def table_of(
    names: Sequence[str], items: Items, classes: Statistic, *, what: str, with_micro: bool = True
) -> list[dict[str, Any]]:
    """One row a class that is true or predicted anywhere, then the averages: plain values for JSON.

    classes: from sums to counts (..., classes, 3). Keys: `what` (the class, or "micro avg", ...), precision, recall,
    f1, f1_low, f1_high (95 % interval), support.
    """
    counts = classes(items.sums)
    present = present_in(counts)
    rows = [_row(what, name, items, _class_of(classes, i)) for i, name in enumerate(names) if present[i]]
    support = int(counts[..., _TRUE].sum())
    averages: list[tuple[str, Average]] = [
        ("macro avg", lambda measure, found: macro(measure, found, present)),
        ("weighted avg", weighted),
    ]
    if with_micro:
        averages.insert(0, ("micro avg", lambda measure, found: measure(found.sum(-2))))
    rows += [_average_row(what, title, items, classes, average, support) for title, average in averages]
    return rows


def present_in(counts: np.ndarray) -> np.ndarray:
    """Which classes are true or predicted anywhere: bool (classes,). counts: (classes, 3)."""
    present: np.ndarray = np.any(counts > 0, axis=-1)
    return present


def text_of(rows: Sequence[dict[str, Any]], what: str, title: str) -> str:
    """The rows of `table_of` as aligned text, as seqeval and scikit-learn print them, with intervals."""
    width = max(len(title), *(len(str(row[what])) for row in rows))
    lines = [f"{title:>{width}}  precision    recall        f1    [95 % interval]   support"]
    for row in rows:
        bounds = f"[{row['f1_low']:.2f}, {row['f1_high']:.2f}]"
        figures = f"{row['precision']:>9.2f}  {row['recall']:>8.2f}  {row['f1']:>8.2f}"
        lines.append(f"{row[what]:>{width}}  {figures}  {bounds:>17}  {row['support']:>8,}")
    return "\n".join(lines)


def _class_of(classes: Statistic, number: int) -> Statistic:
    return lambda sums: classes(sums)[..., number, :]


def _row(what: str, name: str, items: Items, counts: Statistic) -> dict[str, Any]:
    sums = counts(items.sums)
    low, high = interval(Counted(items, lambda s: f1(counts(s))))
    figures = (float(measure(sums)) for measure in (precision, recall, f1))
    return _table_row(what, name, *figures, low, high, int(sums[_TRUE]))


def _average_row(
    what: str, title: str, items: Items, classes: Statistic, average: Average, support: int
) -> dict[str, Any]:
    low, high = interval(Counted(items, lambda s: average(f1, classes(s))))
    figures = (float(average(measure, classes(items.sums))) for measure in (precision, recall, f1))
    return _table_row(what, title, *figures, low, high, support)


def _table_row(what: str, name: str, *values: float) -> dict[str, Any]:
    keys = ("precision", "recall", "f1", "f1_low", "f1_high", "support")
    return {what: name, **dict(zip(keys, values, strict=True))}


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(100 * part / np.where(whole > 0, whole, 1))
