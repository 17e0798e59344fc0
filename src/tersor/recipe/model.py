"""The recipe as an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tersor.errors import RecipeError
from tersor.recipe.checks import problems
from tersor.recipe.loss import LossLimit, parse_loss
from tersor.recipe.methods import DEFAULT_METHOD, default_method
from tersor.recipe.size import Budget, parse_size


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
    purpose ("for" in YAML): storage, cpu, gguf or vllm: what shall run the result.
    method: name of a quantizer; options: its own. targets: exceptions for some tensors.
    drift, tune: auto, on or off: drift correction and tuning of the small parameters.
    calibration: path of a text file, None for the built-in text. seed: 0 .. 2**32 - 1.
    Raises: RecipeError, which lists every problem at once.
    """

    size: str | None = None
    max_loss: str | None = None
    metric: str | None = None
    purpose: str = "storage"
    method: str = DEFAULT_METHOD
    options: dict[str, Any] = msgspec.field(default_factory=dict)
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

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, for JSON: method, calibration and seed always, the rest if it was set."""
        values = self._values()
        always = ("method", "calibration", "seed")
        return {name: value for name, value in values.items() if name in always or value != _DEFAULTS[name]}

    def _values(self) -> dict[str, Any]:
        # Not msgspec.to_builtins: options may hold what is no plain value, which the checks then name.
        names = {"for" if name == "purpose" else name: getattr(self, name) for name in self.__struct_fields__}
        rules = self.targets
        return names | {
            "targets": [_plain(rule) for rule in rules] if isinstance(rules, list | tuple) else rules
        }


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """A Recipe of checked plain values, such as `parse_recipe` returns. Raises: RecipeError."""
    found = problems(values)
    if found:
        raise RecipeError("\n".join(f"recipe: {why}" for _, why in found))
    fields = {("purpose" if name == "for" else name): value for name, value in values.items()}
    fields["targets"] = tuple(TargetRule(**rule) for rule in fields.get("targets", ()))
    fields["options"] = dict(fields.get("options", {}))
    return Recipe(**fields)


def _plain(rule: object) -> object:
    return msgspec.to_builtins(rule) if isinstance(rule, TargetRule) else rule


_DEFAULTS: dict[str, Any] = {
    "size": None,
    "max_loss": None,
    "metric": None,
    "for": "storage",
    "method": DEFAULT_METHOD,
    "options": {},
    "targets": [],
    "drift": "auto",
    "tune": "auto",
    "calibration": None,
    "seed": 0,
}


def describe_recipe(values: Mapping[str, Any]) -> dict[str, tuple[Any, bool]]:
    """Field -> (its value, whether it was given), defaults filled in. values: checked."""
    defaults = _DEFAULTS | {"method": default_method(values.get("for"))}
    return {name: (values.get(name, default), name in values) for name, default in defaults.items()}
