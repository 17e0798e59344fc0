"""What can be removed from a model as a whole, with the options of each: what a recipe is checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tersor.errors import UsageError
from tersor.quant.info import Option, choice
from tersor.registry import Registry, did_you_mean

MAX_LAYERS = 1 << 16
SCORES = ("fisher", "magnitude")


@dataclass(frozen=True, slots=True)
class StructuredInfo:
    """One kind of structured pruning.

    summary: one line. source: where it was published. options: with defaults and checks.
    exclusive: options of which exactly one is given.
    """

    name: str
    summary: str
    source: str
    options: Mapping[str, Option] = field(default_factory=dict)
    exclusive: tuple[str, ...] = ()

    def resolve(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Every option's value: those given, checked, over the defaults. Raises: UsageError naming the option."""
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options)
                raise UsageError(
                    f"step {self.name!r} has no option {name!r}{did_you_mean(name, self.options)} Options: {known}."
                )
            if needed := self.options[name].check(value):
                raise UsageError(f"step {self.name!r}: option {name}={value!r} needs {needed}")
        given = [name for name in self.exclusive if options.get(name) is not None]
        if self.exclusive and len(given) != 1:
            raise UsageError(
                f"step {self.name!r} needs exactly one of {' and '.join(self.exclusive)}, got "
                f"{' and '.join(given) or 'none'}"
            )
        return {name: options.get(name, option.default) for name, option in self.options.items()}


@dataclass(frozen=True, slots=True)
class StructuredStep:
    """One thing to do. kind: a name of STRUCTURED; options: checked on construction (UsageError, UnknownNameError)."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        STRUCTURED.get(self.kind).resolve(self.options)

    @property
    def values(self) -> dict[str, Any]:
        """Every option's value, defaults filled in."""
        return STRUCTURED.get(self.kind).resolve(self.options)


def _layer_numbers(value: Any) -> str:
    needed = "layer numbers from 0, rising, like [0, 1, 4]"
    if value is None:
        return ""
    if not isinstance(value, list | tuple) or not value:
        return needed
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < MAX_LAYERS for n in value):
        return needed
    return "" if all(a < b for a, b in pairwise(value)) else needed


def _share(what: str, default: float | None = None) -> Option:
    text = f"share of the {what} that is removed"

    def check(value: Any) -> str:
        if value is None and default is None:
            return ""
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
        return "" if good else "a number between 0 and 1"

    return Option(default, check, text)


_SCORE = choice(
    "fisher",
    SCORES,
    "what is removed first: `fisher`: what is predicted to move the output least; `magnitude`: the smallest weights",
)

LAYERS = StructuredInfo(
    "layers",
    "Drop whole layers: those whose absence, one after the other, moves the output least.",
    "greedy search by measured loss; Gromov et al. 2024, arXiv:2403.17887; Sajjad et al. 2020, arXiv:2004.03844",
    {
        "share": _share("layers"),
        "keep": Option(None, _layer_numbers, "the layers that stay, by number from 0"),
    },
    exclusive=("share", "keep"),
)
HEADS = StructuredInfo(
    "heads",
    "Remove attention heads, the same number in every layer; with grouped-query attention whole groups.",
    "Michel et al. 2019, arXiv:1905.10650; gradients by the Hessian of the output's distance",
    {"share": _share("heads", 0.25), "score": _SCORE},
)
NEURONS = StructuredInfo(
    "neurons",
    "Remove neurons of the feed-forward layers, the same number in every layer.",
    "Molchanov et al. 2019, arXiv:1906.10771; gradients by the Hessian of the output's distance",
    {"share": _share("neurons", 0.25), "score": _SCORE},
)
WIDTH = StructuredInfo(
    "width",
    "Remove channels of the hidden states, from every module that reads or writes them.",
    "dependency groups: Fang et al. 2023, arXiv:2301.12900 (DepGraph); LLM-Pruner: Ma et al. 2023, arXiv:2305.11627",
    {"share": _share("channels", 0.125)},
)

STRUCTURED: Registry[StructuredInfo] = Registry(
    "structured step",
    {
        "layers": "tersor.structured.steps:LAYERS",
        "heads": "tersor.structured.steps:HEADS",
        "neurons": "tersor.structured.steps:NEURONS",
        "width": "tersor.structured.steps:WIDTH",
    },
)
