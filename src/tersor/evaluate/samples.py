"""What lies behind a figure, item by item: its standard error, its interval, and how it differs from the original's.

Three kinds: `Counted`, a function of sums over independent items (F1 of sentences, perplexity of windows); `Timed`, a
quantile of repeated timings; none (None), for a figure that is exact or has no test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from tersor.evaluate.resample import bootstrap_indices, bootstrap_sums, swapped_sums

# Sums (..., d) -> values (...).
Statistic = Callable[[np.ndarray], np.ndarray]
Test = Literal["randomisation", "mcnemar", "sign", "none"]
TEST_NAMES: dict[Test, str] = {
    "randomisation": "approximate randomisation",
    "mcnemar": "exact McNemar",
    "sign": "exact sign test",
}
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Difference:
    """A model's figure minus the original's, on the same items.

    stderr, low, high: of the paired bootstrap; low to high is the 95 % interval. p_value: two-sided, that models
    which are equally good differ so much. test: its name.
    """

    value: float
    stderr: float
    low: float
    high: float
    p_value: float
    test: str


class Samples(Protocol):
    """The items behind one figure of one model."""

    @property
    def n(self) -> int:
        """How many independent items there are."""
        ...

    @property
    def value(self) -> float: ...

    @property
    def spread(self) -> np.ndarray:
        """Values of the figure in bootstrap samples, float64 (1000,); paired between models by position."""
        ...

    def p_value(self, original: Samples) -> tuple[float, str | None]:
        """The paired test of this figure being the original's, and its name; (1.0, None) if there is none."""
        ...


def standard_error(samples: Samples) -> float:
    """Standard deviation of the bootstrap; 0 for a single item, which says nothing of its spread."""
    return _deviation(samples.spread, samples.n)


def interval(samples: Samples) -> tuple[float, float]:
    """The 95 % percentile interval of the bootstrap."""
    return _bounds(samples.spread)


def difference(samples: Samples, original: Samples) -> Difference | None:
    """How a model's figure differs from the original's on the same items; None if it is itself a distance from it."""
    p_value, test = samples.p_value(original)
    if test is None:
        return None
    with np.errstate(invalid="ignore"):  # a ruined model may have an infinite perplexity
        moved = samples.spread - original.spread
    stderr = _deviation(moved, samples.n)
    return Difference(samples.value - original.value, stderr, *_bounds(moved), p_value, test)


def _deviation(spread: np.ndarray, n: int) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.std(spread, ddof=1)) if n > 1 else 0.0


def _bounds(spread: np.ndarray) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(spread, _INTERVAL)
    return float(low), float(high)


@dataclass(frozen=True)
class Items:
    """Counts of one model on a data set, one row for each independent item; several figures share them.

    rows: float64 (n, d), n >= 1. seed: of the draws; equal for models that are compared.
    """

    rows: np.ndarray
    seed: int
    _swaps: dict[int, tuple[Items, np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @cached_property
    def sums(self) -> np.ndarray:
        total: np.ndarray = self.rows.sum(0)
        return total

    @cached_property
    def resampled(self) -> np.ndarray:
        return bootstrap_sums(self.rows, self.seed)

    def swapped(self, other: Items) -> tuple[np.ndarray, np.ndarray]:
        """`swapped_sums` with another model's, drawn once for all figures."""
        if id(other) not in self._swaps:  # the entry keeps `other` alive, so its id stays its own
            self._swaps[id(other)] = (other, *swapped_sums(self.rows, other.rows, self.seed))
        return self._swaps[id(other)][1:]


@dataclass(frozen=True)
class Counted:
    """A figure that is a function of sums over independent items.

    test: "randomisation": the two models' rows of an item are swapped at random. "mcnemar": column 0 of the rows is 1
    for a right answer, else 0. "none": a distance from the original, which has no test.
    """

    items: Items
    statistic: Statistic
    test: Test = "randomisation"

    @property
    def n(self) -> int:
        return len(self.items.rows)

    @cached_property
    def value(self) -> float:
        return float(self._of(self.items.sums))

    @cached_property
    def spread(self) -> np.ndarray:
        return self._of(self.items.resampled)

    def p_value(self, original: Samples) -> tuple[float, str | None]:
        if self.test == "none" or not isinstance(original, Counted):
            return 1.0, None
        if self.test == "mcnemar":
            right, other = self.items.rows[:, 0] > 0, original.items.rows[:, 0] > 0
            return mcnemar(int((right & ~other).sum()), int((other & ~right).sum())), TEST_NAMES["mcnemar"]
        mine, its = self.items.swapped(original.items)
        with np.errstate(invalid="ignore"):
            drawn = np.abs(self._of(mine) - self._of(its))
        observed = abs(self.value - original.value)
        # A draw that swaps nothing must count as equal whatever the order of its sums rounded to.
        n_as_far = int((drawn >= observed * (1 - 1e-9) - 1e-12).sum())
        return (1 + n_as_far) / (1 + len(drawn)), TEST_NAMES["randomisation"]

    def _of(self, sums: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.statistic(sums)


@dataclass(frozen=True)
class Timed:
    """A quantile of timings that were taken in turn with the other models'.

    values: float64 (n,); position i of two models is of the same round.
    """

    values: np.ndarray
    quantile: float
    seed: int
    scale: Callable[[np.ndarray], np.ndarray] = field(default=lambda values: values)

    @property
    def n(self) -> int:
        return len(self.values)

    @cached_property
    def value(self) -> float:
        return float(self.scale(np.quantile(self.values, self.quantile)))

    @cached_property
    def spread(self) -> np.ndarray:
        drawn = [
            np.quantile(self.values[indices], self.quantile, axis=1)
            for indices in bootstrap_indices(len(self.values), self.seed)
        ]
        return self.scale(np.concatenate(drawn))

    def p_value(self, original: Samples) -> tuple[float, str | None]:
        if not isinstance(original, Timed):
            return 1.0, None
        slower, faster = self.values > original.values, self.values < original.values
        return mcnemar(int(slower.sum()), int(faster.sum())), TEST_NAMES["sign"]


def mcnemar(only_one: int, only_other: int) -> float:
    """Two-sided exact p of a fair coin giving so uneven a split: of items on which just one of two models is right.

    The same number for a sign test. 1.0 if there is no such item.
    """
    n, fewer = only_one + only_other, min(only_one, only_other)
    if only_one == only_other:
        return 1.0
    terms = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(fewer + 1)]
    largest = max(terms)
    log_tail = largest + math.log(sum(math.exp(term - largest) for term in terms)) - n * math.log(2)
    return min(1.0, 2 * math.exp(log_tail))


def column_mean(column: int, scale: float = 1.0) -> Statistic:
    """The mean of a column whose item count is in the last column (1 for each item), times `scale`."""
    return lambda sums: scale * sums[..., column] / sums[..., -1]
