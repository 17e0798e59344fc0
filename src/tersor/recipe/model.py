"""The recipe as an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tersor.errors import RecipeError
from tersor.recipe.checks import problems
from tersor.recipe.kinds import KINDS
from tersor.recipe.latency import LatencyLimit, parse_latency
from tersor.recipe.loss import LossLimit, parse_loss
from tersor.recipe.methods import DEFAULT_METHOD, default_method
from tersor.recipe.size import Budget, parse_size
from tersor.recipe.step import Step, make_step


class TargetRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happens to the tensors whose names fit a glob pattern; the first rule that fits counts.

    method: None: the recipe's. options: over the recipe's, if the method is the recipe's. keep: stored without loss.
    """

    match: str
    method: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    keep: bool = False


class Recipe(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"purpose": "for"}
):
    """Everything that decides what `compress` makes of a model.

    size or max_loss: one of them, as `parse_size` and `parse_loss` read them; metric: what max_loss measures.
    max_latency: as `parse_latency` reads it; beside a size or a loss.
    purpose ("for" in YAML): storage, cpu, gguf or vllm: what shall run the result.
    method: name of a quantizer; options: its own: a recipe of one step, `quantize`. Instead: steps, in their order.
    targets: exceptions for some tensors.
    drift, tune: auto, on or off: drift correction and tuning of the small parameters.
    calibration: path of a text file, None for the built-in text. seed: 0 .. 2**32 - 1.
    Raises: RecipeError, which lists every problem at once.
    """

    size: str | None = None
    max_loss: str | None = None
    metric: str | None = None
    max_latency: str | None = None
    purpose: str = "storage"
    method: str = DEFAULT_METHOD
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    targets: tuple[TargetRule, ...] = ()
    drift: str = "auto"
    tune: str = "auto"
    calibration: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        found = problems(self._values())
        if found:
            raise RecipeError("\n".join(f"recipe: {why}" for _, why in found))

    @property
    def budget(self) -> Budget | None:
        """The size asked for; None if a loss is given instead."""
        return None if self.size is None else parse_size(self.size)

    @property
    def loss_limit(self) -> LossLimit | None:
        """The loss allowed; None if a size is given instead."""
        return None if self.max_loss is None else parse_loss(self.max_loss, self.metric)

    @property
    def latency_limit(self) -> LatencyLimit | None:
        """The longest time that a run of the result may take; None if none was given."""
        return None if self.max_latency is None else parse_latency(self.max_latency)

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps; of a recipe without the field: one that quantizes, by `method` and `options`."""
        if self.steps:
            return self.steps
        return (Step(kind="quantize", options={"method": self.method, "options": self.options}),)

    def steps_at(self, *places: str) -> tuple[Step, ...]:
        """The steps of some places of the order (recipe/kinds.py)."""
        return tuple(step for step in self.all_steps if KINDS[step.kind].place in places)

    def of_kind(self, kind: str) -> tuple[Step, ...]:
        """The steps of one kind."""
        return tuple(step for step in self.all_steps if step.kind == kind)

    @property
    def level(self) -> str:
        """How hard the floats that are stored without loss are coded: fast, balanced or max."""
        found = self.of_kind("code")
        return str(found[0].option("level")) if found else "balanced"

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, for JSON: calibration and seed always, the rest if it was set.

        method: always in a recipe without steps.
        """
        values = self._values()
        always = ("calibration", "seed", *(() if self.steps else ("method",)))
        return {name: value for name, value in values.items() if name in always or value != _DEFAULTS[name]}

    def _values(self) -> dict[str, Any]:
        # Not msgspec.to_builtins: options may hold what is no plain value, which the checks then name.
        names = {"for" if name == "purpose" else name: getattr(self, name) for name in self.__struct_fields__}
        if self.steps:  # these name their methods
            names = {name: value for name, value in names.items() if name not in ("method", "options")}
        return names | {"targets": _plain_list(self.targets), "steps": _plain_list(self.steps)}


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """A Recipe of checked plain values, such as `parse_recipe` returns. Raises: RecipeError."""
    found = problems(values)
    if found:
        raise RecipeError("\n".join(f"recipe: {why}" for _, why in found))
    fields = {("purpose" if name == "for" else name): value for name, value in values.items()}
    fields["targets"] = tuple(TargetRule(**rule) for rule in fields.get("targets", ()))
    fields["steps"] = tuple(make_step(step) for step in fields.get("steps", ()))
    fields["options"] = dict(fields.get("options", {}))
    return Recipe(**fields)


def _plain_list(items: object) -> object:
    return [_plain(item) for item in items] if isinstance(items, list | tuple) else items


def _plain(item: object) -> object:
    if isinstance(item, Step):
        return item.to_plain()
    return msgspec.to_builtins(item) if isinstance(item, TargetRule) else item


_DEFAULTS: dict[str, Any] = {
    "size": None,
    "max_loss": None,
    "metric": None,
    "max_latency": None,
    "for": "storage",
    "method": DEFAULT_METHOD,
    "options": {},
    "steps": [],
    "targets": [],
    "drift": "auto",
    "tune": "auto",
    "calibration": None,
    "seed": 0,
}


def describe_recipe(values: Mapping[str, Any]) -> dict[str, tuple[Any, bool]]:
    """Field -> (its value, whether it was given), defaults filled in. values: checked."""
    defaults = _DEFAULTS | {"method": default_method(values.get("for"))}
    if values.get("steps"):
        del defaults["method"], defaults["options"]
    return {name: (values.get(name, default), name in values) for name, default in defaults.items()}
