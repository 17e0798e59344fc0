"""One step of a recipe as an object."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from tersor.recipe.kinds import KINDS

BESIDE = ("targets", "evaluate")  # keys of a step beside its kind


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one step does. Made of checked values only (`make_step`).

    kind: a name of KINDS. options: those given; `option` fills in the defaults.
    targets: a glob pattern of tensor names, None: what suits the kind. evaluate: a metric, measured after the step.
    """

    kind: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    targets: str | None = None
    evaluate: str | None = None

    def option(self, name: str) -> Any:
        """An option of the step's kind: the value given, or the default."""
        return self.options.get(name, KINDS[self.kind].options[name].default)

    @property
    def method(self) -> str | None:
        """The method that the step names; None: the one that suits."""
        return self.options.get("method")

    @property
    def method_options(self) -> dict[str, Any]:
        """The options of the step's method that were given."""
        return dict(self.options.get("options") or {})

    def fits(self, name: str) -> bool:
        """Whether the step's pattern, if it has one, fits a tensor's name."""
        return self.targets is None or fnmatchcase(name, self.targets)

    def to_plain(self) -> dict[str, Any]:
        """The step as it stands in YAML."""
        beside = {"targets": self.targets, "evaluate": self.evaluate}
        return {self.kind: dict(self.options)} | {k: v for k, v in beside.items() if v is not None}


def kind_of(step: Mapping[str, Any]) -> str | None:
    """The one kind that a step's mapping names; None if it names none or several."""
    kinds = [key for key in step if key not in BESIDE]
    return kinds[0] if len(kinds) == 1 and kinds[0] in KINDS else None


def make_step(step: Mapping[str, Any]) -> Step:
    """A Step of a checked mapping."""
    kind = kind_of(step)
    assert kind is not None, "steps are checked before"
    return Step(
        kind=kind,
        options=dict(step[kind] or {}),
        targets=step.get("targets"),
        evaluate=step.get("evaluate"),
    )
