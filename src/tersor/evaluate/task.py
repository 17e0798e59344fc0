"""What a task is, the registry of tasks, and what measuring gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Protocol

from tersor.evaluate.options import Options
from tersor.evaluate.samples import Counted, Items, Samples, Statistic, Test, standard_error
from tersor.registry import Registry
from tersor.types import Metric

Path = str | PathLike[str]
# (path, name of the transformers class) -> (model, names of the weights that the folder lacks)
Loader = Callable[[Path, str], tuple[Any, list[str]]]
# (models done, models in all, what is being measured)
Progress = Callable[[float, int, str], None]
# Share of one model's work that is done, 0..1.
Share = Callable[[float], None]


class Data(Protocol):
    """What models are measured on. name: where it is from, for people."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure and the items behind it.

    samples: None if the figure is exact, or has neither interval nor difference.
    """

    metric: Metric
    samples: Samples | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a task found out about one model.

    figures: their names and order do not depend on the model. report: a longer text for people; details: the same and
    more as plain values for JSON.
    """

    figures: tuple[Figure, ...]
    report: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """How to measure. load: how a model is loaded. tell: called with the models done, all models, what is done."""

    seed: int
    options: Options
    load: Loader
    tell: Progress


class Task(Protocol):
    """One way to measure models."""

    def read(self, data: Path | None, options: Options) -> Data:
        """The data of --data, checked whole before any model is loaded; None: the task's own, or a UsageError."""
        ...

    def measure(self, folders: Sequence[Path], data: Data, setting: Setting) -> list[Measurement]:
        """Measure every folder, the original first. Equal arguments give equal figures (timings excepted)."""
        ...


TASKS: Registry[Task] = Registry(
    "task",
    {
        "embedding": "tersor.evaluate.embedding:TASK",
        "perplexity": "tersor.evaluate.perplexity:TASK",
        "kl": "tersor.evaluate.kl:TASK",
        "ner": "tersor.evaluate.ner:TASK",
        "classification": "tersor.evaluate.classification:TASK",
        "speed": "tersor.evaluate.speed:TASK",
    },
)


def counted_figure(
    name: str,
    unit: str,
    items: Items,
    statistic: Statistic,
    *,
    higher_is_better: bool,
    test: Test = "randomisation",
) -> Figure:
    """A figure that is a function of sums over independent items, with its bootstrap standard error."""
    samples = Counted(items, statistic, test)
    metric = Metric(name, samples.value, unit, samples.n, standard_error(samples), higher_is_better)
    return Figure(metric, samples)


def no_progress(_done: float, _total: int, _what: str) -> None:
    """Report nothing."""


def no_share(_done: float) -> None:
    """Report nothing."""
