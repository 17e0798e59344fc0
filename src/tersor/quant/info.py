"""How a quantizer describes itself: its options, what it needs, who can run what it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tersor.errors import UsageError
from tersor.registry import did_you_mean

if TYPE_CHECKING:
    from tersor.layouts.grid import Grid
    from tersor.quant.base import QuantConfig, TensorStatistics

STATISTICS = frozenset({"factor", "row_factor", "row_weights", "hessian", "output_hessian", "input_scales"})
TARGETS = frozenset({"storage", "cpu", "gguf", "vllm"})


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a method.

    default: used when the user gives none. check: returns "" for a good value, else what is needed ("an integer 2..8").
    help: one line: effect, unit.
    """

    default: Any
    check: Callable[[Any], str]
    help: str


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A quantizer's own description.

    budget: "step": finer with `QuantConfig.step`, so one global step sets the size; "options": they do.
    needs: the parts of TensorStatistics (STATISTICS) without which it raises; what it merely profits from is not here.
    targets: who can compute from what it makes (TARGETS); "storage" is every loader of tersor.
    keeps_zeros: takes `QuantConfig.mask` and decodes to exactly 0 where it is False; others refuse a mask.
    source: where it was published. summary: one line.
    """

    name: str
    budget: Literal["step", "options"]
    source: str
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset({"storage"})
    keeps_zeros: bool = False

    def __post_init__(self) -> None:
        for kind, given, known in (("needs", self.needs, STATISTICS), ("targets", self.targets, TARGETS)):
            if unknown := sorted(given - known):
                raise ValueError(f"method {self.name!r}: unknown {kind} {unknown}; known: {sorted(known)}")

    def resolve(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Every option's value: those given, checked, over the defaults. Raises: UsageError naming the option."""
        return resolve_options(f"method {self.name!r}", self.options, options)


def resolve_options(owner: str, known: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every known option: the one given, checked, or its default.

    owner: names the method in errors. Raises: UsageError naming the option, and the nearest if it is unknown.
    """
    for name, value in given.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise UsageError(f"{owner} has no option {name!r}{did_you_mean(name, known)} Options: {names}.")
        if needed := known[name].check(value):
            raise UsageError(f"{owner}: option {name}={value!r} needs {needed}")
    return {name: given.get(name, option.default) for name, option in known.items()}


class Method:
    """A quantizer: the function, and its description in `info`."""

    def __init__(
        self, function: Callable[[np.ndarray, QuantConfig, TensorStatistics], Grid], info: MethodInfo
    ) -> None:
        update_wrapper(self, function)
        self._function = function
        self.info = info

    def __call__(self, weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
        if config.mask is not None and not self.info.keeps_zeros:
            raise UsageError(
                f"method {self.info.name!r} cannot keep pruned weights at zero; use one that can "
                "(two_sided, gptq, rtn, fixed), or do not prune this tensor"
            )
        return self._function(weight, config, stats)


def describes(
    info: MethodInfo,
) -> Callable[[Callable[[np.ndarray, QuantConfig, TensorStatistics], Grid]], Method]:
    """Decorator that makes a quantizer of a function: `@describes(MethodInfo(...))`."""
    return lambda function: Method(function, info)


def boolean(default: bool, text: str) -> Option:
    """An option that is true or false."""
    return Option(default, lambda value: "" if isinstance(value, bool) else "true or false", text)


def integer(default: int, low: int, high: int, text: str) -> Option:
    """An option that is an integer in low..high."""

    def check(value: Any) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if good else f"an integer {low}..{high}"

    return Option(default, check, text)


def number(default: float | None, low: float, high: float, text: str) -> Option:
    """An option that is a number in low..high; a default of None stays None unless a number is given."""

    def check(value: Any) -> str:
        if value is None and default is None:
            return ""
        good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return "" if good else f"a number {low:g}..{high:g}"

    return Option(default, check, text)


def choice(default: str, allowed: tuple[str, ...], text: str) -> Option:
    """An option that is one of a few words."""
    return Option(
        default, lambda value: "" if value in allowed else "one of " + ", ".join(map(repr, allowed)), text
    )
